"""I8: what an append, a flush, a status, a trim or a start costs does not grow with the backlog.

Cost is what SQLite does: virtual machine steps, counted on every connection.
"""

import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from spoold.spool.balance import AuditPosition
from spoold.spool.values import DeadLetter, Selection
from tests.support.clock import FakeClock
from tests.support.events import make_draft, make_drafts
from tests.support.spools import MIB, OpenSpool, open_spool
from tests.unit.spool.moves import move

SMALL, LARGE = 5_000, 60_000
_connect = sqlite3.connect


@dataclass
class Meter:
    """Counts the steps of all connections to one spool."""

    steps: int = 0

    def count(self) -> int:
        self.steps += 1
        return 0

    def measure(self, action: Callable[[], object]) -> int:
        before = self.steps
        action()
        return self.steps - before


@dataclass
class Backlog:
    """A spool with so many events pending, every tenth under a caller's id, and as many dead letters."""

    directory: Path
    size: int
    meter: Meter
    clock: FakeClock = field(default_factory=FakeClock)
    opened: OpenSpool = field(init=False)
    aside: range = field(init=False)
    replays: list[int] = field(init=False)
    audits: dict[int, AuditPosition | None] = field(default_factory=dict)

    def few_ids(self) -> tuple[bytes, ...]:
        """Of callers, the first, one in the midst and the last."""
        return tuple((start + 1).to_bytes(16, "little") for start in (90, self.size // 4, self.size - 10))

    def fill(self) -> None:
        self.opened.spool.open_lane("down", "mixpanel", "earliest")
        self.opened.spool.open_lane("up", "mixpanel", "earliest")
        drafts = make_drafts(1000)
        for start in range(0, self.size, 1000):
            for number in range(0, 1000, 10):
                drafts[number] = drafts[number]._replace(event_id=(start + number + 1).to_bytes(16, "little"))
            self.opened.append(drafts)
            self.clock.advance(1)
        # Half the journal is settled by one lane, and a tenth by both: there is something to trim.
        self.lease = self.opened.spool.claim("up")
        self.down = self.opened.spool.claim("down")
        for upto in range(100, self.size // 2, 100):
            self.opened.settle(self.lease, upto, dead=range(upto - 19, upto + 1))
        self.opened.settle(self.down, self.size // 10)
        # Some stand aside, behind all the dead letters.
        self.aside = range(self.opened.lane("up").cursor + 1, self.opened.lane("up").cursor + 21)
        move(self.opened, "up", self.aside[-1], deferred=self.aside)
        self.lease = self.opened.spool.claim("up")
        self.replays = [
            self.opened.spool.start_replay(Selection("up", is_dead=is_dead, event_ids=event_ids)).id
            for is_dead, event_ids in ((True, ()), (False, ()), (False, self.few_ids()))
        ]
        self.clock.advance(100_000)


@pytest.fixture(scope="module")
def backlogs() -> Iterator[list[Backlog]]:
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        made = []
        meters: dict[str, Meter] = {}

        def connect(file: object, **kwargs: Any) -> sqlite3.Connection:
            connection = _connect(file, **kwargs)  # type: ignore[call-overload]
            meter = next(meter for directory, meter in meters.items() if directory in str(file))
            connection.set_progress_handler(meter.count, 1)
            return cast("sqlite3.Connection", connection)

        patch.setattr(sqlite3, "connect", connect)
        for size in (SMALL, LARGE):
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=shared_memory())))
            backlog = Backlog(directory, size, meters.setdefault(str(directory), Meter()))
            backlog.opened = stack.enter_context(open_spool(directory, clock=backlog.clock, free_bytes=1 << 40))
            backlog.fill()
            made.append(backlog)
        yield made


def shared_memory() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def read_replay(number: int) -> Callable[[Backlog], object]:
    return lambda b: b.opened.spool.read_replay(b.replays[number], max_events=200)


def audit_page(tables: int) -> Callable[[Backlog], object]:
    """A page of an audit that has that many tables behind it, and half of the next."""

    def read(backlog: Backlog) -> object:
        if tables not in backlog.audits:
            backlog.audits[tables] = begin_audit(backlog.opened, tables)
        return backlog.opened.spool.audit(backlog.audits[tables], max_rows=6)

    return read


def begin_audit(opened: OpenSpool, tables: int) -> AuditPosition | None:
    counts = [opened.rows(f"SELECT count(*) FROM {table}")[0][0] for table in ("ledger", "set_aside", "queue_journal")]
    position: AuditPosition | None = None
    for count in counts[:tables]:
        for _ in range(count // 1000 + 1):
            position = opened.spool.audit(position, max_rows=1000).position
    left = counts[tables] // 2
    while left:
        position = opened.spool.audit(position, max_rows=min(left, 1000)).position
        left -= min(left, 1000)
    return position


def settle_damaged(backlog: Backlog) -> None:
    after = backlog.opened.lane("up").cursor
    backlog.opened.settle(backlog.lease, after + 1, dead=[DeadLetter(after + 1, "damaged", None, 0)])


ACTIONS: dict[str, Callable[[Backlog], object]] = {
    "append": lambda b: b.opened.append(make_drafts(50)),
    "append a duplicate": lambda b: b.opened.append([make_draft(event_id=(b.size - 9).to_bytes(16, "little"))]),
    "append a new id": lambda b: b.opened.append([make_draft(event_id=bytes(range(16)))]),
    "page": lambda b: b.opened.spool.read("down", b.opened.lane("down").cursor, max_events=50, max_bytes=MIB),
    "settle": lambda b: b.opened.settle(b.lease, b.opened.lane("up").cursor + 50),
    "settle a damaged event": settle_damaged,
    "oldest pending": lambda b: b.opened.spool.oldest_pending_at_ms("down"),
    "stats": lambda b: b.opened.spool.stats(),
    "lanes": lambda b: b.opened.spool.lanes(),
    "trim": lambda b: b.opened.spool.trim(200),
    "deferred": lambda b: b.opened.spool.deferred("up"),
    "oldest pending, aside": lambda b: b.opened.spool.oldest_pending_at_ms("up"),
    "defer": lambda b: move(b.opened, "up", deferred=b.aside[:1]),
    "dead letters": lambda b: b.opened.spool.dead("up", after=0, max_events=50),
    "a dead letter": lambda b: b.opened.spool.find_dead(b.few_ids()[0]),
    "matches": lambda b: b.opened.spool.matches(Selection("up"), 0, max_events=50),
    "start a replay of dead letters": lambda b: b.opened.spool.start_replay(Selection("up", is_dead=True)),
    "start a replay of all": lambda b: b.opened.spool.start_replay(Selection("up")),
    "a page of dead letters": read_replay(0),
    "a page of the journal": read_replay(1),
    "a page of ids": read_replay(2),
    "an audit begins": lambda b: b.opened.spool.audit(None, max_rows=6),
    "a page of the ledger": audit_page(0),
    "a page of what stands aside": audit_page(1),
    "a page of the journal, counted": audit_page(2),
    "a command": lambda b: b.opened.spool.command("up", "flush"),
    "open a lane": lambda b: b.opened.spool.open_lane("new", "webhook", "earliest"),
}


@pytest.mark.parametrize("action", ACTIONS)
def test_a_larger_backlog_costs_nothing(backlogs: list[Backlog], action: str) -> None:
    for backlog in backlogs:
        ACTIONS[action](backlog)
    small, large = [backlog.meter.measure(lambda one=backlog: ACTIONS[action](one)) for backlog in backlogs]  # type: ignore[misc]

    assert large <= small * 1.1 + 20


def test_finding_an_event_costs_a_search_and_no_scan(backlogs: list[Backlog]) -> None:
    costs = []
    for backlog in backlogs:
        made = backlog.opened.append(make_drafts(1))[0].event_id
        backlog.opened.spool.find(made)
        costs.append(backlog.meter.measure(lambda one=backlog, made=made: one.opened.spool.find(made)))  # type: ignore[misc]

    small, large = costs
    assert large < small * 1.6, "four more halvings"
    assert large < 1500


def test_a_start_costs_the_same(backlogs: list[Backlog]) -> None:
    costs = []
    for backlog in backlogs:
        backlog.opened.spool.close()
        before = backlog.meter.steps
        with open_spool(backlog.directory, clock=backlog.clock, free_bytes=1 << 40) as opened:
            opened.spool.stats()
            opened.spool.claim("up")
        costs.append(backlog.meter.steps - before)

    small, large = costs
    assert large <= small * 1.1 + 20
