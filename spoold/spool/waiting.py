"""What a lane waits on, until it has events ahead."""

from dataclasses import dataclass
from typing import Protocol

NEVER = 2**63


class Signal(Protocol):
    """Something a thread waits on: a ``threading.Event`` that is cleared by the wait it ends."""

    def set(self) -> None:
        """End the current or the next wait."""
        ...

    def wait(self, timeout_seconds: float | None) -> bool:
        """Return True when it was set, False at the timeout."""
        ...


@dataclass(slots=True)
class Wait:
    """A lane's wait: what ends it, and for how many events ahead it waits (``NEVER``: nobody does)."""

    signal: Signal
    min_pending: int = NEVER
