"""A real spool on a directory: in one thread, where a test decides when it commits, or with its writer thread."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spoold.clock import Clock, Entropy, SystemClock, SystemEntropy
from spoold.record import Draft
from spoold.runtime import Loop, ThreadSignal, make_lock
from spoold.spool.local import LocalSpool
from spoold.spool.rows import State
from spoold.spool.space import Space, SpaceLimits
from spoold.spool.store import Commit, Store, commit
from spoold.spool.values import DeadLetter, Lease, Receipt, RetryState, Settlement
from tests.support.clock import FakeClock, FakeEntropy

KIB = 1 << 10
MIB = 1 << 20


@dataclass
class Watcher:
    """Notes what each commit did.

    Attributes:
        groups: Events of each commit.
        checkpoints: How many checkpoints there were.
    """

    groups: list[int] = field(default_factory=list)
    checkpoints: int = 0

    def committed(self, state: State, *, seconds: float, events: int) -> None:
        del state, seconds
        self.groups.append(events)

    def checkpointed(self, seconds: float) -> None:
        del seconds
        self.checkpoints += 1


@dataclass
class OpenSpool:
    """An open spool, its parts, and short ways of saying what tests say often.

    Attributes:
        free_bytes: What the disk is said to have free.
        writer_error: What ended the writer thread, where there is one.
    """

    directory: Path
    clock: Clock
    entropy: Entropy
    limits: SpaceLimits
    retention_seconds: float
    free_bytes: int | None
    watcher: Watcher = field(default_factory=Watcher)
    writer_error: BaseException | None = None
    store: Store = field(init=False)
    space: Space = field(init=False)
    spool: LocalSpool = field(init=False)

    def open(self, *, durability: str, commit: Commit, is_driven: bool) -> None:
        free: dict[str, Any] = {}
        if self.free_bytes is not None:
            free["free"] = lambda _directory: self.free_bytes
        self.space = Space(self.directory, self.limits, **free)
        self.store = Store(self.directory, self.space, self.entropy, durability=durability, commit=commit)
        self.spool = LocalSpool(
            self.store,
            self.space,
            self.clock,
            self.entropy,
            directory=self.directory,
            retention_seconds=self.retention_seconds,
            observer=self.watcher,
            lock=nullcontext() if is_driven else make_lock(),
            make_signal=ThreadSignal,
            drive=self.commit if is_driven else None,
        )

    def commit(self) -> None:
        """Commit what was handed over."""
        self.spool.commits.flush(self.clock.monotonic())

    def append(self, drafts: Sequence[Draft]) -> list[Receipt]:
        """Append in a commit of their own, or raise why not."""
        future = self.spool.append(drafts)
        self.commit()
        return future.result(timeout=0)

    def settle(self, lease: Lease, upto: int, **overrides: Any) -> None:
        """Settle everything up to there as delivered, unless told otherwise."""
        self.spool.settle(lease, make_settlement(self.lane(lease.lane).cursor, upto, **overrides))

    def lane(self, name: str) -> Any:
        """The lane's state."""
        return next(lane for lane in self.spool.lanes() if lane.name == name)

    def seqs(self, lane: str) -> list[int]:
        """The seqs that the lane has before it."""
        after, found = self.lane(lane).cursor, list[int]()
        while True:
            page = self.spool.read(lane, after, max_events=100, max_bytes=MIB)
            found += [event.seq for event in page.events]
            if page.is_end:
                return found
            after = page.after

    def rows(self, sql: str, *values: object) -> list[Any]:
        """What the writer's connection finds."""
        return self.store.connection.execute(sql, values).fetchall()


def make_settlement(after: int, upto: int, *, dead: Sequence[int | DeadLetter] = (), **overrides: Any) -> Settlement:
    """All of (after, upto] delivered except the dead, where the journal has no holes."""
    letters = tuple(DeadLetter(one, "refused", 400, 1) if isinstance(one, int) else one for one in dead)
    fields: dict[str, Any] = {
        "id": f"settlement {after} {upto} {overrides}".encode(),
        "after": after,
        "upto": upto,
        "delivered": upto - after - len(letters),
        "filtered": 0,
        "dead": letters,
        "retry": RetryState(),
        "outcome": "delivered",
        "status": 200,
        "took_ms": 7,
    }
    return Settlement(**{**fields, **overrides})


@contextmanager
def open_spool(
    directory: Path,
    *,
    clock: Clock | None = None,
    entropy: Entropy | None = None,
    max_bytes: int = 1024 * MIB,
    min_free_bytes: int = 4 * MIB,
    retention_seconds: float = 3600,
    free_bytes: int | None = 1024 * MIB,
    durability: str = "fsync",
    commit: Commit = commit,
) -> Iterator[OpenSpool]:
    """A spool in this thread: nothing is committed before a test says so, except what blocks until it is."""
    opened = OpenSpool(
        directory,
        clock or FakeClock(),
        entropy or FakeEntropy(),
        SpaceLimits(max_bytes=max_bytes, min_free_bytes=min_free_bytes),
        retention_seconds,
        free_bytes,
    )
    opened.open(durability=durability, commit=commit, is_driven=True)
    try:
        yield opened
    finally:
        opened.spool.close()


@contextmanager
def running_spool(
    directory: Path,
    *,
    max_bytes: int = 1024 * MIB,
    min_free_bytes: int = 4 * MIB,
    retention_seconds: float = 3600,
    free_bytes: int | None = None,
    commit: Commit = commit,
    step: Callable[[Callable[[float], float | None], float], float | None] | None = None,
) -> Iterator[OpenSpool]:
    """A spool with its writer thread, on the machine's own clock.

    Args:
        step: Called instead of the writer's step, with it and the time: to hold the writer up.
    """
    opened = OpenSpool(
        directory,
        SystemClock(),
        SystemEntropy(),
        SpaceLimits(max_bytes=max_bytes, min_free_bytes=min_free_bytes),
        retention_seconds,
        free_bytes,
    )
    opened.open(durability="fsync", commit=commit, is_driven=False)

    def note_death(_name: str, error: BaseException) -> None:
        opened.writer_error = error

    real = opened.spool.commits.step
    writer = Loop("writer", real if step is None else lambda now: step(real, now), opened.clock, on_death=note_death)
    opened.spool.commits.wake = writer.wake
    writer.start()
    try:
        yield opened
    finally:
        writer.request_stop()
        writer.join()
        opened.spool.close()
