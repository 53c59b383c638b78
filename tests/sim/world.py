"""A seeded world around the real spool and the real delivery: clients, services, time, faults, and the oracles.

Everything runs in one thread and is drawn from one seed. A life of the daemon ends in a crash, a power cut, a disk
error or an orderly stop; the next one opens what is left. The promises are checked as it goes, and at the end
everything must drain and a fresh event pass.
"""

import gc
import random
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from spoold.errors import SpoolCorruptError, SpooldError, SpoolFullError
from spoold.spool.quarantine import mark_damaged
from tests.sim.clients import Clients
from tests.sim.damage import flip_record_bit
from tests.sim.dialects import DIALECTS
from tests.sim.disk import SimDisk
from tests.sim.finale import run_finale
from tests.sim.ledger import Figures
from tests.sim.machine import LIMITS, RETENTION_SECONDS, Machine, Room
from tests.sim.operator import Operator
from tests.sim.oracles import (
    check_books,
    check_in_doubt,
    check_promises,
    check_retention,
    fresh_seqs,
)
from tests.sim.parts import SimClock, SimEntropy, Trace, hold
from tests.sim.recovery import Recovery
from tests.sim.service import MOODS, Service
from tests.sim.watch import LaneWatch

_LANES = ("first", "second", "third")
_DRAIN_STEPS = 4_000
#: An answer takes at least so long …
_ANSWER_SECONDS = 0.05
#: … and one that comes as late as a request waits for it.
_LATE_SECONDS = 3600.0


class LifeOverError(Exception):
    """The simulated process is gone."""


class World:
    """One run."""

    def __init__(self, seed: int, home: Path, echo: Callable[[str], None] | None = None) -> None:
        self.rng = random.Random(seed)
        self.home = home
        self.clock = SimClock()
        self.entropy = SimEntropy(self.rng)
        self.trace = Trace(echo)
        self.figures = Figures()
        self.room = Room()
        names = _LANES[: self.rng.randint(1, len(_LANES))]
        self.services = {name: self._make_service(name) for name in names}
        self.clients = Clients(self.rng, self.clock, self.trace, self.figures)
        self.watches = {
            name: LaneWatch(name, self.clock, self.trace, self.figures, self.clients.submitted) for name in names
        }
        self.operator = Operator(self.rng, self.clock, self.trace, self.watches)
        self.recovery = Recovery(self.rng, self._note, self.figures, self.clients.submitted, self.watches)
        self.is_salvaging = False
        self._is_finale = False
        self._is_over = False
        self._faulty = False
        self._is_at_rest = False
        self._has_room = True
        self._was_sync_lost = False
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
        if self.recovery.is_on:
            self._actions.append((1, lambda: self.recovery.hurt_live(self.disk)))

    def _make_service(self, name: str) -> Service:
        service = Service(name, DIALECTS[self.rng.choice(list(DIALECTS))], self.clock, self.rng)
        # The first lane gets all there is, always.
        if name != "first" and self.rng.random() < 0.4:
            service.hidden = ("event 3",)
        service.purges = name != "first" and self.rng.random() < 0.3
        return service

    def run(self) -> None:
        """Live some lives, then the finale."""
        disk = SimDisk(self._directory(), self.rng)
        lives = self.rng.randint(2, 6)
        for _ in range(lives):
            disk = self._live(disk, self.rng.randint(20, 250))
        self._is_finale = True
        while not self._is_over:
            # A damaged spool is known to be one by then: the finale is one for a spool that is whole.
            if self.recovery.is_latent:
                mark_damaged(disk.directory, "somebody has looked at all of it")
                disk = SimDisk(disk.directory, self.rng)
            disk = self._live(disk, 0)
        self.figures.simulated_seconds = self.clock.now

    def _directory(self) -> Path:
        path = self.home / f"life{self.figures.lives}"
        path.mkdir()
        return path

    def _live(self, disk: SimDisk, steps: int) -> SimDisk:
        self.figures.lives += 1
        if self._is_at_rest and self.rng.random() < 0.9:
            self._damage(disk.directory)
        self._is_at_rest = False
        if not self._is_finale and self.recovery.hurt_dead(disk.directory):
            # As it lies there now.
            disk = SimDisk(disk.directory, self.rng)
        with disk:
            self.disk = disk
            try:
                self._open()
                if self._is_finale:
                    self._faulty = False
                    self._has_room = True
                    self.room.bytes = 1 << 30
                    run_finale(self)
                    self._is_over = True
                else:
                    self._arm_stop()
                    self._act(steps)
                following = self._end()
            except LifeOverError:
                following = self._fall_over()
            except sqlite3.DatabaseError as exc:
                following = self._stumble(exc)
            self._abandon()
        return following

    def _open(self) -> None:
        self._note("open", self.figures.lives)
        if self.rng.random() < 0.2:
            self.jump_wall_clock()
        self.machine: Machine | None = None
        self._next: Path = self.home / f"after{self.figures.lives}"
        try:
            self.machine = Machine(
                self.disk.directory, self._configured(), self.clock, self.entropy, free_bytes=self.room
            )
        except (SpooldError, OSError) as exc:
            self._die(exc)
        was_hurt = self.recovery.is_latent
        self.recovery.opened(self.live)
        self.is_salvaging = True
        if not self.recovery.is_latent:
            check_promises(self.live, self.clients.submitted)
            check_books(self.live)
        if not was_hurt:
            check_in_doubt(self.live, self.clients.submitted, self.clients.in_doubt)
        self.clients.in_doubt.clear()
        for name in self.live.lanes:
            self.watches[name].opened(self.live)

    def _configured(self) -> dict[str, Service]:
        # A provider may leave the configuration for a while; the first never does, so that something is delivered.
        if self._is_finale:
            return self.services
        return {name: service for name, service in self.services.items() if name == "first" or self.rng.random() < 0.7}

    @property
    def live(self) -> Machine:
        """The machine of this life."""
        assert self.machine is not None
        return self.machine

    def _act(self, steps: int) -> None:
        weights = [weight for weight, _ in self._actions]
        for _ in range(steps):
            self.rng.choices(self._actions, weights)[0][1]()

    def guard(self, act: Callable[[], object]) -> object:
        """Do something that may meet the disk's end; the process dies of it as the daemon would."""
        try:
            result = act()
        except (SpoolCorruptError, sqlite3.DatabaseError) as exc:
            self.clients.collect()
            if self.recovery.is_latent:
                self._meet_damage(exc)
            self._die(exc)
        except (SpooldError, OSError) as exc:
            # Whoever was answered has read it before the end.
            self.clients.collect()
            self._die(exc)
        self.clients.collect()
        return result

    def _meet_damage(self, error: BaseException) -> None:
        """As the daemon does: the next start is told, and this life is over."""
        self._note("damage is met", error)
        if self.disk.successor is None:
            with suppress(OSError):
                mark_damaged(self.disk.directory, str(error))

    def _stumble(self, error: sqlite3.DatabaseError) -> SimDisk:
        """An oracle has read what is damaged before the program did."""
        if not self.recovery.is_latent:
            raise error
        self._meet_damage(error)
        return self._fall_over()

    def _die(self, error: BaseException) -> None:
        self._note("died", type(error).__name__)
        hold("I7: a full disk ends nothing", not isinstance(error, SpoolFullError), repr(error))
        # An oracle may have read it.
        is_damage = isinstance(error, SpoolCorruptError | sqlite3.DatabaseError) and self.recovery.is_latent
        has_cause = self.disk.successor is not None or self._faulty or is_damage
        hold("only a disk that fails ends the process", has_cause, repr(error))
        raise LifeOverError from error

    def submit(self) -> None:
        """Some client calls."""
        self.clients.submit(self.live.spool, has_room=self._has_room)

    def commit(self) -> None:
        """The writer's turn."""
        self.guard(self.live.commit)

    def run_lane(self) -> None:
        """A lane's turn, or the answer to its request."""
        names = [name for name, sim in self.live.lanes.items() if not sim.is_done]
        if names:
            self.take_turn(self.rng.choice(names))

    def take_turn(self, name: str, *, answers: bool | None = None) -> None:
        """A lane's turn, or the answer to one of its requests, whichever comes first."""
        watch, sim = self.watches[name], self.live.lanes[name]
        if sim.in_flight and (self.rng.random() < 0.5 if answers is None else answers):
            call = self.rng.choice(list(sim.in_flight))
            self.guard(lambda: watch.take_answer(self.live, sim, call))
        else:
            self.guard(lambda: watch.take_turn(self.live, sim))

    def trim(self) -> None:
        """The housekeeper's turn."""
        self._note("trim")
        self.recovery.stepped(self.live)
        fresh = fresh_seqs(self.live, self.clock)
        self.guard(lambda: self.live.spool.trim(self.rng.choice([1, 20, 500])))
        # It looks at the disk again, so appends know.
        self._has_room = self.room.bytes >= LIMITS.min_free_bytes
        if self.recovery.is_latent:
            return
        if self._has_room:
            check_retention(self.live, fresh)
        if self.rng.random() < 0.2:
            check_books(self.live)

    def salvage(self) -> None:
        """The salvager's turn."""
        if self.is_salvaging:
            self.is_salvaging = self.guard(lambda: self.live.salvager.step(self.clock.now)) is not None
            self.recovery.stepped(self.live)
            self.figures.salvage_steps += self.is_salvaging

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
        self._note("mood", service.name, service.mood)

    def jump_wall_clock(self) -> None:
        """Somebody sets the clock; kept waits may then end sooner, never later."""
        self.figures.clock_jumps += 1
        self.clock.jump_wall(self.rng.choice([-90_000.0, -3600.0, -5.0, 5.0, 3600.0, 90_000.0]))
        for watch in self.watches.values():
            watch.book.not_before = None

    def fill_disk(self) -> None:
        """Another program takes the disk's room, or gives it back."""
        self.room.bytes = self.rng.choice([0, 100 << 10, 1 << 30, 1 << 30])
        self._has_room = True
        self.clients.note_room()
        self._note("room", self.room.bytes)

    def operate(self) -> None:
        """The operator's turn."""
        self.guard(lambda: self.operator.act(self.live))

    def fail_disk(self) -> None:
        """Writes meet a full disk for a while, or a sync fails."""
        self.figures.disk_faults += 1
        if self.rng.random() < 0.6:
            self.disk.fail("write", "enospc", after=self.rng.randrange(20), times=self.rng.choice([1, 3]))
            self._note("enospc")
        else:
            self.disk.fail("sync", "eio", after=self.rng.randrange(6), times=1)
            self._was_sync_lost = True
            self._note("eio")
        self._faulty = True

    def _arm_stop(self) -> None:
        self._faulty = False
        # A cut soon after a sync that failed tells whether what was read then had reached the disk.
        if self.rng.random() < (0.9 if self._was_sync_lost else 0.6):
            how = "cut_power" if self._was_sync_lost else self.rng.choice(["crash", "cut_power"])
            longest = 60 if self._was_sync_lost else 600
            self.disk.stop_after(self.rng.randrange(1, longest), how, self._next)  # type: ignore[arg-type]
        self._was_sync_lost = False

    def _damage(self, directory: Path) -> None:
        cursor = min(watch.book.cursor for watch in self.watches.values())
        waiting = [e for e in self.clients.submitted if e.receipt and e.receipt.seq > cursor and not e.damaged_seq]
        event = flip_record_bit(directory, waiting, self.rng)
        self.figures.flipped_bits += event is not None
        self._note("damaged", event and event.number)

    # How a life ends.

    def _end(self) -> SimDisk:
        how = "stop" if self._is_finale else self.rng.choice(["stop", "crash", "cut_power", "cut_power"])
        if how == "stop":
            self._stop_in_order()
            self._is_at_rest = True
            return SimDisk(self.disk.directory, self.rng)
        return self._fall(how)

    def _fall(self, how: str) -> SimDisk:
        self._note("end", how)
        self._lose_replies()
        if how == "crash":
            self.figures.crashes += 1
            return self.disk.crash(self._next)
        self.figures.power_cuts += 1
        return self.disk.cut_power(self._next)

    def _fall_over(self) -> SimDisk:
        if self.disk.successor is None:
            return self._fall("crash" if self._was_sync_lost else self.rng.choice(["crash", "cut_power"]))
        self._note("end", "in the midst")
        self.figures.power_cuts += 1
        self._lose_replies()
        return self.disk.successor

    def _lose_replies(self) -> None:
        # A request that was under way may have arrived although nobody heard the answer.
        for sim in self.live.lanes.values() if self.machine else ():
            for call in sim.in_flight:
                if self.rng.random() < 0.5:
                    self.live.send(sim, call)
        self.clients.lose_answers()

    def _stop_in_order(self) -> None:
        self._note("end", "stop")
        self.figures.stops += 1
        seconds = self.rng.choice([_ANSWER_SECONDS, _LATE_SECONDS])
        self.live.request_stop(20.0)
        self.guard(self.live.flush)
        hold("a stop answers everybody", not self.clients.waiting, self.clients.waiting)
        for name, sim in self.live.lanes.items():
            for _ in range(_DRAIN_STEPS):
                if sim.is_done:
                    break
                self.take_turn(name, answers=False)
                if sim.is_done:
                    break
                if sim.in_flight:
                    self.clock.advance(min(seconds, *sim.in_flight.values()))
                    self.take_turn(name, answers=True)
                else:
                    self.clock.advance(max(0.0, sim.wake_at - self.clock.now))
            hold("the final flush ends", sim.is_done, name)
        self.guard(self.live.close)

    def _abandon(self) -> None:
        # The kernel closes what a dead process had open.
        if self.machine is not None:
            with suppress(SpooldError, sqlite3.Error, OSError):
                self.machine.close()
        self.machine = None
        gc.collect(0)

    def _note(self, *words: object) -> None:
        self.trace.note(self.clock.now, *words)
