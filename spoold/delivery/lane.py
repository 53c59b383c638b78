"""One lane: decides when to send what, and what a reply leads to. No thread, no network, no clock of its own.

``step`` hands out a call or says how long to wait; ``on_reply`` takes what came of the call. Both run on the lane's own
thread in production and in a seeded script in simulation.
"""

from dataclasses import dataclass

from spoold.clock import Clock, Entropy
from spoold.delivery.backoff import STOPPED_PROBE_SECONDS, RetryPolicy
from spoold.delivery.batch import Batch, Call, Item, plan
from spoold.delivery.report import LaneReport
from spoold.delivery.sender import Attempt
from spoold.errors import SpoolCorruptError
from spoold.providers.base import Delivered, Provider, Retry, Split, Stop
from spoold.record import DamagedEvent, Event
from spoold.spool.contract import DeadLetter, LaneState, RetryState, Settlement, Spool

#: Above this many batches pending, requests are filled up to the provider's own limits.
_BACKLOG_BATCHES = 20
_PAGE_BYTES = 2 * 1024 * 1024
_PAGE_EVENTS = 1000
#: A probe of a lane that is down is small: it will probably fail, and must not cost the provider much.
_DOWN_PROBE_EVENTS = 10
_STOPPED_PROBE_EVENTS = 1
#: So many single events refused in a row with the same words: the key is bad, not the events (design: whom to blame).
_SUSPICIOUS_REFUSALS = 20
_MIN_BODY_BYTES = 1024
_SETTLEMENT_ID_BYTES = 16


@dataclass(frozen=True, slots=True)
class LaneSettings:
    """The owner's words on one lane.

    Attributes:
        batch_size: Events pending from which a flush is due.
        interval_seconds: Age of the oldest pending event at which a flush is due.
        timeout_seconds: For one request.
    """

    batch_size: int
    interval_seconds: float
    timeout_seconds: float
    retry: RetryPolicy


@dataclass(frozen=True, slots=True)
class Send:
    """Send this call now, and answer with ``on_reply``."""

    call: Call
    timeout_seconds: float


@dataclass(frozen=True, slots=True)
class Wait:
    """Come again after ``seconds`` (None: no time), or when ``min_pending`` events are pending."""

    seconds: float | None
    min_pending: int


@dataclass(frozen=True, slots=True)
class Done:
    """The final flush is over."""


#: A wait that new events don't end.
_NO_EVENTS = 2**62


class Lane:
    """The state machine of one lane. Methods belong to one thread; the properties may be read from any."""

    def __init__(
        self,
        name: str,
        spool: Spool,
        provider: Provider,
        settings: LaneSettings,
        report: LaneReport,
        *,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        """Claim the lane, which must be open, and take up where it stands."""
        self.name = name
        self._spool = spool
        self._provider = provider
        self._settings = settings
        self._report = report
        self._clock = clock
        self._entropy = entropy
        self._lease = spool.claim(name)
        self._state = self._own_state()
        self._batch: Batch | None = None
        self._is_sending = False
        #: Events allowed in one call while the lane comes back; None when there is no bound.
        self._ramp: int | None = None
        self._max_body_bytes: int | None = None
        self._refusals: list[tuple[str, Item, DeadLetter]] = []
        now = clock.monotonic()
        # What was pending at the last stop is due at once.
        self._due_at: float | None = now if self._state.pending else None
        self._wait_until = now + self._persisted_wait()
        self._stop_deadline: float | None = None
        report.started(self._state.pending, self.state)

    @property
    def state(self) -> str:
        """``idle``, ``sending``, ``backoff``, ``down`` or ``stopped``."""
        retry = self._state.retry
        if retry.is_stopped:
            return "stopped"
        if self._settings.retry.is_down(retry.failures):
            return "down"
        if self._is_sending:
            return "sending"
        return "backoff" if retry.failures else "idle"

    @property
    def next_attempt_at(self) -> float | None:
        """Monotonic seconds of the next attempt while the lane waits out a failure, else None."""
        is_waiting = bool(self._state.retry.failures) and not self._is_sending
        return self._wait_until if is_waiting else None

    def request_stop(self, deadline: float) -> None:
        """Flush what is pending as far as it goes until ``deadline`` (monotonic seconds), then be done."""
        self._stop_deadline = deadline

    def step(self, now: float) -> Send | Wait | Done:
        """What to do at ``now`` (monotonic seconds).

        Raises:
            LeaseLostError: Somebody else owns the lane.
            SpoolError: The spool can't be read or written.
        """
        while True:
            self._state = self._own_state()
            if self._stop_deadline is not None and self._must_end(now):
                if self._batch is not None and self._batch.is_head_known:
                    # The batch is not through, but the next start must not repeat what was confirmed.
                    self._settle("delivered", None, self._state.retry)
                self._report.finished(self._state.pending)
                return Done()
            if now < self._wait_until:
                return Wait(self._wait_until - now, _NO_EVENTS)
            if self._batch is None:
                wait = self._until_due(now)
                if wait is not None:
                    return wait
                self._batch = self._read_batch()
            if self._batch.calls:
                return self._send(now, self._batch)
            self._settle("delivered", None, self._state.retry)

    def on_reply(self, call: Call, attempt: Attempt, now: float) -> None:
        """Take what came of the call that ``step`` handed out last. Raises as ``step`` does."""
        self._is_sending = False
        batch = self._batch
        if batch is None or not batch.calls or batch.calls[0] is not call:
            raise ValueError(f"lane {self.name} has no such call under way")
        for item in call.items:
            item.attempts += 1
        match attempt.outcome:
            case Delivered() as delivered:
                self._report.replied(attempt, "partial" if delivered.dead or delivered.deferred else "delivered")
                self._take(batch, call, delivered, attempt, now)
            case Retry() as retry:
                self._report.replied(attempt, "retry")
                self._fail(retry, attempt, now)
            case Split() as split:
                self._report.replied(attempt, "split")
                self._split(batch, call, split, attempt, now)
            case Stop() as stop:
                self._report.replied(attempt, "stop")
                self._stop(stop.reason, attempt, now)

    def _own_state(self) -> LaneState:
        return next(state for state in self._spool.lanes() if state.name == self.name)

    def _persisted_wait(self) -> float:
        retry = self._state.retry
        if not retry.failures or retry.is_stopped:
            # A stopped lane tries at once: a restart is how its configuration is changed.
            return 0.0
        # The shorter of the two: a wall clock that jumped back must not make the wait longer than it ever was.
        left_ms = min(retry.wait_ms, retry.not_before_ms - self._clock.wall_ms())
        return max(0.0, left_ms / 1000)

    def _must_end(self, now: float) -> bool:
        # A lane that waits out a failure makes no extra attempt: its events are safe where they are.
        is_late = self._stop_deadline is not None and now >= self._stop_deadline
        return self._state.pending == 0 or now < self._wait_until or is_late

    def _until_due(self, now: float) -> Wait | None:
        """How long until a flush is due; None when it is."""
        pending, size = self._state.pending, self._settings.batch_size
        if pending == 0:
            self._due_at = None
            return Wait(None, 1)
        if pending >= size or self._stop_deadline is not None:
            return None
        if self._due_at is None:
            # Fixed once, on the monotonic clock: a wall clock that jumps delays nothing by more than one interval.
            oldest_ms = self._spool.oldest_pending_at_ms(self.name)
            wall_ms = self._clock.wall_ms()
            age = (wall_ms - (wall_ms if oldest_ms is None else oldest_ms)) / 1000
            self._due_at = now + self._settings.interval_seconds - min(max(age, 0.0), self._settings.interval_seconds)
        return Wait(self._due_at - now, size) if now < self._due_at else None

    def _read_batch(self) -> Batch:
        self._due_at = None
        size = self._settings.batch_size
        if self._state.pending > _BACKLOG_BATCHES * size:
            size = max(size, *(limits.max_parts for limits in self._provider.routes.values()))
        after = upto = self._state.cursor
        events: list[Event | DamagedEvent] = []
        while (wanted := min(size - len(events), _PAGE_EVENTS)) > 0:
            page = self._spool.read(self.name, upto, max_events=wanted, max_bytes=_PAGE_BYTES)
            events += page.events
            upto = page.after
            if page.is_end or len(page.events) < wanted:
                break
        if upto == after:
            raise SpoolCorruptError(
                f"lane {self.name} has {self._state.pending} events pending but the journal has none behind {after}"
            )
        return plan(self._provider, after, upto, events, self._max_body_bytes)

    def _send(self, now: float, batch: Batch) -> Send:
        limit = self._allowed_events()
        if limit is not None and len(batch.calls[0].items) > limit:
            batch.calls.extendleft(reversed(batch.calls.popleft().cut(limit)))
        call = batch.calls[0]
        timeout = self._settings.timeout_seconds
        if self._stop_deadline is not None:
            timeout = min(timeout, self._stop_deadline - now)
        self._is_sending = True
        self._report.sending(len(call.items), call.route)
        return Send(call, timeout)

    def _allowed_events(self) -> int | None:
        retry = self._state.retry
        if retry.is_stopped:
            return _STOPPED_PROBE_EVENTS
        if self._settings.retry.is_down(retry.failures):
            return min(_DOWN_PROBE_EVENTS, self._settings.batch_size)
        return self._ramp

    def _take(self, batch: Batch, call: Call, delivered: Delivered, attempt: Attempt, now: float) -> None:
        if delivered.warning:
            self._report.warned(delivered.warning)
        owners = call.owners()
        dead = {owners[part.index].seq: part.reason for part in delivered.dead}
        deferred = {owners[part.index].seq: part.after_seconds for part in delivered.deferred}
        batch.calls.popleft()
        later: list[Item] = []
        for item in call.items:
            if item.seq in dead:
                batch.resolve(item.seq, DeadLetter(item.seq, dead[item.seq], attempt.status, item.attempts))
            elif item.seq in deferred:
                later.append(item)
            else:
                batch.resolve(item.seq, None)
        if len(dead) < len(call.items):
            self._refusals.clear()
        if later:
            batch.calls.append(Call(call.route, tuple(later)))
            self._wait_until = now + max(deferred.values())
        had_failed = self._succeed(len(call.items))
        if later or had_failed or not batch.calls:
            self._settle("partial" if dead or later else "delivered", attempt, RetryState())

    def _succeed(self, sent_events: int) -> bool:
        """The provider answered as one that is well; returns whether a failure is to be forgotten on disk."""
        retry = self._state.retry
        was_out = retry.is_stopped or self._settings.retry.is_down(retry.failures)
        if was_out:
            self._report.recovered(retry.failures, self._state.pending)
            # Everything that gathered must not hit a provider that has just come back.
            self._ramp = sent_events * 2
        elif self._ramp is not None:
            largest = max(limits.max_parts for limits in self._provider.routes.values())
            self._ramp = self._ramp * 2 if self._ramp < largest else None
        return bool(retry.failures)

    def _split(self, batch: Batch, call: Call, split: Split, attempt: Attempt, now: float) -> None:
        if split.too_large and len(call.items) > 1:
            size = sum(item.size for item in call.items)
            self._max_body_bytes = max(_MIN_BODY_BYTES, size // 2)
        batch.calls.popleft()
        if len(call.items) > 1:
            batch.calls.extendleft(reversed(call.cut(len(call.items) // 2)))
            return
        item = call.items[0]
        letter = DeadLetter(item.seq, split.reason, attempt.status, item.attempts)
        batch.resolve(item.seq, letter)
        if self._refusals and not _is_alike(self._refusals[-1][2], letter):
            self._refusals.clear()
        self._refusals.append((call.route, item, letter))
        if len(self._refusals) >= _SUSPICIOUS_REFUSALS:
            self._take_back_refusals(batch)
            self._stop(f"{_SUSPICIOUS_REFUSALS} events in a row were refused alike: {split.reason}", attempt, now)
        elif self._succeed(1) or not batch.calls:
            self._settle("split", attempt, RetryState())

    def _take_back_refusals(self, batch: Batch) -> None:
        # A bad key must not empty the spool into the dead letters: what is not settled yet is pending again.
        for route, item, _letter in reversed(self._refusals):
            if batch.take_back(item.seq):
                batch.calls.appendleft(Call(route, (item,)))
        self._refusals.clear()

    def _fail(self, retry: Retry, attempt: Attempt, now: float) -> None:
        before = self._state.retry
        failures = before.failures + 1
        wait = self._settings.retry.wait_seconds(failures, retry, self._entropy)
        self._pause("retry", attempt, retry.reason, wait, now, failures=failures, is_stopped=before.is_stopped)
        self._report.failed(self._state, wait_seconds=wait, status=attempt.status)
        if failures == self._settings.retry.max_attempts:
            self._report.went_down(self._state, "down")

    def _stop(self, reason: str, attempt: Attempt, now: float) -> None:
        was_stopped = self._state.retry.is_stopped
        failures = self._state.retry.failures + 1
        self._pause("stop", attempt, reason, STOPPED_PROBE_SECONDS, now, failures=failures, is_stopped=True)
        if not was_stopped:
            self._report.went_down(self._state, "stopped")

    def _pause(
        self, outcome: str, attempt: Attempt, reason: str, wait: float, now: float, *, failures: int, is_stopped: bool
    ) -> None:
        wall_ms = self._clock.wall_ms()
        wait_ms = int(wait * 1000)
        retry = RetryState(failures, is_stopped, wait_ms, wall_ms + wait_ms, reason, wall_ms)
        self._ramp = None
        self._wait_until = now + wait
        self._settle(outcome, attempt, retry)

    def _settle(self, outcome: str, attempt: Attempt | None, retry: RetryState) -> None:
        """Make durable what is known; the counting comes after."""
        batch = self._batch
        after = upto = self._state.cursor
        fates: list[DeadLetter | None] = []
        if batch is not None:
            after, upto, fates = batch.take_settleable()
            if batch.is_resolved:
                self._batch = None
        dead = tuple(fate for fate in fates if fate is not None)
        self._state = self._spool.settle(
            self._lease,
            Settlement(
                id=self._entropy.random_bytes(_SETTLEMENT_ID_BYTES),
                after=after,
                upto=upto,
                delivered=len(fates) - len(dead),
                filtered=0,
                dead=dead,
                retry=retry,
                outcome=outcome,
                status=None if attempt is None else attempt.status,
                took_ms=0 if attempt is None else int(attempt.took_seconds * 1000),
            ),
        )
        for letter in dead:
            self._report.died(letter)
        if len(fates) > len(dead):
            self._report.delivered(len(fates) - len(dead), self._state.pending)


def _is_alike(one: DeadLetter, other: DeadLetter) -> bool:
    return (one.reason, one.status) == (other.reason, other.status)
