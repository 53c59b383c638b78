"""A seeded world around the real spool and the real delivery: clients, services, time, faults, and the oracles.

Everything runs in one thread and is drawn from one seed. A life of the daemon ends in a crash, a power cut, a disk
error or an orderly stop; the next one opens what is left. The promises are checked as it goes, and at the end
everything must drain and a fresh event pass.
"""

from collections.abc import Callable
from pathlib import Path

from spoold.spool.quarantine import mark_damaged
from tests.sim.disk import SimDisk
from tests.sim.finale import pass_turns, run_finale
from tests.sim.lives import Lives
from tests.sim.machine import LIMITS, RETENTION_SECONDS
from tests.sim.operator import Operator
from tests.sim.oracles import check_books, check_desk, check_retention, fresh_seqs
from tests.sim.parts import hold
from tests.sim.service import MOODS

#: One more than what a damaged spool takes: its end, and the one after it.
_FINALES = 3


class World(Lives):
    """One run."""

    def __init__(self, seed: int, home: Path, echo: Callable[[str], None] | None = None) -> None:
        super().__init__(seed, home, echo)
        self.operator = Operator(self.rng, self.clock, self.trace, self.watches)
        self._actions: list[tuple[int, Callable[[], None]]] = [
            (30, self.submit),
            (25, self.commit),
            (60, self.run_lane),
            (30, self.pass_time),
            (6, self.change_mood),
            (6, self.trim),
            (2, self.fill_disk),
            (1, self.jump_wall_clock),
            (1, self.fail_disk),
            (3, self.operate),
            (8, self.salvage),
        ]
        if any(service.chokes for service in self.services.values()):
            self._actions.append((2, self.work))
        if self.recovery.is_on:
            self._actions.append((1, lambda: self.recovery.hurt_live(self.disk)))

    def run(self) -> None:
        """Live some lives, then the finale."""
        disk = SimDisk(self._directory(), self.rng)
        lives = self.rng.randint(2, 6)
        for _ in range(lives):
            disk = self.live_once(disk, self.rng.randint(20, 250))
        self.is_finale = True
        finales = 0
        while not self.is_over:
            finales += 1
            hold("a spool that is known to be damaged is moved aside", finales <= _FINALES, finales)
            # A damaged spool is known to be one by then: the finale is one for a spool that is whole.
            if self.recovery.is_latent:
                mark_damaged(disk.directory, "somebody has looked at all of it")
                disk = SimDisk(disk.directory, self.rng)
            disk = self.live_once(disk, 0)
        self.figures.simulated_seconds = self.clock.now

    def _directory(self) -> Path:
        path = self.home / f"life{self.figures.lives}"
        path.mkdir()
        return path

    def act(self, steps: int) -> None:
        weights = [weight for weight, _ in self._actions]
        for _ in range(steps):
            self.rng.choices(self._actions, weights)[0][1]()

    def finish(self) -> None:
        """The faults are over."""
        run_finale(self)

    def submit(self) -> None:
        """Some client calls."""
        used_bytes = self.live.store.used_bytes()
        has_room = self.has_room and used_bytes <= self.live.space.limits.max_bytes
        self.clients.submit(self.live.spool, has_room=has_room)

    def commit(self) -> None:
        """The writer's turn."""
        self.guard(self.live.commit)

    def run_lane(self) -> None:
        """A lane's turn, or the answer to its request."""
        names = [name for name, sim in self.live.lanes.items() if not sim.is_done]
        if names:
            self.take_turn(self.rng.choice(names))

    def trim(self) -> None:
        """The housekeeper's turn."""
        self.note("trim")
        self.recovery.stepped(self.live)
        fresh = fresh_seqs(self.live, self.clock)
        count = self.guard(lambda: self.live.spool.trim(self.rng.choice([1, 20, 500])))
        self.figures.forgotten += count if isinstance(count, int) else 0
        # It looks at the disk again, so appends know.
        self.has_room = self._free_bytes() >= LIMITS.min_free_bytes
        if self.recovery.is_latent:
            return
        if self.disk.room is None and self.limits == LIMITS:
            check_retention(self.live, fresh)
        if self.rng.random() < 0.2:
            check_books(self.live)
            self.guard(lambda: check_desk(self.live))

    def salvage(self) -> None:
        """The salvager's turn."""
        if self.is_salvaging:
            self.is_salvaging = self.guard(lambda: self.live.salvager.step(self.clock.now)) is not None
            self.recovery.stepped(self.live)
            self.figures.salvage_steps += self.is_salvaging

    def work(self) -> None:
        """All goes well for a while, but for what a service chokes on: whom to blame takes its time to find out."""
        for service in self.services.values():
            service.mood = "well"
        for _ in range(6):
            self.submit()
            self.commit()
            pass_turns(self, 12)

    def pass_time(self) -> None:
        """A moment, or until something is due."""
        seconds = self.rng.choice([0.001, 0.005, 0.2, 3.0, 12.0])
        if self.rng.random() < 0.1:
            seconds = self.rng.choice([60.0, 400.0, RETENTION_SECONDS])
        self.clock.advance(seconds)

    def change_mood(self) -> None:
        """A service gets better or worse."""
        service = self.rng.choice(list(self.services.values()))
        service.mood = "well" if self.rng.random() < 0.6 else self.rng.choice(MOODS)
        self.note("mood", service.name, service.mood)

    def fill_disk(self) -> None:
        """Another program takes the disk's room, or gives it back."""
        self.disk.room = self.rng.choice([0, 100 << 10, None, None])
        self.figures.full_disks += self.disk.room is not None
        # It may also be quick to take what the spool itself gives up.
        self.disk.is_contested = self.rng.random() < 0.4
        self.has_room = True
        self.clients.note_room()
        self.note("room", self.disk.room)

    def operate(self) -> None:
        """The operator's turn."""
        self.guard(lambda: self.operator.act(self.live))
