"""Where a lane's next requests come from: its journal, the events that stood aside, its replays; and when."""

from spoold.clock import Clock
from spoold.delivery.batch import Batch
from spoold.delivery.feed import Feed, encode_all, fill
from spoold.delivery.filter import EventFilter
from spoold.delivery.standby import MAX_DEFERRED, Standby
from spoold.delivery.window import ReplayBatch, Window
from spoold.errors import SpoolCorruptError
from spoold.providers.base import Provider
from spoold.record import DamagedEvent, Event
from spoold.spool.contract import Spool
from spoold.spool.values import LaneState, Settlement

#: Above this many batches pending, requests are filled up to the provider's own limits.
_BACKLOG_BATCHES = 20
#: Dead letters made pending again, or events of a replay, in one step.
_REPLAY_EVENTS = 500
#: So many events are looked through, at most, for one that is not the head's.
_MAX_IN_HAND = 10_000
#: With so many bytes in hand nothing more is read: all lanes share a memory of 256 MiB.
_MAX_IN_HAND_BYTES = 8 * 1024 * 1024


class Supply:
    """Fills a lane's window. Belongs to the lane's thread.

    Attributes:
        keeps_batches: The provider's receiver knows a request again by its events.
        max_body_bytes: A smaller cap on a request than the provider's own, learnt from its refusals; None: none.
    """

    def __init__(
        self,
        lane: str,
        spool: Spool,
        provider: Provider,
        event_filter: EventFilter,
        clock: Clock,
        *,
        batch_size: int,
        interval_seconds: float,
        in_flight: int,
    ) -> None:
        self._lane = lane
        self._spool = spool
        self._provider = provider
        self._filter = event_filter
        self._clock = clock
        self._batch_size = batch_size
        self._interval_seconds = interval_seconds
        self._max_batches = 2 * in_flight
        self.window = Window()
        self.standby = Standby(spool.deferred(lane), clock.monotonic(), clock.wall_ms())
        self.max_body_bytes: int | None = None
        self.keeps_batches = any(limits.keeps_batches for limits in provider.routes.values())
        self._feed = Feed(lane, spool, provider, event_filter)
        self._due_at: float | None = None
        self._is_hurried = False

    def start(self, state: LaneState) -> None:
        """Read on from the lane's cursor. What is pending by now is due at once."""
        self._is_hurried = state.pending > 0
        self.window.ahead.clear()
        self._feed.rewind(state.cursor)

    def unread(self, state: LaneState) -> int:
        """Events ahead of the cursor that are not in hand."""
        # What was just committed may be in hand already and not counted yet.
        return max(0, state.pending - state.deferred - self.window.unsettled)

    def can_fetch_ahead(self, state: LaneState) -> bool:
        """Whether there is more in the journal, and room in memory for it."""
        return self.window.unsettled < _MAX_IN_HAND and self._has_room and self.unread(state) > 0

    def can_fetch_aside(self, *, is_calm: bool) -> bool:
        """Whether events that stand aside come into the window when they are due."""
        return self.window.aside is None and (is_calm or not self.window.ahead)

    def hurry(self, now: float) -> None:
        """Everything is due now: an operator says so."""
        self._is_hurried = True
        self.standby.hurry(now)

    def due_in(self, state: LaneState, now: float) -> float | None:
        """Seconds until a flush of what is unread is due, 0 when it is; None when nothing is unread."""
        unread = self.unread(state)
        if unread == 0:
            self._due_at = None
            self._is_hurried = False
            return None
        if unread >= self._batch_size or self._is_hurried:
            return 0
        if self._due_at is None:
            # Fixed once, on the monotonic clock: a wall clock that jumps delays nothing by more than one interval.
            oldest_ms = self._spool.oldest_pending_at_ms(self._lane, after=self._feed.position)
            wall_ms = self._clock.wall_ms()
            age = (wall_ms - (wall_ms if oldest_ms is None else oldest_ms)) / 1000
            self._due_at = now + self._interval_seconds - min(max(age, 0.0), self._interval_seconds)
        return max(0.0, self._due_at - now)

    def fetch(self, state: LaneState, now: float, *, is_calm: bool, is_final: bool) -> bool:
        """Put the next batch into the window, if one is due; False when none is.

        Args:
            is_calm: The provider is well. Else there is one batch at a time: it will probably fail.
            is_final: The last flush: what is unread is due, replays are not.
        """
        window = self.window
        if self.can_fetch_aside(is_calm=is_calm) and self._fetch_aside(state, now):
            return True
        due_in = self.due_in(state, now)
        is_due = due_in is not None and (due_in == 0 or is_final)
        has_room = len(window.ahead) < self._max_batches and self._has_room
        if is_due and (has_room if is_calm else not window.ahead):
            self.fetch_ahead(state)
            return True
        # Where nothing else is due it may also be the probe.
        is_idle = not window.ahead and window.aside is None and window.replay is None
        return is_idle and not is_final and self._fetch_replay()

    def fetch_ahead(self, state: LaneState) -> None:
        """Put the next events of the journal into the window."""
        self._due_at = None
        unread = self.unread(state)
        decided = next((upto for upto in state.batches if upto > self._feed.position), None)
        is_backlog = unread > _BACKLOG_BATCHES * self._batch_size
        # What is kept is a request each, of the same events whatever was learnt since it was decided.
        batch = self._feed.take(
            self._batch_events(unread),
            self.max_body_bytes if decided is None else None,
            fills=(is_backlog or self.keeps_batches) and decided is None,
            upto=decided,
        )
        if not len(batch):
            raise SpoolCorruptError(
                f"lane {self._lane} has {unread} events pending but the journal has none behind {batch.after}"
            )
        self.window.ahead.append(batch)

    def decided(self, state: LaneState) -> tuple[int, ...]:
        """The ends of the batches in hand, and of those that were decided before and are still to come."""
        later = (upto for upto in state.batches if upto > self._feed.position)
        return (*(batch.upto for batch in self.window.ahead), *later)

    def note_settled(self, settlement: Settlement) -> None:
        """Who stands aside from now on, and who no longer does."""
        now = self._clock.monotonic()
        for deferred in settlement.deferred:
            self.standby.add(deferred, now + deferred.wait_ms / 1000)
        for seq in (*settlement.released, *(letter.seq for letter in settlement.dead)):
            self.standby.remove(seq)
        if settlement.replay is not None and settlement.replay.revived:
            self._look_at_revived(now)

    @property
    def _has_room(self) -> bool:
        return self.window.size < _MAX_IN_HAND_BYTES

    def _look_at_revived(self, now: float) -> None:
        for deferred in self._spool.deferred(self._lane):
            if deferred.seq not in self.standby:
                self.standby.add(deferred, now)

    def _batch_events(self, unread: int) -> int:
        if unread <= _BACKLOG_BATCHES * self._batch_size:
            return self._batch_size
        return max(self._batch_size, *(limits.max_parts for limits in self._provider.routes.values()))

    def _fetch_aside(self, state: LaneState, now: float) -> bool:
        seqs = self.standby.take_due(now, self._batch_events(state.deferred))
        if not seqs:
            return False
        events = self._spool.read_deferred(self._lane, seqs)
        batch = Batch(0, 0, [event.seq for event in events])
        self._fill(batch, events)
        for call in batch.calls:
            for item in call.items:
                known = self.standby[item.seq]
                item.attempts, item.failures = known.attempts, known.failures
        batch.calls = [part for call in batch.calls for part in call.with_suspects_alone()]
        self.window.aside = batch
        return True

    def _fetch_replay(self) -> bool:
        replay = self._spool.next_replay(self._lane)
        room = MAX_DEFERRED - len(self.standby)
        if replay is None or room <= 0:
            return False
        page = self._spool.read_replay(replay.id, max_events=min(_REPLAY_EVENTS, room))
        batch = Batch(0, page.upto, [event.seq for event in page.events])
        self._fill(batch, page.events)
        self.window.replay = ReplayBatch(replay.id, batch, tuple(page.revived), page.is_end)
        return True

    def _fill(self, batch: Batch, events: list[Event | DamagedEvent]) -> None:
        fill(batch, encode_all(self._provider, self._filter, events), self._provider.routes, self.max_body_bytes)
