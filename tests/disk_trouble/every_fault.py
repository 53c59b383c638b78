"""The disk fails at the n-th write or sync of a spool's lives, for all n: it is full, or broken; once, or for ever.

Whatever it does: nobody is told that something is stored which is not, what was acknowledged is there after every
end, I2 balances, lanes go on while the disk is full, and callers and lanes that repeat what got no answer bring the
spool to the very state that it has without a fault.

    python -m tests.disk_trouble.every_fault --seed 7      # one round, as `run_round` does it
    python -m tests.disk_trouble.every_fault --all         # every n of every kind
"""

import argparse
import random
import shutil
import sqlite3
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from unittest import mock

from spoold.errors import SpoolError, SpoolFailedError, SpoolFullError
from spoold.spool.space import Space
from tests.disk_trouble.script import Script, Told
from tests.sim.disk import ErrorKind, Operation, SimDisk
from tests.support.clock import FakeEntropy
from tests.support.spools import KIB, OpenSpool, open_spool

How = Literal["once", "until room", "for ever"]

KINDS: tuple[tuple[Operation, ErrorKind, How], ...] = (
    ("sync", "eio", "once"),
    ("sync", "eio", "for ever"),
    ("sync", "enospc", "once"),
    ("write", "enospc", "once"),
    ("write", "enospc", "until room"),
    ("write", "enospc", "for ever"),
    ("write", "eio", "once"),
    ("write", "eio", "for ever"),
)
#: A round takes each so many-th n, and its seed says which of them.
_STRIDE = 8
_SIZES = (300, 3_000, 20_000)
_ROOM_BYTES = 1 << 30
#: Room that the reserve leaves, in writes: as much as the default one of 16 MiB would.
_RESERVE_WRITES = 4_000
_TMPFS = Path("/dev/shm")
#: All that no fault may change; without times, epochs and duplicates, and lane c, which goes on while callers wait.
_STATE = {
    "the totals": "SELECT accepted, last_seq, damaged, dead_bytes FROM spool",
    "the lanes": "SELECT name, kind, is_closed, is_paused, accepts_dead, opened_seq, cursor, closed_seq, accrued,"
    " delivered, dead, filtered, purged, deferred FROM lane WHERE name <> 'c'",
    "set aside": "SELECT lane, seq, kind, record, reason, attempts FROM set_aside",
    "the journal": "SELECT _id, data FROM queue_journal",
    "the ledger": "SELECT lane, after, upto, outcome, delivered, dead, filtered, purged FROM ledger WHERE lane <> 'c'",
    "the gaps": "SELECT lane, after, upto, events FROM lane_gap",
    "the replays": "SELECT id, lane, state, sent, failed, revived FROM replay",
}
#: Of these, what is the same where a full disk had events forgotten before their time.
_LASTING = ("the totals", "the lanes", "set aside")

State = dict[str, list[Any]]


@dataclass(frozen=True)
class Trouble:
    """What the disk does.

    Attributes:
        nth: So many operations of this kind pass before.
        how: ``until room``: full until the reserve is given up, which makes room for a little.
        seed: Draws how the process ends and what that leaves on the disk.
        size: Bytes in the larger events.
    """

    operation: Operation
    error: ErrorKind
    how: How
    nth: int
    seed: int
    size: int


@dataclass
class Course:
    """What lives without a fault are like.

    Attributes:
        counts: Writes and syncs in them.
        excused: Which of them need not end the process when they fail. In a stop SQLite keeps it to itself, and the log
            stays; a start that can't open gives up the reserve and tries again.
        reserved_after: How many writes there were when the reserve was made.
        ends: The state at the end of each life.
    """

    counts: "Counter[Operation]" = field(default_factory=Counter)
    excused: set[tuple[Operation, int]] = field(default_factory=set)
    reserved_after: int = 0
    ends: list[State] = field(default_factory=list)


class CountingDisk(SimDisk):
    """Counts what a fault can strike."""

    def __init__(self, directory: Path, rng: random.Random) -> None:
        super().__init__(directory, rng)
        self.counts: Counter[Operation] = Counter()

    def _fault(self, op: Operation) -> Any:
        self.counts[op] += 1
        return super()._fault(op)


class Run:
    """One script over one disk."""

    def __init__(self, home: Path, size: int, seed: int) -> None:
        self.script = Script(size)
        self.course = Course()
        self.deaths: list[SpoolError | TimeoutError] = []
        self._home = home
        self._rng = random.Random(seed)
        self._free_bytes = _ROOM_BYTES
        self._must_look = False
        self._directories = 0
        self._first = CountingDisk(self._new_directory(), self._rng)
        self._disk: SimDisk = self._first

    def go(self, trouble: Trouble | None = None) -> None:
        """All lives."""
        if trouble is not None:
            times = 1 if trouble.how == "once" else None
            self._disk.fail(trouble.operation, trouble.error, after=trouble.nth, times=times)
        self.script.on_refusal = self._look_at_what_an_end_leaves
        self.script.make_room = self._make_room
        for life in self.script.lives():
            steps = deque(life)
            while not self._live(steps):
                assert len(self.deaths) == 1, f"the disk is well again, and the spool failed: {self.deaths}"
        self.course.counts = self._first.counts

    def fill_up(self) -> None:
        """The disk is full but for what the reserve held."""
        self._free_bytes = self.script.opened.free_bytes = 0
        self._disk.fail("write", "enospc", after=_RESERVE_WRITES, times=None)

    def _make_room(self) -> None:
        self._free_bytes = self.script.opened.free_bytes = _ROOM_BYTES
        self._disk.heal()

    def _live(self, steps: "deque[Callable[[], None]]") -> bool:
        """From an opening to a stop in order, or (False) to the end that the disk brings about."""
        with self._disk, ExitStack() as stack:
            try:
                with self._excused("write", "sync"):
                    opened = stack.enter_context(self._open())
                check(opened, self.script.told)
                self.script.begin_life(opened)
                while steps:
                    steps[0]()
                    if steps.popleft() == self.script.keep_house:
                        self.course.reserved_after = self._first.counts["write"]
                    if self._must_look:
                        self._look_at_what_an_end_leaves()
                state = {name: opened.rows(sql) for name, sql in _STATE.items()}
            except (SpoolFailedError, SpoolFullError, TimeoutError) as exc:
                # The last: it waits for room, and somebody ends it.
                self._end(exc, stack)
                return False
            with self._excused("write", "sync"):
                stack.close()
        self.course.ends.append(state)
        return True

    @contextmanager
    def _open(self) -> Iterator[OpenSpool]:
        with open_spool(
            self._disk.directory,
            clock=self.script.clock,
            entropy=FakeEntropy(),
            min_free_bytes=256 * KIB,
            free_bytes=self._free_bytes,
        ) as opened:
            yield opened

    @contextmanager
    def _excused(self, *operations: Operation) -> Iterator[None]:
        before = self._first.counts.copy()
        yield
        for operation in operations:
            numbers = range(before[operation], self._first.counts[operation])
            self.course.excused |= {(operation, number) for number in numbers}

    def _end(self, error: SpoolError | TimeoutError, stack: ExitStack) -> None:
        """The daemon ends in order on a disk that failed, or is killed; then the machine may lose its power."""
        self.deaths.append(error)
        # What comes behind a sync that failed must be as safe as what was before it.
        self._must_look = True
        if self._rng.random() < 0.5:
            stack.close()
        self._disk = self._fall()
        self._free_bytes = _ROOM_BYTES

    def _look_at_what_an_end_leaves(self) -> None:
        self._must_look = False
        image = self._fall()
        with image, open_spool(image.directory) as opened:
            check(opened, self.script.told)

    def _fall(self) -> SimDisk:
        end = self._rng.choice([self._disk.crash, self._disk.cut_power])
        return end(self._new_directory())

    def _new_directory(self) -> Path:
        self._directories += 1
        directory = self._home / f"{self._directories}"
        directory.mkdir()
        return directory


def check(opened: OpenSpool, told: Told) -> None:
    """What must be true of a spool that was just opened: it is as callers were told, and I2 balances."""
    assert opened.rows("PRAGMA integrity_check") == [("ok",)]
    records = dict(opened.rows("SELECT _id, data FROM queue_journal"))
    settled = min((lane.cursor for lane in opened.spool.lanes()), default=0)
    forgotten = min([settled, *(seq - 1 for seq in records)])
    for seq, body in told.stored.items():
        assert seq <= forgotten or body in records.get(seq, b""), f"event {seq} was acknowledged and is not there"
    ghosts = [seq for seq, data in records.items() if any(body in data for body in told.refused)]
    assert not ghosts, f"refused for want of room, and stored: {ghosts}"
    position = None
    while True:
        position, _progress, audit = opened.spool.audit(position, max_rows=1000)
        if audit is not None:
            assert audit.is_ok, [str(one) for one in audit.imbalances]
            return


def rehearse(home: Path, size: int) -> Course:
    """The script on a disk that is well."""
    run = Run(home, size, seed=0)
    run.go()
    return run.course


def fail_once(home: Path, trouble: Trouble, course: Course) -> "Counter[str]":
    """The script with one trouble, held against the course without it; returns figures.

    Raises:
        AssertionError: A promise was broken; the message says by what.
    """
    run = Run(home, trouble.size, trouble.seed)
    try:
        with _reserve_that_makes_room(run) if trouble.how == "until room" else nullcontext():
            run.go(trouble)
        _judge(run, trouble, course)
    except (AssertionError, SpoolError, sqlite3.Error) as exc:
        raise AssertionError(f"{trouble}: {type(exc).__name__}: {exc}") from exc
    script = run.script
    figures = {"acknowledged": len(script.told.stored), "refused_calls": script.refusals, "repeats": script.repeats}
    return Counter({"disk_faults": 1, "ends": len(run.deaths), **figures})


@contextmanager
def _reserve_that_makes_room(run: Run) -> Iterator[None]:
    real = Space.give_up_reserve

    def give_up(space: Space) -> bool:
        had_reserve = real(space)
        if had_reserve:
            run.fill_up()
        return had_reserve

    with mock.patch.object(Space, "give_up_reserve", give_up):
        yield


def _judge(run: Run, trouble: Trouble, course: Course) -> None:
    """Whether the spool came to its end, and whether the process ended on the way as it should."""
    forgets = False
    for life, (state, expected) in enumerate(zip(run.course.ends, course.ends, strict=True), 1):
        left = len(state["the journal"])
        forgets |= trouble.how == "until room" and left < len(expected["the journal"])
        for name in _LASTING if forgets else expected:
            assert state[name] == expected[name], f"{name} after life {life}: {state[name]} instead of {expected[name]}"
        assert state["the journal"] == expected["the journal"][-left:], f"the journal after life {life}: {state}"
    if (trouble.operation, trouble.nth) in course.excused:
        return
    if trouble.operation == "sync" or trouble.error == "eio":
        assert run.deaths, "a disk that failed was trusted"
    elif trouble.how != "for ever" and trouble.nth >= course.reserved_after:
        assert not run.deaths, f"I7: a full disk ended the process: {run.deaths}"


def troubles(course: Course, seed: int, size: int, keep: Callable[[Operation, int], bool]) -> Iterator[Trouble]:
    """Every n of every kind that is to be kept."""
    for operation, error, how in KINDS:
        for nth in range(course.counts[operation]):
            if keep(operation, nth):
                yield Trouble(operation, error, how, nth, seed + nth, size)


def run_all(chosen: Iterable[Trouble], course: Course, home: Path) -> dict[str, int]:
    """One after another; returns the figures."""
    figures: Counter[str] = Counter()
    for trouble in chosen:
        with tempfile.TemporaryDirectory(dir=home) as directory:
            figures += fail_once(Path(directory), trouble, course)
    return dict(figures)


def run_round(seed: int) -> dict[str, int]:
    """A slice of all troubles, in some five seconds.

    Raises:
        AssertionError: A promise was broken; the message says what was done.
    """
    return _run(seed, lambda _operation, nth: nth % _STRIDE == seed % _STRIDE)


def _run(seed: int, keep: Callable[[Operation, int], bool]) -> dict[str, int]:
    home = Path(tempfile.mkdtemp(prefix="spoold-faults-", dir=_TMPFS if _TMPFS.is_dir() else None))
    size = _SIZES[seed // _STRIDE % len(_SIZES)]
    try:
        (home / "rehearsal").mkdir()
        course = rehearse(home / "rehearsal", size)
        return run_all(troubles(course, seed, size, keep), course, home)
    except AssertionError as exc:
        again = f"python -m tests.disk_trouble.every_fault --seed {seed}"
        raise AssertionError(f"{exc} (again: {again})") from exc
    finally:
        shutil.rmtree(home, ignore_errors=True)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--all", action="store_true", help="every n, not one in eight")
    arguments = parser.parse_args()
    print(_run(arguments.seed, lambda _operation, _nth: True) if arguments.all else run_round(arguments.seed))


if __name__ == "__main__":
    main()
