"""What a lane says: the log messages and metrics that operators search for (design: what it says)."""

from spoold.delivery.sender import Attempt
from spoold.log import Logger
from spoold.metrics import Metrics
from spoold.spool.contract import DeadLetter, LaneState
from spoold.spool.lanes import DAMAGED


class LaneReport:
    """One lane's voice. Everything counted here has been settled before."""

    def __init__(self, lane: str, log: Logger, metrics: Metrics) -> None:
        self._lane = lane
        self._log = log.bind(lane=lane)
        self._metrics = metrics

    def started(self, pending: int, state: str) -> None:
        """The lane's thread runs."""
        self._log.info("batch worker started", pending=pending, state=state)

    def sending(self, event_count: int, route: str) -> None:
        """A request goes out."""
        self._log.info("flushing batch", event_count=event_count, route=route)

    def replied(self, attempt: Attempt, outcome: str) -> None:
        """A request came back, one way or another."""
        self._metrics.flush_seconds.labels(self._lane).observe(attempt.took_seconds)
        self._metrics.flushes.labels(self._lane, outcome).inc()

    def warned(self, warning: str) -> None:
        """All is well, but not as expected."""
        self._log.warning("provider warned", warning=warning)

    def delivered(self, event_count: int, pending: int) -> None:
        """Events are settled as delivered."""
        self._metrics.events_delivered.labels(self._lane).inc(event_count)
        self._log.info("batch flushed successfully", event_count=event_count, pending=pending)

    def died(self, letter: DeadLetter) -> None:
        """An event is set aside."""
        is_damaged = letter.reason == DAMAGED
        # The reason itself is the provider's text: as a label it would have no bound.
        label = DAMAGED if is_damaged else "unsendable" if letter.attempts == 0 else "rejected"
        self._metrics.events_dead.labels(self._lane, label).inc()
        if is_damaged:
            self._metrics.damaged_records.inc()
        self._log.error(
            "dead letter", seq=letter.seq, reason=letter.reason, status=letter.status, attempts=letter.attempts
        )

    def failed(self, state: LaneState, *, wait_seconds: float, status: int | None) -> None:
        """A request will be repeated."""
        self._metrics.retries.labels(self._lane).inc()
        self._log.warning(
            "batch send failed, retrying",
            attempt=state.retry.failures,
            reason=state.retry.last_error,
            status=status,
            retry_seconds=round(wait_seconds, 3),
            pending=state.pending,
        )

    def went_down(self, state: LaneState, reason: str) -> None:
        """The lane will only probe from now on; it keeps its events."""
        self._log.error("lane down", state=reason, failures=state.retry.failures, reason=state.retry.last_error)

    def recovered(self, failures: int, pending: int) -> None:
        """The first success after the lane was down or stopped."""
        self._log.info("lane recovered", failures=failures, pending=pending)

    def finished(self, pending: int) -> None:
        """The last flush before the end is over."""
        self._log.info("final flush completed", pending=pending)
