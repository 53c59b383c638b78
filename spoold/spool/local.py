"""The spool on this machine's disk: the seam on SQLite.

Everything that changes the spool goes through one ``GroupCommit``, so one connection writes; everything that reads has
connections of its own.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar, cast

from spoold.clock import Clock, Entropy
from spoold.errors import SpoolClosedError, SpoolCorruptError, SpoolError, SpoolFailedError, SpoolFullError
from spoold.record import DamagedEvent, Draft, encode_record
from spoold.spool import lanes
from spoold.spool.appending import Append
from spoold.spool.contract import LaneState, Lease, Page, Receipt, Settlement, SpoolStats, Start, Story
from spoold.spool.group_commit import CommitObserver, GroupCommit
from spoold.spool.ids import IdMaker
from spoold.spool.journal import DATABASE_NAME
from spoold.spool.reader import Reader
from spoold.spool.retention import trim
from spoold.spool.rows import State
from spoold.spool.space import Space
from spoold.spool.store import Store
from spoold.spool.transaction import Transaction

#: What may wait for one commit; a disk that hangs must not become a memory that grows.
MAX_WAITING_BYTES = 64 * 1024 * 1024
#: Free pages kept for the next appends, and how many are given back in one step.
_KEEP_FREE_BYTES = 4 * 1024 * 1024
_VACUUM_BYTES = 4 * 1024 * 1024

_NEVER = 2**63
_T = TypeVar("_T")


class Signal(Protocol):
    """Something a thread waits on: a ``threading.Event`` that is cleared by the wait it ends."""

    def set(self) -> None:
        """End the current or the next wait."""
        ...

    def wait(self, timeout_seconds: float | None) -> bool:
        """Return True when it was set, False at the timeout."""
        ...


@dataclass(slots=True)
class _Wait:
    signal: Signal
    min_pending: int = _NEVER


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
    ) -> None:
        """Put the seam on an open store.

        Args:
            lock: Held while ids are made and an append is queued, so that ids have journal order.
            make_signal: For ``wait``.
            drive: Commits what was handed over, where no writer thread does (simulation); called before each wait.
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
        self._reader = Reader(directory / DATABASE_NAME)
        self._waits: dict[str, _Wait] = {name: _Wait(make_signal()) for name in store.state.lanes}
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
        row = lanes.find_row(self._store.state.lanes, lane)
        return self._reader.page(row, after, max_events=max_events, max_bytes=max_bytes)

    def find(self, event_id: bytes) -> Story | None:
        """See the seam."""
        return self._reader.story(event_id, self._store.state)

    def open_lane(self, name: str, kind: str, start: Start) -> LaneState:
        """See the seam."""
        if name not in self._waits:
            self._waits = {**self._waits, name: _Wait(self._make_signal())}
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
        return self._write(lambda tx: lanes.settle(tx, lease, settlement, self._clock.wall_ms()))

    def oldest_pending_at_ms(self, lane: str) -> int | None:
        """See the seam."""
        state = self._store.state
        row = lanes.find_row(state.lanes, lane)
        return self._received_at_ms(row.front) if row.pending(state.spool) else None

    def wait(self, lane: str, min_pending: int, timeout_seconds: float | None) -> None:
        """See the seam."""
        wait = lanes.find_row(self._waits, lane)
        # Set before the check: a commit in between is seen by one of the two.
        wait.min_pending = min_pending
        state = self._store.state
        if lanes.find_row(state.lanes, lane).pending(state.spool) < min_pending:
            wait.signal.wait(timeout_seconds)
        wait.min_pending = _NEVER

    def nudge(self, lane: str) -> None:
        """See the seam."""
        lanes.find_row(self._waits, lane).signal.set()

    def stats(self) -> SpoolStats:
        """See the seam."""
        state = self._store.state
        pending = state.pending()
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
            oldest_pending_at_ms=self._received_at_ms(state.settled_seq()) if pending else None,
            refusing=None if refusal is None else refusal.reason,
            damaged=state.spool.damaged,
        )

    def trim(self, max_events: int) -> int:
        """See the seam."""
        self._space.recheck()
        is_pressed = self._space.is_pressed(self._store.used_bytes())
        older_than_ms = None if is_pressed else self._clock.wall_ms() - self._retention_ms
        trimmed = self._write(lambda tx: trim(tx, max_events, older_than_ms=older_than_ms))
        self._finish(self.commits.submit_job(_vacuum))
        return trimmed

    def stop_accepting(self) -> None:
        """Refuse appends from now on, and return when what was handed over before is committed. Idempotent."""
        self._refuse_appends()
        # A disk that failed has answered whoever waited.
        with suppress(SpoolError):
            self._finish(self.commits.submit_job(_nothing))

    def _refuse_appends(self) -> None:
        with self._lock:
            self._is_closed = True

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
            if wait.min_pending != _NEVER and state.lanes[lane].pending(state.spool) >= wait.min_pending:
                wait.signal.set()

    def checkpointed(self, seconds: float) -> None:
        """Pass it on (writer's thread)."""
        self._observer.checkpointed(seconds)

    def _received_at_ms(self, after: int) -> int | None:
        event = self._reader.first_after(after)
        return None if event is None or isinstance(event, DamagedEvent) else event.received_at_ms

    def _write(self, work: Callable[[Transaction], _T]) -> _T:
        return cast("_T", self._finish(self.commits.submit_write(work)))

    def _finish(self, future: "Future[object]") -> object:
        if self._drive is not None:
            self._drive()
        return future.result()


def _vacuum(store: Store) -> None:
    store.vacuum(_KEEP_FREE_BYTES, _VACUUM_BYTES)


def _nothing(_store: Store) -> None:
    pass
