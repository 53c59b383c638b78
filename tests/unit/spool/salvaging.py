"""A spool that is damaged, and what becomes of it: what the tests of quarantine and salvage say often."""

import shutil
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from spoold.record import Event
from spoold.runtime import ThreadSignal
from spoold.spool.damage import open_store
from spoold.spool.local import LocalSpool
from spoold.spool.quarantine import Quarantine
from spoold.spool.salvage import Salvager
from spoold.spool.salvaged import Salvage
from spoold.spool.space import Space, SpaceLimits
from tests.support.clock import FakeClock, FakeEntropy
from tests.support.spools import MIB, OpenSpool, Watcher

LANES = ("a", "b")


@dataclass
class Recovered(OpenSpool):
    """A spool opened as the daemon opens it: damage is moved aside."""

    quarantined: Quarantine | None = None
    told: list[Salvage] = field(default_factory=list)
    unread: list[tuple[Salvage, str]] = field(default_factory=list)

    def done(self, salvage: Salvage) -> None:
        self.told.append(salvage)

    def unreadable(self, salvage: Salvage, reason: str) -> None:
        self.unread.append((salvage, reason))

    def salvager(self) -> Salvager:
        return Salvager(self.spool, self.directory, self.clock, self)

    def salvage(self, steps: int = 10_000) -> list[Salvage]:
        """Carry out what is to be salvaged, in so many steps at most."""
        salvager = self.salvager()
        for _ in range(steps):
            if salvager.step(0.0) is None:
                break
        salvager.close()
        return self.spool.salvages()

    def pending(self, lane: str) -> list[str]:
        """Ids that the lane has before it, by position."""
        after, ids = self.lane(lane).cursor, list[str]()
        while True:
            page = self.spool.read(lane, after, max_events=1000, max_bytes=64 * MIB)
            ids += [event.event_id for event in page.events if isinstance(event, Event)]
            if page.is_end:
                return ids
            after = page.after


def recover(directory: Path, *, lanes: tuple[str, ...] = LANES, max_bytes: int = 1024 * MIB) -> Recovered:
    """Open the spool as the daemon does, with these lanes configured. The caller closes it."""
    limits = SpaceLimits(max_bytes=max_bytes, min_free_bytes=MIB)
    opened = Recovered(directory, FakeClock(), FakeEntropy(5), limits, 3600, 1024 * MIB, Watcher())
    opened.space = Space(directory, limits)
    found = open_store(directory, opened.space, opened.clock, opened.entropy)
    opened.store, opened.quarantined = found.store, found.quarantined
    opened.spool = LocalSpool(
        opened.store,
        opened.space,
        opened.clock,
        opened.entropy,
        directory=directory,
        retention_seconds=opened.retention_seconds,
        observer=opened.watcher,
        lock=nullcontext(),
        make_signal=ThreadSignal,
        drive=opened.commit,
    )
    for lane in lanes:
        opened.spool.open_lane(lane, "mixpanel", "latest")
    return opened


def copy_as_killed(opened: OpenSpool, target: Path) -> Path:
    """The files as a process that is killed now leaves them."""
    target.mkdir()
    for name in ("spool.db", "spool.db-wal"):
        if (opened.directory / name).exists():
            shutil.copy(opened.directory / name, target / name)
    return target


def contents(directory: Path) -> dict[str, bytes]:
    """All files below a directory, but for locks and indexes."""
    files = (path for path in directory.rglob("*") if path.is_file() and not path.name.endswith("-shm"))
    return {str(path.relative_to(directory)): path.read_bytes() for path in files if path.name != "lock"}
