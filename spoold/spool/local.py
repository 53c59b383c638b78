"""The spool on this machine's disk: the seam on SQLite.

Everything that changes the spool goes through one ``GroupCommit``, so one connection writes; everything that reads has
connections of its own.
"""

import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import TypeVar, cast

from spoold.clock import Clock, Entropy
from spoold.errors import SpoolClosedError, SpoolCorruptError, SpoolError, SpoolFailedError, SpoolFullError
from spoold.record import DamagedEvent, Draft, Event, encode_record
from spoold.spool import lanes
from spoold.spool.appending import Append
from spoold.spool.audit import Moment, trail_count
from spoold.spool.balance import AuditPosition, AuditStep, TallyPage, TallyPosition
from spoold.spool.group_commit import CommitObserver, GroupCommit
from spoold.spool.ids import IdMaker
from spoold.spool.journal import DATABASE_NAME
from spoold.spool.reader import Reader
from spoold.spool.replays import cancel_replay, find_replay, start_replay
from spoold.spool.retention import trim
from spoold.spool.rows import RUNNING, State, find_row
from spoold.spool.salvage import begin_salvage, describe_source
from spoold.spool.salvaged import Salvage
from spoold.spool.selecting import view_replay
from spoold.spool.space import Space, SpaceLimits
from spoold.spool.store import Store
from spoold.spool.transaction import Transaction
from spoold.spool.values import (
    Command,
    DeadEvent,
    Deferred,
    LaneState,
    Lease,
    Matches,
    Page,
    Receipt,
    Replay,
    ReplayPage,
    Selection,
    Settlement,
    SpoolStats,
    Start,
    Story,
)
from spoold.spool.waiting import NEVER, Signal, Wait

#: What may wait for one commit; a disk that hangs must not become a memory that grows.
MAX_WAITING_BYTES = 64 * 1024 * 1024
#: Free pages kept for the next appends, and how many are given back in one step.
_KEEP_FREE_BYTES = 4 * 1024 * 1024
_VACUUM_BYTES = 4 * 1024 * 1024

_T = TypeVar("_T")


class LocalSpool:
    """The engine on SQLite. Threads, time and randomness are given to it, so it also runs in one thread."""

    def __init__(
        self,
        store: Store,
        space: Space,
        clock: Clock,
        entropy: Entropy,
        *,
        directory: Path,
        retention_seconds: float,
        observer: CommitObserver,
        lock: AbstractContextManager[object],
        make_signal: Callable[[], Signal],
        drive: Callable[[], None] | None = None,
        on_damage: Callable[[SpoolCorruptError], None] | None = None,
    ) -> None:
        """Put the seam on an open store.

        Args:
            lock: Held while ids are made and an append is queued, so that ids have journal order.
            make_signal: For ``wait``.
            drive: Commits what was handed over, where no writer thread does (simulation); called before each wait.
            on_damage: Called by whoever reads and is told by SQLite that the file is damaged: the process must end.
                The writer's step raises it.
        """
        self._store = store
        self._space = space
        self._clock = clock
        self._retention_ms = int(retention_seconds * 1000)
        self._observer = observer
        self._lock = lock
        self._make_signal = make_signal
        self._drive = drive
        self._ids = IdMaker(clock, entropy, tag=store.state.spool.id_tag, last_ms=store.state.spool.last_id_ms)
        self._on_damage = on_damage
        self._directory = directory
        self._reader = Reader(directory / DATABASE_NAME, self._note_damage)
        self._waits: dict[str, Wait] = {name: Wait(make_signal()) for name in store.state.lanes}
        self._is_closed = False
        self.commits = GroupCommit(store, clock, self, checkpoint_bytes=space.limits.checkpoint_bytes)

    def append(self, drafts: Sequence[Draft]) -> "Future[list[Receipt]]":
        """See the seam."""
        received_at_ms = self._clock.wall_ms()
        future: Future[list[Receipt]] = Future()
        with self._lock:
            if self._is_closed:
                future.set_exception(SpoolClosedError("spoold is shutting down; nothing was stored"))
                return future
            append = self._prepare(drafts, received_at_ms, future)
            if self.commits.waiting_bytes + append.size > MAX_WAITING_BYTES:
                future.set_exception(SpoolFullError("too much waits for the disk; nothing was stored", reason="queue"))
                return future
            self.commits.submit_append(append)
        return future

    def _prepare(self, drafts: Sequence[Draft], received_at_ms: int, future: "Future[list[Receipt]]") -> Append:
        ids: list[bytes] = []
        stamps: list[int] = []
        for draft in drafts:
            if draft.event_id is None:
                event_id, stamp = self._ids.next_id()
            else:
                event_id, stamp = draft.event_id, self._ids.stamp()
            ids.append(event_id)
            stamps.append(stamp)
        records = [encode_record(draft, event_id, received_at_ms) for draft, event_id in zip(drafts, ids, strict=True)]
        chosen = [draft.event_id is not None for draft in drafts]
        return Append(records, ids, stamps, chosen, any(chosen), sum(map(len, records)), future)

    def read(self, lane: str, after: int, *, max_events: int, max_bytes: int) -> Page:
        """See the seam."""
        row = find_row(self._store.state.lanes, lane)
        return self._reader.page(row, after, max_events=max_events, max_bytes=max_bytes)

    def find(self, event_id: bytes) -> Story | None:
        """See the seam."""
        return self._reader.story(event_id, self._store.state)

    def open_lane(self, name: str, kind: str, start: Start) -> LaneState:
        """See the seam."""
        if name not in self._waits:
            self._waits = {**self._waits, name: Wait(self._make_signal())}
        return self._write(lambda tx: lanes.open_lane(tx, name, kind, start))

    def close_lane(self, name: str) -> LaneState:
        """See the seam."""
        return self._write(lambda tx: lanes.close_lane(tx, name))

    def lanes(self) -> list[LaneState]:
        """See the seam."""
        return self._store.state.lane_states()

    def claim(self, lane: str) -> Lease:
        """See the seam."""
        return self._write(lambda tx: lanes.claim(tx, lane))

    def settle(self, lease: Lease, settlement: Settlement) -> LaneState:
        """See the seam."""
        # What a provider took can't be refused: the lane would send it again.
        return self._write(lambda tx: lanes.settle(tx, lease, settlement, self._clock.wall_ms()), is_patient=True)

    def command(self, lane: str, command: Command) -> LaneState:
        """See the seam."""
        state: LaneState = self._write(lambda tx: lanes.command(tx, lane, command))
        self.nudge(lane)
        return state

    def deferred(self, lane: str) -> list[Deferred]:
        """See the seam."""
        return self._reader.deferred(lane)

    def read_deferred(self, lane: str, seqs: Sequence[int]) -> list[Event | DamagedEvent]:
        """See the seam."""
        return self._reader.read_deferred(lane, seqs)

    def next_replay(self, lane: str) -> Replay | None:
        """See the seam."""
        replays = self._store.state.replays.values()
        return next((view_replay(row) for row in replays if row.lane == lane and row.state == RUNNING), None)

    def read_replay(self, replay_id: int, *, max_events: int) -> ReplayPage:
        """See the seam."""
        state = self._store.state
        replay = find_replay(state.replays, replay_id)
        return self._reader.replay_page(replay, find_row(state.lanes, replay.lane), max_events)

    def wants_room(self, lane: str) -> bool:
        """See the seam."""
        state = self._store.state
        row = find_row(state.lanes, lane)
        settled_seq = state.settled_seq()
        if not row.ahead(state.spool) or row.front != settled_seq:
            return False
        refusal = self._space.standing_refusal(self._store.used_bytes())
        # What a reader outside pins, no event holds.
        is_full = refusal is not None and refusal.reason != "wal"
        # What is settled goes first; it is on its way while there is some.
        return is_full and not self._reader.has_events_upto(settled_seq)

    def oldest_pending_at_ms(self, lane: str, *, after: int | None = None) -> int | None:
        """See the seam."""
        state = self._store.state
        row = find_row(state.lanes, lane)
        if after is not None:
            return self._received_after(row.front_of(after))
        aside = self._reader.first_deferred(lane) if row.deferred else None
        times = [_received_at_ms(aside), self._received_after(row.front) if row.ahead(state.spool) else None]
        return min((time_ms for time_ms in times if time_ms is not None), default=None)

    def wait(self, lane: str, min_pending: int, timeout_seconds: float | None) -> None:
        """See the seam."""
        wait = find_row(self._waits, lane)
        # Set before the check: a commit in between is seen by one of the two.
        wait.min_pending = min_pending
        state = self._store.state
        if find_row(state.lanes, lane).ahead(state.spool) < min_pending:
            wait.signal.wait(timeout_seconds)
        wait.min_pending = NEVER

    def nudge(self, lane: str) -> None:
        """See the seam."""
        find_row(self._waits, lane).signal.set()

    def dead(self, lane: str, *, after: int, max_events: int) -> list[DeadEvent]:
        """See the seam."""
        return self._reader.dead(find_row(self._store.state.lanes, lane).name, after=after, max_events=max_events)

    def find_dead(self, event_id: bytes) -> list[DeadEvent]:
        """See the seam."""
        return self._reader.find_dead(event_id)

    def matches(self, selection: Selection, after: int | None, *, max_events: int) -> Matches:
        """See the seam."""
        return self._reader.matches(selection, self._store.state, after, max_events)

    def start_replay(self, selection: Selection) -> Replay:
        """See the seam."""
        state = self._store.state
        scope = self._reader.scope(selection, find_row(state.lanes, selection.lane), state)
        now_ms = self._clock.wall_ms()
        row = self._write(lambda tx: start_replay(tx, find_row(tx.lanes, selection.lane), selection, scope, now_ms))
        self.nudge(selection.lane)
        return view_replay(row)

    def replays(self) -> list[Replay]:
        """See the seam."""
        return [view_replay(row) for row in reversed(self._store.state.replays.values())]

    def cancel_replay(self, replay_id: int) -> Replay:
        """See the seam."""
        return view_replay(self._write(lambda tx: cancel_replay(tx, replay_id, self._clock.wall_ms())))

    def stats(self) -> SpoolStats:
        """See the seam."""
        state = self._store.state
        pending = self._reader.pending(state)
        used_bytes = self._store.used_bytes()
        refusal = self._space.standing_refusal(used_bytes)
        return SpoolStats(
            accepted=state.spool.accepted,
            pending=pending,
            retained=state.retained(),
            duplicates=state.spool.duplicates,
            bytes=self._store.file_bytes(),
            max_bytes=self._space.limits.max_bytes,
            wal_bytes=self._store.wal_bytes(),
            dead_bytes=state.spool.dead_bytes,
            disk_free_bytes=self._space.disk_free_bytes(),
            oldest_pending_at_ms=self._oldest_pending_at_ms(state) if pending else None,
            refusing=None if refusal is None else refusal.reason,
            damaged=state.spool.damaged,
            salvages=tuple(self._reader.salvages()),
        )

    def audit(self, position: AuditPosition | None, *, max_rows: int) -> AuditStep:
        """See the seam."""
        count = trail_count(position)

        def pin(connection: sqlite3.Connection) -> Moment:
            # On the writer's thread, so that what is seen is what the state says: some 20 µs of it.
            pinned = self._finish(self.commits.submit_job(lambda store: store.pin(connection, count)))
            if isinstance(pinned, sqlite3.Error):
                raise pinned
            return cast("Moment", pinned)

        return self._reader.audit(position, pin, max_rows)

    def salvages(self) -> list[Salvage]:
        """See ``salvage.Spool``."""
        return self._reader.salvages()

    def begin_salvage(self, folder: Path) -> Salvage:
        """Have brought over what is left of a damaged spool; one that was begun before stays as it is.

        Raises:
            SpoolUnreadableError: It can't be read, or is in use.
        """
        salvage = describe_source(folder, self._directory, self._clock.wall_ms())
        return self._write(lambda tx: begin_salvage(tx, salvage))

    def restore(self, work: Callable[[Transaction], Salvage], size: int) -> Salvage:
        """A step of a salvage; see ``salvage.Spool``."""
        refusal = self._space.refusal(self._store.used_bytes(), size)
        if refusal is not None:
            raise refusal
        return self._write(work)

    def tally(
        self, since_ms: int | None, until_ms: int | None, position: TallyPosition | None, *, max_events: int
    ) -> TallyPage:
        """See the seam."""
        return self._reader.tally(since_ms, until_ms, position, max_events)

    def trim(self, max_events: int) -> int:
        """See the seam."""
        self._space.recheck()
        is_pressed = self._space.is_pressed(self._store.used_bytes())
        older_than_ms = None if is_pressed else self._clock.wall_ms() - self._retention_ms
        trimmed = 0
        # Where a disk is too full for that, the next look will do.
        with suppress(SpoolFullError):
            trimmed = self._write(lambda tx: trim(tx, max_events, older_than_ms=older_than_ms))
        self._finish(self.commits.submit_job(Store.give_back if is_pressed else _vacuum))
        return trimmed

    def limit(self, limits: SpaceLimits, *, retention_seconds: float) -> None:
        """Keep to other limits from now on; nothing is deleted for one that is below what is there already."""
        self._space.limits = limits
        self._retention_ms = int(retention_seconds * 1000)

    def stop_accepting(self) -> None:
        """Refuse appends from now on, and return when what was handed over before is committed. Idempotent."""
        self._refuse_appends()
        # A disk that failed has answered whoever waited.
        with suppress(SpoolError):
            self._finish(self.commits.submit_job(_nothing))

    def _refuse_appends(self) -> None:
        with self._lock:
            self._is_closed = True
        self.commits.waits_for_room = False

    def close(self) -> None:
        """See the seam. The writer thread must have ended."""
        self._refuse_appends()
        # A disk that failed has answered whoever waited; the next start recovers.
        with suppress(SpoolFailedError, SpoolCorruptError):
            self.commits.flush(self._clock.monotonic())
        self.commits.close(SpoolClosedError("the spool is closed"))
        self._reader.close()
        self._store.close()

    def committed(self, state: State, *, seconds: float, events: int) -> None:
        """Wake the lanes whose threshold was crossed (writer's thread)."""
        self._observer.committed(state, seconds=seconds, events=events)
        for lane, wait in self._waits.items():
            if wait.min_pending != NEVER and state.lanes[lane].ahead(state.spool) >= wait.min_pending:
                wait.signal.set()

    def checkpointed(self, seconds: float) -> None:
        """Pass it on (writer's thread)."""
        self._observer.checkpointed(seconds)

    def _note_damage(self, error: SpoolCorruptError) -> None:
        self._store.is_damaged = True
        if self._on_damage is not None:
            self._on_damage(error)

    def _oldest_pending_at_ms(self, state: State) -> int | None:
        times = [self.oldest_pending_at_ms(name) for name in state.lanes]
        return min((time_ms for time_ms in times if time_ms is not None), default=None)

    def _received_after(self, seq: int) -> int | None:
        return _received_at_ms(self._reader.first_after(seq))

    def _write(self, work: Callable[[Transaction], _T], *, is_patient: bool = False) -> _T:
        return cast("_T", self._finish(self.commits.submit_write(work, is_patient=is_patient)))

    def _finish(self, future: "Future[object]") -> object:
        if self._drive is not None:
            self._drive()
        # In one thread nobody else could end the wait.
        return future.result(None if self._drive is None else 0)


def _received_at_ms(event: Event | DamagedEvent | None) -> int | None:
    return event.received_at_ms if isinstance(event, Event) else None


def _vacuum(store: Store) -> None:
    store.vacuum(_KEEP_FREE_BYTES, _VACUUM_BYTES)


def _nothing(_store: Store) -> None:
    pass
