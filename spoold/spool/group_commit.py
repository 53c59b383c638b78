"""Group commit: many callers share one fsync, a lone caller waits for nothing but its own.

``step`` decides and commits; it has no thread. The runtime calls it when ``wake`` was called or its wait is over.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import NamedTuple, Protocol, TypeVar

from spoold.clock import Clock
from spoold.errors import SpooldError, SpoolFailedError, SpoolFullError
from spoold.spool.appending import Append
from spoold.spool.rows import State
from spoold.spool.store import Store, Write

#: Up to so many calls in flight nothing is gained by waiting for company.
_FEW = 4
#: Commit when this share of the recent number in flight has gathered …
_SHARE = 0.75
#: … or when the first of them has waited this long.
_MAX_WAIT_SECONDS = 0.005
#: Where the disk has no room for any commit, what can't be refused is tried again after so long.
_NO_ROOM_SECONDS = 1.0

Job = Callable[[Store], object]
_T = TypeVar("_T")


class CommitObserver(Protocol):
    """Who wants to know what a commit did; called on the writer's thread, must be quick."""

    def committed(self, state: State, *, seconds: float, events: int) -> None:
        """A commit is durable."""
        ...

    def checkpointed(self, seconds: float) -> None:
        """Appends waited for a checkpoint."""
        ...


class _Pending(NamedTuple):
    work: Write
    future: "Future[object]"
    is_patient: bool


class GroupCommit:
    """Gathers what threads hand over, and commits it in groups.

    ``submit_*`` are safe from any thread as far as ``deque.append`` is; ``step`` belongs to one thread.
    """

    def __init__(self, store: Store, clock: Clock, observer: CommitObserver, *, checkpoint_bytes: int) -> None:
        self._store = store
        self._clock = clock
        self._observer = observer
        self._appends: deque[Append] = deque()
        self._writes: deque[_Pending] = deque()
        self._jobs: deque[tuple[Job, Future[object]]] = deque()
        self._submitted_bytes = 0
        self._taken_bytes = 0
        self._closed: SpooldError | None = None
        self._held: list[_Pending] = []
        self._retry_at = 0.0
        #: Whether what can't be refused waits while the disk has no room at all; not in a stop.
        self.waits_for_room = True
        self._recent = 1.0
        self._threshold = 1
        self._waiting_since: float | None = None
        self._checkpoint_bytes = checkpoint_bytes
        self._next_checkpoint_bytes = checkpoint_bytes
        #: Ends the writer's wait. Set by the runtime.
        self.wake: Callable[[], None] = _do_nothing

    @property
    def waiting_calls(self) -> int:
        """Appends handed over and not yet in a commit."""
        return len(self._appends)

    @property
    def waiting_bytes(self) -> int:
        """Record bytes of those."""
        return self._submitted_bytes - self._taken_bytes

    @property
    def is_held(self) -> bool:
        """Whether something waits for room on the disk."""
        return bool(self._held)

    def submit_append(self, append: Append) -> None:
        """Hand over events, one thread at a time; the writer is only woken when that can matter."""
        self._submitted_bytes += append.size
        self._appends.append(append)
        gathered = len(self._appends)
        if gathered in (1, self._threshold):
            self.wake()
        self._refuse_if_closed()

    def submit_write(self, work: Write, *, is_patient: bool = False) -> "Future[object]":
        """Hand over a change that shall travel in the next commit.

        Args:
            is_patient: Where the disk has no room for any commit, it waits until there is some. Others are answered
                with SpoolFullError then.
        """
        future: Future[object] = Future()
        self._writes.append(_Pending(work, future, is_patient))
        self.wake()
        self._refuse_if_closed()
        return future

    def submit_job(self, job: Job) -> "Future[object]":
        """Hand over work that belongs between commits."""
        future: Future[object] = Future()
        self._jobs.append((job, future))
        self.wake()
        self._refuse_if_closed()
        return future

    def step(self, now: float) -> float | None:
        """Commit if it is time.

        Args:
            now: Monotonic seconds.

        Returns:
            Seconds until it may be time, 0 to come again at once, None to wait for ``wake``.

        Raises:
            SpoolFailedError: The disk failed. All that waits was answered with it; the process must end.
            SpoolCorruptError: SQLite calls the file damaged. Likewise.
        """
        if not (self._writes or self._jobs) and (wait := self._wait_for_company(now)) is not None:
            return wait
        self.flush(now)
        if self._appends or self._writes or self._jobs:
            return 0
        return max(0.0, self._retry_at - now) if self._held else None

    def flush(self, now: float) -> None:
        """Commit what was handed over, without waiting for company. Raises as ``step`` does."""
        try:
            if self._writes or self._appends or self._held:
                self._commit(now)
            while self._jobs:
                self._run_job(*self._jobs.popleft())
            self._checkpoint_if_due()
        except BaseException as exc:
            self.close(_as_answer(exc))
            raise

    def close(self, error: SpooldError) -> None:
        """Answer everything that waits, and all that comes later, with ``error``."""
        self._closed = error
        self._refuse_if_closed()

    def _refuse_if_closed(self) -> None:
        # Checked after queueing: whatever slips in beside ``close`` is refused by one of the two.
        if self._closed is None:
            return
        for append in _take(self._appends):
            self._taken_bytes += append.size
            append.future.set_exception(self._closed)
        for pending in _take(self._writes):
            pending.future.set_exception(self._closed)
        held, self._held = self._held, []
        for pending in held:
            pending.future.set_exception(self._closed)
        for _job, future in _take(self._jobs):
            future.set_exception(self._closed)

    def _wait_for_company(self, now: float) -> float | None:
        gathered = len(self._appends)
        if gathered == 0 or gathered >= self._threshold:
            return None
        if self._waiting_since is None:
            self._waiting_since = now
        left = self._waiting_since + _MAX_WAIT_SECONDS - now
        if left > 0:
            return left
        # Fewer came than expected: the load has gone down.
        self._recent = gathered
        return None

    def _commit(self, now: float) -> None:
        self._waiting_since = None
        appends = _take(self._appends)
        self._taken_bytes += sum(append.size for append in appends)
        writes = _take(self._writes)
        if now >= self._retry_at or not self.waits_for_room:
            writes, self._held = [*self._held, *writes], []
        try:
            results = self._store.apply(appends, [pending.work for pending in writes])
        except SpoolFullError as exc:
            self._hold(appends, writes, exc, now)
            return
        except BaseException as exc:
            # Whatever it was, nobody may be left waiting for a thread that ends here.
            answer = _as_answer(exc)
            for append in appends:
                append.future.set_exception(answer)
            for pending in writes:
                pending.future.set_exception(answer)
            raise
        # In flight was what this commit answers, and what has come meanwhile.
        self._remember(len(appends) and len(appends) + len(self._appends))
        seconds = self._clock.monotonic() - now
        # First those who wait; whatever is told to observers holds the GIL, which their thread needs.
        for append, receipts in zip(appends, results.appends, strict=True):
            _answer(append.future, receipts)
        for pending, result in zip(writes, results.writes, strict=True):
            _answer(pending.future, result)
        events = sum(len(append.records) for append in appends)
        self._observer.committed(self._store.state, seconds=seconds, events=events)

    def _hold(self, appends: list[Append], writes: list[_Pending], error: SpoolFullError, now: float) -> None:
        """The disk has no room at all, and nothing was stored: who can come again is refused, the others wait."""
        for append in appends:
            append.future.set_exception(error)
        for pending in writes:
            if pending.is_patient and self.waits_for_room:
                self._held.append(pending)
            else:
                pending.future.set_exception(error)
        self._retry_at = now + _NO_ROOM_SECONDS

    def _run_job(self, job: Job, future: "Future[object]") -> None:
        try:
            result = job(self._store)
        except BaseException as exc:
            future.set_exception(_as_answer(exc))
            raise
        future.set_result(result)

    def _remember(self, in_flight: int) -> None:
        if in_flight:
            self._recent = max(float(in_flight), self._recent * 0.9)
            self._threshold = 1 if self._recent <= _FEW else int(self._recent * _SHARE)

    def _checkpoint_if_due(self) -> None:
        used = self._store.measure_wal()
        if used < self._checkpoint_bytes:
            self._next_checkpoint_bytes = self._checkpoint_bytes
        # While the log is pinned appends are refused, so nothing is added to it: look each time whether that is over.
        if used < self._next_checkpoint_bytes and not self._store.is_log_pinned:
            return
        start = self._clock.monotonic()
        result = self._store.checkpoint()
        # A reader may have held it up: come again when as much has been added.
        is_whole = result.done == result.frames
        self._next_checkpoint_bytes = self._checkpoint_bytes if is_whole else used + self._checkpoint_bytes
        self._store.measure_wal()
        self._observer.checkpointed(self._clock.monotonic() - start)


def _take(queue: deque[_T]) -> list[_T]:
    # One pop at a time: other threads append, and two may refuse, in between.
    taken: list[_T] = []
    with suppress(IndexError):
        taken.extend(queue.popleft() for _ in range(len(queue)))
    return taken


def _answer(future: "Future[_T]", result: object) -> None:
    if isinstance(result, SpooldError):
        future.set_exception(result)
    else:
        future.set_result(result)  # type: ignore[arg-type]


def _as_answer(error: BaseException) -> SpooldError:
    if isinstance(error, SpooldError):
        return error
    return SpoolFailedError(f"the writer ended on a mistake of the program: {error}")


def _do_nothing() -> None:
    pass
