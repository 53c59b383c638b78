"""What a salvage would bring over, told before it does; and one into a spool whose daemon is down."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from spoold.clock import Clock, Entropy
from spoold.errors import SpooldError, SpoolFullError, SpoolMissingError, SpoolUnreadableError
from spoold.spool.damage import open_store
from spoold.spool.journal import DATABASE_NAME
from spoold.spool.lock import DirectoryLock
from spoold.spool.remains import Piece, Remains
from spoold.spool.salvage import Salvager, begin_salvage, describe_source
from spoold.spool.salvaged import Salvage
from spoold.spool.space import Space, SpaceLimits
from spoold.spool.store import Store
from spoold.spool.transaction import Transaction

_LOOK_PAGES = 4096
_PIECES = 256
#: What the spool may hold is in the daemon's configuration; the disk's room is kept as that does by default.
_LIMITS = SpaceLimits(max_bytes=1 << 62, min_free_bytes=256 << 20)


@dataclass(slots=True)
class LanePlan:
    """What one lane would get."""

    pending: int = 0
    dead: int = 0


@dataclass(slots=True)
class Plan:
    """What can be read of a damaged spool.

    Attributes:
        readable: Events whose checksum is right.
        settled: Of these, how many no lane had pending: they stay where they are.
        unsure: Of these, how many go to every lane, since nobody knows who had them pending.
        damaged: Rows that can't be read, or whose checksum is wrong, and damaged frames of the log.
        lost: Events that were not found, and the damaged ones.
        holes: Seqs of which nothing is left.
        lanes: By name.
    """

    readable: int = 0
    settled: int = 0
    unsure: int = 0
    damaged: int = 0
    lost: int = 0
    holes: tuple[tuple[int, int], ...] = ()
    lanes: dict[str, LanePlan] = field(default_factory=dict)


def plan_salvage(folder: Path, clock: Clock) -> Iterator[tuple[float, Plan | None]]:
    """Look through a damaged spool; gives how far it is (0 to 1), at the end with the plan. Changes nothing.

    Raises:
        SpoolMissingError: There is no spool in ``folder``.
        SpoolUnreadableError: It is in use, or its files can't be read.
    """
    describe_source(folder, folder, clock.wall_ms())
    try:
        with closing(Remains(folder)) as remains:
            while not remains.is_known and not remains.look(_LOOK_PAGES):
                yield remains.progress / 2, None
            plan = Plan(damaged=remains.damaged_frames, holes=tuple(remains.holes()))
            plan.lanes = {name: LanePlan() for name in sorted(remains.facts.lanes)}
            for position in range(remains.count):
                _count(plan, remains.piece(position), remains.expected()[0])
                if position % _PIECES == 0:
                    yield 0.5 + position / remains.count / 2, None
            first, last = remains.expected()
            plan.lost = max(0, last - first + 1 - plan.readable)
    except OSError as exc:
        raise SpoolUnreadableError(f"{exc.filename or folder} can't be read: {exc.strerror}") from exc
    yield 1.0, plan


def _count(plan: Plan, piece: Piece, first_seq: int) -> None:
    plan.damaged += piece.damaged
    for row in piece.dead:
        plan.lanes.setdefault(row.lane, LanePlan()).dead += 1
    for event, wanted in piece.events:
        if event.seq < first_seq or not piece.is_aside:
            plan.readable += event.seq >= first_seq
            plan.settled += not wanted.lanes and not wanted.unknown
            plan.unsure += wanted.unknown
            for name in wanted.lanes:
                plan.lanes.setdefault(name, LanePlan()).pending += 1


def salvage_offline(folder: Path, directory: Path, clock: Clock, entropy: Entropy) -> Iterator[Salvage]:
    """Bring over what is left of the spool in ``folder`` into the one in ``directory``, whose daemon is down.

    Gives how far it is after each step; the last one is done. Interrupted, it goes on when it is called again, or
    when the daemon starts.

    Raises:
        SpoolMissingError: There is no spool in one of them.
        SpoolLockedError: A daemon owns ``directory``.
        SpoolUnreadableError: One can't be read, or is in use.
        SpoolFullError: The disk has no room for more.
    """
    if not (directory / DATABASE_NAME).exists():
        raise SpoolMissingError(f"there is no spool in {directory}: {DATABASE_NAME} is missing; start spoold once")
    salvage = describe_source(folder.resolve(), directory.resolve(), clock.wall_ms())
    with DirectoryLock(directory):
        space = Space(directory, _LIMITS)
        store = open_store(directory, space, clock, entropy).store
        try:
            yield from _carry_out(_Offline(store, space), salvage, directory, clock)
        finally:
            store.close()


def _carry_out(spool: "_Offline", salvage: Salvage, directory: Path, clock: Clock) -> Iterator[Salvage]:
    begun = spool.apply(lambda tx: begin_salvage(tx, salvage))
    yield begun
    if not begun.is_running:
        return
    salvager = Salvager(spool, directory, clock, spool)
    try:
        while salvager.step(clock.monotonic()) is not None:
            now = next(one for one in spool.salvages() if one.source == salvage.source)
            yield now
            if not now.is_running:
                return
    finally:
        salvager.close()


class _Offline:
    """A store as ``Salvager`` wants it, and who is told."""

    def __init__(self, store: Store, space: Space) -> None:
        self._store = store
        self._space = space

    def salvages(self) -> list[Salvage]:
        return self._store.salvages()

    def restore(self, work: Callable[[Transaction], Salvage], size: int) -> Salvage:
        refusal = self._space.refusal(self._store.used_bytes(), size)
        if refusal is not None:
            # A daemon would wait; here somebody does.
            raise SpooldError(str(refusal)) from refusal
        salvage = self.apply(work)
        if self._store.measure_wal() > self._space.limits.checkpoint_bytes:
            self._store.checkpoint()
        return salvage

    def apply(self, work: Callable[[Transaction], Salvage]) -> Salvage:
        answer = self._store.apply([], [work]).writes[0]
        if isinstance(answer, Salvage):
            return answer
        raise answer if isinstance(answer, SpooldError) else SpoolFullError("nothing was stored", reason="disk")

    def done(self, salvage: Salvage) -> None:
        pass

    def unreadable(self, salvage: Salvage, reason: str) -> None:
        raise SpoolUnreadableError(f"{salvage.source} can't be read: {reason}")
