"""How long to wait: the only place that knows (design: delivery, waiting)."""

from dataclasses import dataclass

from spoold.clock import Entropy
from spoold.providers.base import Retry

#: A stopped lane needs its configuration changed, but 401, 403 and 404 also come from proxies and outages that pass.
STOPPED_PROBE_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The owner's ``retry.*``, in seconds.

    Attributes:
        max_attempts: Failures in a row after which the lane is down. It never drops.
    """

    max_attempts: int = 5
    initial_delay_seconds: float = 1.0
    max_delay_seconds: float = 30.0
    max_retry_after_seconds: float = 3600.0

    def is_down(self, failures: int) -> bool:
        """Whether a lane with so many failures in a row is down."""
        return failures >= self.max_attempts

    def wait_seconds(self, failures: int, retry: Retry, entropy: Entropy) -> float:
        """Seconds to wait after the ``failures``-th failure in a row (1 for the first).

        Retry-After wins, up to ``max_retry_after_seconds``, if it asks for any wait: who fails and says 0, or a time
        that is past by our clock, must not be hammered. Else exponential with full jitter; a lane that is down probes
        every ``max_delay_seconds``. What the fact sheet asks for is a minimum.
        """
        if retry.after_seconds:
            wait = min(retry.after_seconds, self.max_retry_after_seconds)
        elif self.is_down(failures):
            wait = self.max_delay_seconds
        else:
            # Capped before the power: after weeks of outage it would overflow a float.
            ceiling = self.initial_delay_seconds * 2.0 ** min(failures - 1, 32)
            wait = entropy.uniform(0.0, min(ceiling, self.max_delay_seconds))
        return max(wait, retry.min_seconds) + entropy.uniform(*retry.extra_jitter_seconds)
