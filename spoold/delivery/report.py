"""What a lane says: the log messages and metrics that operators search for (design: what it says)."""

from spoold.delivery.sender import Attempt
from spoold.log import Logger
from spoold.metrics import Metrics
from spoold.spool.values import DAMAGED, DeadLetter, ReplayStep, Settlement


class LaneReport:
    """One lane's voice. Everything counted here has been settled before."""

    def __init__(self, lane: str, log: Logger, metrics: Metrics) -> None:
        self._lane = lane
        self._log = log.bind(lane=lane)
        self._metrics = metrics
        metrics.begin_lane(lane)

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

    def settled(self, settlement: Settlement, pending: int) -> None:
        """What became of some events is on disk."""
        delivered = settlement.delivered + len(settlement.released) - settlement.released_filtered
        filtered = settlement.filtered + settlement.released_filtered
        for letter in settlement.dead:
            self._died(letter)
        if filtered:
            self._metrics.events_filtered.labels(self._lane).inc(filtered)
        if delivered:
            self._metrics.events_delivered.labels(self._lane).inc(delivered)
            self._log.info("batch flushed successfully", event_count=delivered, pending=pending)
        if settlement.deferred:
            first = settlement.deferred[0]
            self._log.warning("events deferred", event_count=len(settlement.deferred), reason=first.reason)
        if settlement.replay is not None:
            self._replayed(settlement.replay)

    def _replayed(self, step: ReplayStep) -> None:
        self._metrics.events_replayed.labels(self._lane).inc(step.sent)
        self._log.info(
            "replay went on",
            replay=step.id,
            sent=step.sent,
            failed=step.failed,
            revived=len(step.revived),
            is_done=step.is_done,
        )

    def purged(self, event_count: int, pending: int) -> None:
        """The spool was full: the lane's oldest events were given up, as its owner wants."""
        self._metrics.events_purged.labels(self._lane).inc(event_count)
        self._log.error("events purged", event_count=event_count, pending=pending)

    def _died(self, letter: DeadLetter) -> None:
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

    def failed_alone(self, seq: int, failures: int, reason: str) -> None:
        """An event failed by itself while others passed; the lane goes on without it."""
        self._metrics.retries.labels(self._lane).inc()
        self._log.warning("event failed alone", seq=seq, failures=failures, reason=reason)

    def failed(self, failures: int, reason: str, pending: int, *, wait_seconds: float, status: int | None) -> None:
        """A request will be repeated."""
        self._metrics.retries.labels(self._lane).inc()
        self._log.warning(
            "batch send failed, retrying",
            attempt=failures,
            reason=reason,
            status=status,
            retry_seconds=round(wait_seconds, 3),
            pending=pending,
        )

    def went_down(self, state: str, failures: int, reason: str) -> None:
        """The lane will only probe from now on; it keeps its events."""
        self._log.error("lane down", state=state, failures=failures, reason=reason)

    def recovered(self, failures: int, pending: int) -> None:
        """The first success after the lane was down or stopped."""
        self._log.info("lane recovered", failures=failures, pending=pending)

    def finished(self, pending: int) -> None:
        """The last flush before the end is over."""
        self._log.info("final flush completed", pending=pending)
