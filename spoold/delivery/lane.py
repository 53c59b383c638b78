"""One lane: decides when to send what, and what a reply leads to. No thread, no network, no clock of its own.

``step`` hands out a call or says how long to wait; ``on_reply`` takes what came of a call. Both run on the lane's own
thread in production and in a seeded script in simulation. Others carry the calls meanwhile, several at a time.
"""

from dataclasses import dataclass, field
from typing import Literal

from spoold.clock import Clock, Entropy
from spoold.delivery.backoff import RetryPolicy
from spoold.delivery.batch import Batch, Call, free_calls, next_call
from spoold.delivery.filter import EventFilter
from spoold.delivery.judge import Judge
from spoold.delivery.report import LaneReport
from spoold.delivery.sender import Attempt
from spoold.delivery.supply import Supply
from spoold.providers.base import Provider
from spoold.spool.contract import Spool
from spoold.spool.values import PLANNED, Deferred, LaneState, RetryState, Settlement

#: A probe of a lane that is down is small: it will probably fail, and must not cost the provider much.
_DOWN_PROBE_EVENTS = 10
_STOPPED_PROBE_EVENTS = 1
#: So often a lane that is down tries another event than its head before it tries yet another.
_TRIES = 5
_SETTLEMENT_ID_BYTES = 16
_PURGE_EVENTS = 1000
_PURGE_BYTES = 1024 * 1024
#: How often a lane that gives up events looks whether there is room.
_PURGE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class LaneSettings:
    """The owner's words on one lane.

    Attributes:
        batch_size: Events pending from which a flush is due.
        interval_seconds: Age of the oldest pending event at which a flush is due.
        timeout_seconds: For one request.
        in_flight: Most requests under way at once.
        when_full: ``purge``: when the spool is full, the oldest pending events of this lane are given up.
        event_filter: What the lane sees of the events.
    """

    batch_size: int
    interval_seconds: float
    timeout_seconds: float
    retry: RetryPolicy
    in_flight: int = 4
    when_full: Literal["refuse", "purge"] = "refuse"
    event_filter: EventFilter = field(default_factory=EventFilter)


@dataclass(frozen=True, slots=True)
class Send:
    """Send this call now, and answer with ``on_reply``."""

    call: Call
    timeout_seconds: float


@dataclass(frozen=True, slots=True)
class Wait:
    """Come again after ``seconds`` (None: no time), or when ``min_pending`` events are ahead, or with a reply."""

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
        self._flushes = self._state.flushes
        self._supply = Supply(
            name,
            spool,
            provider,
            settings.event_filter,
            clock,
            batch_size=settings.batch_size,
            interval_seconds=settings.interval_seconds,
            in_flight=settings.in_flight,
        )
        self._supply.start(self._state)
        self._window = self._supply.window
        self._judge = Judge(
            settings.retry,
            self._supply,
            report,
            largest=max(limits.max_parts for limits in provider.routes.values()),
            clock=clock,
            entropy=entropy,
        )
        self._is_sending = False
        self._wait_until = clock.monotonic() + self._persisted_wait()
        self._stop_deadline: float | None = None
        self._may_send = True
        report.started(self._state.pending, self.state)

    @property
    def state(self) -> str:
        """``idle``, ``sending``, ``backoff``, ``down``, ``stopped`` or ``paused``."""
        retry = self._state.retry
        if self._state.is_paused:
            return "paused"
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
        is_waiting = bool(self._state.retry.failures) and not self._is_sending and not self._state.is_paused
        return self._wait_until if is_waiting else None

    def request_stop(self, deadline: float, *, flushes: bool = True) -> None:
        """Flush what is pending as far as it goes until ``deadline`` (monotonic seconds), then be done.

        Args:
            flushes: False: send nothing more, only wait for what is under way.
        """
        self._may_send = flushes
        self._stop_deadline = deadline

    def step(self, now: float) -> Send | Wait | Done:
        """What to do at ``now`` (monotonic seconds).

        Raises:
            LeaseLostError: Somebody else owns the lane.
            SpoolError: The spool can't be read or written.
        """
        while True:
            self._look(now)
            if self._stop_deadline is not None and self._must_end(now, self._stop_deadline):
                self._settle("delivered", None, self._state.retry)
                self._report.finished(self._state.pending)
                return Done()
            if self._state.is_paused or now < self._wait_until or not self._has_slot():
                return self._wait(now)
            picked = self._pick(now)
            # A replay goes behind live traffic, that which is still on disk too.
            is_live = picked is not None and not self._window.is_replay(picked[0])
            if not is_live and self._fetch(now):
                continue
            return self._wait(now) if picked is None else self._send(*picked, now)

    def on_reply(self, call: Call, attempt: Attempt, now: float) -> None:
        """Take what came of a call that ``step`` handed out. Raises as ``step`` does."""
        effect = self._judge.read(call, attempt, self._state, now)
        # What was sent before the last failure is under way, but the lane waits.
        self._is_sending = any(call.round == self._judge.round for call in self._window.flying())
        if effect.wait_until is not None:
            self._wait_until = max(self._wait_until, effect.wait_until)
        elif effect.retry is not None:
            # The provider is well: whatever an answer from before had asked for is not to be waited out.
            self._wait_until = now
        retry = self._state.retry if effect.retry is None else effect.retry
        if effect.is_urgent or self._window.is_settleable:
            self._settle(effect.outcome, attempt, retry, effect.deferred)

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

    def _look(self, now: float) -> None:
        """Take the spool's word, and an operator's."""
        self._state = self._own_state()
        if self._state.flushes != self._flushes:
            self._flushes = self._state.flushes
            self._wait_until = now
            self._judge.release()
            self._supply.hurry(now)
        may_purge = self._settings.when_full == "purge" and not any(self._window.flying())
        if may_purge and self._spool.wants_room(self.name):
            self._purge()

    def _must_end(self, now: float, deadline: float) -> bool:
        if now >= deadline:
            return True
        if any(self._window.flying()):
            return False
        # A lane that waits out a failure makes no extra attempt: its events are safe where they are.
        if now < self._wait_until or self._state.is_paused or not self._may_send:
            return True
        is_free = next_call(self._window.batches(aside_first=True), now) is not None
        return not is_free and self._supply.unread(self._state) == 0

    @property
    def _is_calm(self) -> bool:
        retry = self._state.retry
        return not retry.failures and not retry.is_stopped

    def _has_slot(self) -> bool:
        # One that was sent before the last failure may hang for long; it holds nobody up.
        rounds = [call.round for call in self._window.flying()]
        is_careful = not self._is_calm or self._judge.ramp is not None
        is_free = len(rounds) < self._settings.in_flight
        return self._may_send and is_free and not (is_careful and self._judge.round in rounds)

    def _pick(self, now: float) -> tuple[Batch, Call] | None:
        """The call that goes out next, if one may."""
        picked = next_call(self._window.batches(aside_first=self._is_calm), now)
        if picked is None or self._is_calm:
            return picked
        failures = self._state.retry.failures
        # The head and another event in turn: the head itself may be the trouble.
        if self._state.retry.is_stopped:
            is_turn_of_another = picked[1].is_suspect and failures % 2 == 0
        elif self._settings.retry.is_down(failures):
            is_turn_of_another = (failures - self._settings.retry.max_attempts) % 2 == 1
        else:
            is_turn_of_another = picked[1].is_suspect and failures % 2 == 1
        return self._pick_another(*picked, now) if is_turn_of_another else picked

    def _pick_another(self, head_batch: Batch, head: Call, now: float) -> tuple[Batch, Call]:
        others = self._others(head, now)
        # Where all in hand are suspects, none of them can show that the provider is well.
        is_one_wanted = len(head.items) == 1 and all(other.is_suspect for _, other in others)
        if is_one_wanted and self._supply.can_fetch_ahead(self._state):
            self._supply.fetch_ahead(self._state)
            self._decide()
            others = self._others(head, now)
        # Of those that were tried, several may be trouble: after some tries it is yet another's turn.
        batch, call = min(reversed(others), key=lambda other: other[1].least_sent // _TRIES, default=(head_batch, head))
        keeps_place = call is head and call.is_ordered and not self._may_be_to_blame(head)
        if len(call.items) == 1 or keeps_place or self._supply.keeps_batches:
            return batch, call
        is_first = call.is_ordered and call is not head
        parts = call.cut(1 if is_first else len(call.items) - 1)
        batch.replace(call, *parts)
        return batch, parts[0 if is_first else 1]

    def _others(self, head: Call, now: float) -> list[tuple[Batch, Call]]:
        """What may go out instead of the head; out of its place only where nothing else can show the head's guilt."""
        batches = self._window.batches(aside_first=False)
        free = [picked for picked in free_calls(batches, now) if picked[1] is not head]
        if free or not self._may_be_to_blame(head):
            return free
        due = [(batch, call) for batch in batches if batch.not_before <= now for call in batch.calls]
        # The last is taken first: the one that passes the fewest.
        return [(batch, call) for batch, call in reversed(due) if call is not head and not call.is_flying]

    def _may_be_to_blame(self, call: Call) -> bool:
        return call.failed_at is not None or call.is_suspect

    def _fetch(self, now: float) -> bool:
        """Get the next batch ready; False when there is nothing to do now."""
        is_final = self._stop_deadline is not None
        if not self._supply.fetch(self._state, now, is_calm=self._is_calm, is_final=is_final):
            return False
        self._decide()
        if self._window.is_settleable:
            self._settle("delivered", None, self._state.retry)
        return True

    def _decide(self) -> None:
        """Write down which events share a batch, before any of them goes out."""
        if self._supply.keeps_batches and (decided := self._supply.decided(self._state)) != self._state.batches:
            self._settle(PLANNED, None, self._state.retry, batches=decided)

    def _send(self, batch: Batch, call: Call, now: float) -> Send:
        limit = self._allowed_events()
        if limit is not None and len(call.items) > limit and not self._supply.keeps_batches:
            first, rest = call.cut(limit)
            batch.replace(call, first, rest)
            call = first
        timeout = self._settings.timeout_seconds
        if self._stop_deadline is not None:
            timeout = min(timeout, self._stop_deadline - now)
        call.is_flying, call.round = True, self._judge.round
        self._judge.blame.prepare(call)
        for item in call.items:
            item.attempts += 1
        self._is_sending = True
        self._report.sending(len(call.items), call.route)
        return Send(call, timeout)

    def _allowed_events(self) -> int | None:
        retry = self._state.retry
        if retry.is_stopped:
            return _STOPPED_PROBE_EVENTS
        if self._settings.retry.is_down(retry.failures):
            return min(_DOWN_PROBE_EVENTS, self._settings.batch_size)
        return self._judge.ramp

    def _wait(self, now: float) -> Wait:
        """Until when there is nothing to do but to take replies."""
        times = [] if self._stop_deadline is None else [self._stop_deadline]
        if self._settings.when_full == "purge":
            times.append(now + _PURGE_SECONDS)
        min_pending = _NO_EVENTS
        if now < self._wait_until and not self._state.is_paused:
            times.append(self._wait_until)
        elif self._has_slot() and not self._state.is_paused:
            supply = self._supply
            due_in = supply.due_in(self._state, now)
            # What is due and can't be fetched waits for a reply.
            if due_in != 0:
                min_pending = self._window.unsettled + (1 if due_in is None else self._settings.batch_size)
            times += [batch.not_before for batch in self._window.batches(aside_first=True) if batch.not_before > now]
            times += [now + due_in] if due_in else []
            if supply.can_fetch_aside(is_calm=self._is_calm) and supply.standby.next_due_at is not None:
                times.append(supply.standby.next_due_at)
        return Wait(max(0.0, min(times) - now) if times else None, min_pending)

    def _purge(self) -> None:
        """The spool is full, and the owner would rather lose this lane's oldest events than refuse new ones.

        The room comes with the next trim, within a second: what is given up must do for what is appended until then.
        """
        purged = self._state.purged
        size = 0
        while self._state.purged - purged < _PURGE_EVENTS and size < _PURGE_BYTES:
            if not self._window.ahead:
                if not self._supply.unread(self._state):
                    break
                self._supply.fetch_ahead(self._state)
            # What is known was not lost: it is settled as what it is, here and further on.
            size += self._window.ahead[0].give_up()
            self._settle("purged", None, self._state.retry)
        self._report.purged(self._state.purged - purged, self._state.pending)

    def _settle(
        self,
        outcome: str,
        attempt: Attempt | None,
        retry: RetryState,
        deferred: tuple[Deferred, ...] = (),
        *,
        batches: tuple[int, ...] | None = None,
    ) -> None:
        """Make durable what is known; the counting comes after."""
        known = self._window.collect(self._state.cursor)
        before = self._state
        settlement = Settlement(
            id=self._entropy.random_bytes(_SETTLEMENT_ID_BYTES),
            after=known.after,
            upto=known.upto,
            delivered=known.delivered,
            filtered=known.filtered,
            dead=tuple(known.dead),
            retry=retry,
            outcome=outcome,
            status=None if attempt is None else attempt.status,
            took_ms=0 if attempt is None else int(attempt.took_seconds * 1000),
            purged=known.purged,
            deferred=(*known.deferred, *deferred),
            released=tuple(known.released),
            released_filtered=known.released_filtered,
            replay=known.replay,
            batches=batches,
        )
        if settlement.moves or retry != before.retry or batches is not None:
            self._state = self._spool.settle(self._lease, settlement)
            self._supply.note_settled(settlement)
            self._report.settled(settlement, self._state.pending)
