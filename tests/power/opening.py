"""The spool as the daemon opens it, damage and all, in one thread."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from spoold.clock import Clock, Entropy
from spoold.runtime import ThreadSignal
from spoold.spool.damage import open_store
from spoold.spool.local import LocalSpool
from spoold.spool.quarantine import Quarantine
from spoold.spool.salvage import Salvager
from spoold.spool.salvaged import Salvage
from spoold.spool.space import Space, SpaceLimits
from spoold.spool.store import Commit, commit
from tests.support.spools import KIB, MIB, OpenSpool

#: A checkpoint is due at 64 KiB of log, so that some fall into a recording.
LIMITS = SpaceLimits(max_bytes=1024 * MIB, min_free_bytes=256 * KIB)
_FREE_BYTES = 1024 * MIB
RETENTION_SECONDS = 60.0


@dataclass
class Opened(OpenSpool):
    """An open spool, and what had to be moved aside for it."""

    quarantined: Quarantine | None = None
    unread: list[str] = field(default_factory=list)

    def open(self, *, durability: str, commit: Commit, is_driven: bool) -> None:
        del commit, is_driven
        self.space = Space(self.directory, self.limits, free=lambda _: _FREE_BYTES)
        found = open_store(self.directory, self.space, self.clock, self.entropy, durability=durability)
        self.store, self.quarantined = found.store, found.quarantined
        self.spool = LocalSpool(
            self.store,
            self.space,
            self.clock,
            self.entropy,
            directory=self.directory,
            retention_seconds=self.retention_seconds,
            observer=self.watcher,
            lock=nullcontext(),
            make_signal=ThreadSignal,
            drive=self.commit,
        )

    def salvage(self) -> None:
        """Bring over what is left of damaged spools."""
        salvager = Salvager(self.spool, self.directory, self.clock, self)
        while salvager.step(0.0) is not None:
            pass
        salvager.close()

    def done(self, salvage: Salvage) -> None:
        """See ``salvage.Report``."""

    def unreadable(self, salvage: Salvage, reason: str) -> None:
        """See ``salvage.Report``."""
        self.unread.append(f"{salvage.source}: {reason}")


@contextmanager
def opened_spool(directory: Path, clock: Clock, entropy: Entropy, *, durability: str = "fsync") -> Iterator[Opened]:
    """Open it, and close it in order."""
    opened = Opened(directory, clock, entropy, LIMITS, RETENTION_SECONDS, _FREE_BYTES)
    opened.open(durability=durability, commit=commit, is_driven=True)
    try:
        yield opened
    finally:
        opened.spool.close()
