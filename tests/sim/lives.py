"""The lives of the simulated daemon: how each begins on what the last one left, and how it ends.

A life ends in a crash, a power cut, a disk error, damage or an orderly stop. What is done in it is the world's matter.
"""

import gc
import random
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from spoold.errors import SpoolCorruptError, SpooldError, SpoolFullError
from spoold.spool.quarantine import mark_damaged
from tests.sim.ageing import age, newest_version, version_of
from tests.sim.clients import Clients
from tests.sim.damage import flip_record_bit
from tests.sim.dialects import DIALECTS
from tests.sim.disk import SimDisk, StopKind
from tests.sim.ledger import Figures
from tests.sim.machine import LIMITS, TIGHT_BYTES, Machine
from tests.sim.oracles import check_books, check_in_doubt, check_promises
from tests.sim.parts import SimClock, SimEntropy, Trace, hold
from tests.sim.recovery import Recovery
from tests.sim.service import Service
from tests.sim.watch import LaneWatch

_LANES = ("first", "second", "third")
_DRAIN_STEPS = 4_000
_JUMPS_SECONDS = (-300_000.0, -90_000.0, -3600.0, -5.0, 5.0, 3600.0, 90_000.0, 300_000.0)
#: An answer takes at least so long …
_ANSWER_SECONDS = 0.05
#: … and one that comes as late as a request waits for it.
_LATE_SECONDS = 3600.0
#: How long what waits for room waits until it is tried again.
_NO_ROOM_SECONDS = 1.0


class LifeOverError(Exception):
    """The simulated process is gone."""


class Lives(ABC):
    """All lives of one daemon, one after another, on what is left of its disk."""

    def __init__(self, seed: int, home: Path, echo: Callable[[str], None] | None = None) -> None:
        self.rng = random.Random(seed)
        self.home = home
        self.clock = SimClock()
        self.entropy = SimEntropy(self.rng)
        self.trace = Trace(echo)
        self.figures = Figures()
        self.limits = replace(LIMITS, max_bytes=self.rng.choice([LIMITS.max_bytes, LIMITS.max_bytes, *TIGHT_BYTES]))
        names = _LANES[: self.rng.randint(1, len(_LANES))]
        self.services = {name: self._make_service(name) for name in names}
        self.clients = Clients(self.rng, self.clock, self.trace, self.figures)
        self.watches = {
            name: LaneWatch(name, self.clock, self.trace, self.figures, self.clients.submitted) for name in names
        }
        self.recovery = Recovery(self.rng, self.note, self.figures, self.clients.submitted, self.watches)
        self.is_salvaging = False
        self.is_finale = False
        self.is_over = False
        self.faulty = False
        self._is_at_rest = False
        self.has_room = True
        self.was_sync_lost = False
        #: Some worlds begin with a spool of an older format.
        self._begins_old = self.rng.random() < 0.25
        self._is_old = False

    def _make_service(self, name: str) -> Service:
        service = Service(name, DIALECTS[self.rng.choice(list(DIALECTS))], self.clock, self.rng)
        # The first lane gets all there is, always.
        if name != "first" and self.rng.random() < 0.4:
            service.hidden = ("event 3",)
        service.chokes = self.rng.random() < 0.2
        service.purges = name != "first" and self.rng.random() < 0.3
        return service

    @abstractmethod
    def act(self, steps: int) -> None:
        """What is done in a life."""

    @abstractmethod
    def finish(self) -> None:
        """What is done in the last one."""

    def live_once(self, disk: SimDisk, steps: int) -> SimDisk:
        self.figures.lives += 1
        self.machine: Machine | None = None
        self._is_stopping = False
        self._next: Path = self.home / f"after{self.figures.lives}"
        disk = self._prepare(disk)
        with disk:
            self.disk = disk
            self.faulty = False
            self.has_room = True
            if not self.is_finale:
                self._arm_trouble()
            try:
                self._open()
                if self.is_finale:
                    self.finish()
                    self.is_over = True
                else:
                    self.act(steps)
                following = self._end()
            except LifeOverError:
                following = self._fall_over()
            except sqlite3.DatabaseError as exc:
                following = self._stumble(exc)
            self._abandon()
        return following

    def _prepare(self, disk: SimDisk) -> SimDisk:
        """What happens to the files while nobody has them open."""
        room = disk.room if self.rng.random() < 0.5 else None
        if self._is_at_rest and self.rng.random() < 0.9:
            self._damage(disk.directory)
        is_changed = False
        may_age = self._is_at_rest and not self.recovery.is_latent
        if may_age and (self._begins_old or self.rng.random() < 0.1):
            self._begins_old = False
            is_changed = self._age(disk.directory)
        self._is_at_rest = False
        if not self.is_finale and self.recovery.hurt_dead(disk.directory):
            is_changed = True
        if is_changed:
            # As it lies there now.
            disk = SimDisk(disk.directory, self.rng)
        disk.room = None if self.is_finale else room
        self._is_delicate = is_changed
        return disk

    def _age(self, directory: Path) -> bool:
        version = age(directory, self.rng)
        self.note("aged", version)
        if version is None:
            return False
        self._is_old = True
        for watch in self.watches.values():
            # Which the first format does not have.
            watch.passage.rebase()
            watch.book.is_word_known = False
        return True

    def _damage(self, directory: Path) -> None:
        cursor = min(watch.book.cursor for watch in self.watches.values())
        waiting = [e for e in self.clients.submitted if e.receipt and e.receipt.seq > cursor and not e.damaged_seq]
        event = flip_record_bit(directory, waiting, self.rng)
        self.figures.flipped_bits += event is not None
        self.note("damaged", event and event.number)

    def _arm_trouble(self) -> None:
        was_sync_lost, self.was_sync_lost = self.was_sync_lost, False
        if self.rng.random() < 0.05:
            self.fail_disk()
        # A cut soon after a sync that failed tells whether what was read then had reached the disk.
        if self.rng.random() < (0.9 if was_sync_lost else 0.6):
            how: StopKind = "cut_power" if was_sync_lost else self.rng.choice(["crash", "cut_power"])
            longest = 60 if was_sync_lost or (self._is_delicate and self.rng.random() < 0.6) else 600
            self.disk.stop_after(self.rng.randrange(1, longest), how, self._next)

    def jump_wall_clock(self) -> None:
        """Somebody sets the clock; kept waits may then end sooner, never later."""
        self.figures.clock_jumps += 1
        self.clock.jump_wall(self.rng.choice(_JUMPS_SECONDS))
        for watch in self.watches.values():
            watch.book.not_before = None
            watch.fates.hurry()

    def fail_disk(self) -> None:
        """Writes meet a full disk for a while, or a sync fails."""
        self.figures.disk_faults += 1
        if self.rng.random() < 0.6:
            self.disk.fail("write", "enospc", after=self.rng.randrange(20), times=self.rng.choice([1, 3]))
            self.note("enospc")
        else:
            self.disk.fail("sync", "eio", after=self.rng.randrange(6), times=1)
            self.was_sync_lost = True
            self.note("eio")
        self.faulty = True

    def _open(self) -> None:
        self.note("open", self.figures.lives)
        if self.rng.random() < 0.2:
            self.jump_wall_clock()
        try:
            self.machine = Machine(
                self.disk.directory,
                self._configured(),
                self.clock,
                self.entropy,
                free_bytes=self._free_bytes,
                limits=LIMITS if self.is_finale else self.limits,
                wait_for_room=self._wait_for_room,
            )
        except (SpooldError, OSError) as exc:
            self._die(exc)
        self.figures.migrations += self._is_old and self.live.quarantined is None
        self._is_old = False
        version = version_of(self.live.store.connection)
        hold("a spool is of the newest format when it is open", version == newest_version(), version)
        was_hurt = self.recovery.is_latent
        self.recovery.opened(self.live)
        self.is_salvaging = True
        if not self.recovery.is_latent:
            check_promises(self.live, self.clients.submitted)
            check_books(self.live)
        if not was_hurt:
            check_in_doubt(self.live, self.clients.submitted, self.clients.in_doubt)
        self.clients.in_doubt.clear()
        for name, watch in self.watches.items():
            (watch.opened if name in self.live.lanes else watch.left_out)(self.live)

    def _wait_for_room(self) -> None:
        """Not even a settlement fits. Time goes by; in the end somebody makes room."""
        self.figures.waits_for_room += 1
        self.note("no room", self.disk.room)
        self.clock.advance(_NO_ROOM_SECONDS)
        if self.disk.room is not None:
            self.disk.room = self.rng.choice([self.disk.room, self.disk.room + (8 << 10), 1 << 20, None])
            self.has_room = True
            self.clients.note_room()

    def _configured(self) -> dict[str, Service]:
        # A provider may leave the configuration for a while; the first never does, so that something is delivered.
        if self.is_finale:
            return self.services
        return {name: service for name, service in self.services.items() if name == "first" or self.rng.random() < 0.7}

    def _free_bytes(self) -> int:
        return 1 << 30 if self.disk.room is None else self.disk.room

    @property
    def live(self) -> Machine:
        """The machine of this life."""
        assert self.machine is not None
        return self.machine

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
        self.note("damage is met", error)
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
        self.note("died", type(error).__name__)
        is_open = self.machine is not None
        is_well = self.disk.successor is None and not self.faulty and not self.recovery.is_latent
        is_full = isinstance(error, SpoolFullError) or (self.disk.room is not None and is_well)
        # In a stop nobody waits for room: a lane that can't settle ends where it stands.
        hold("I7: a full disk ends nothing", self._is_stopping or not (is_open and is_full), repr(error))
        # An oracle may have read it.
        is_damage = isinstance(error, SpoolCorruptError | sqlite3.DatabaseError) and self.recovery.is_latent
        has_cause = self.disk.successor is not None or self.faulty or is_damage or self.disk.room is not None
        hold("only a disk that fails ends the process", has_cause, repr(error))
        raise LifeOverError from error

    def take_turn(self, name: str, *, answers: bool | None = None) -> None:
        """A lane's turn, or the answer to one of its requests, whichever comes first."""
        watch, sim = self.watches[name], self.live.lanes[name]
        if sim.in_flight and (self.rng.random() < 0.5 if answers is None else answers):
            call = self.rng.choice(list(sim.in_flight))
            self.guard(lambda: watch.take_answer(self.live, sim, call))
        else:
            self.guard(lambda: watch.take_turn(self.live, sim))

    def _end(self) -> SimDisk:
        how = (
            "stop"
            if self.is_finale or self._begins_old
            else self.rng.choice(["stop", "crash", "cut_power", "cut_power"])
        )
        if how == "stop":
            self._stop_in_order()
            self._is_at_rest = True
            return SimDisk(self.disk.directory, self.rng)
        return self._fall(how)

    def _fall(self, how: str) -> SimDisk:
        self.note("end", how)
        self._lose_replies()
        if how == "crash":
            self.figures.crashes += 1
            return self.disk.crash(self._next)
        self.figures.power_cuts += 1
        return self.disk.cut_power(self._next)

    def _fall_over(self) -> SimDisk:
        if self.disk.successor is None:
            return self._fall("crash" if self.was_sync_lost else self.rng.choice(["crash", "cut_power"]))
        self.note("end", "in the midst")
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
        self.note("end", "stop")
        self._is_stopping = True
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

    def note(self, *words: object) -> None:
        self.trace.note(self.clock.now, *words)
