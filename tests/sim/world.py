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

from spoold.delivery.lane import Send, Wait
from spoold.errors import SpoolClosedError, SpooldError, SpoolFailedError, SpoolFullError
from spoold.providers.base import Delivered, Retry
from spoold.spool.contract import Receipt
from tests.sim.damage import flip_record_bit
from tests.sim.disk import SimDisk
from tests.sim.ledger import Figures, LaneBook, Submitted, Waiting, make_event
from tests.sim.machine import INTERVAL_SECONDS, RETENTION_SECONDS, RETRY, Machine, Room, SimLane
from tests.sim.oracles import check_books, check_contents, check_cursor, check_dead_letters, check_promises, check_wait
from tests.sim.parts import SimClock, SimEntropy, Trace, hold
from tests.sim.service import MOODS, Service

_LANES = ("first", "second", "third")
_DRAIN_STEPS = 4_000


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
        self.services = {name: Service(name, self.clock, self.rng) for name in names}
        self.books = {name: LaneBook() for name in names}
        self.submitted: list[Submitted] = []
        self.waiting: list[Waiting] = []
        self._is_finale = False
        self._faulty = False
        self._is_at_rest = False
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
        ]

    def run(self) -> None:
        """Live some lives, then the finale."""
        disk = SimDisk(self._directory(), self.rng)
        lives = self.rng.randint(2, 6)
        for _ in range(lives):
            disk = self._live(disk, self.rng.randint(20, 250))
        self._is_finale = True
        self._live(disk, 0)
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
        with disk:
            self.disk = disk
            try:
                self._open()
                if self._is_finale:
                    self._finale()
                else:
                    self._arm_stop()
                    self._act(steps)
                following = self._end()
            except LifeOverError:
                following = self._salvage()
            self._abandon()
        return following

    def _open(self) -> None:
        self._note("open", self.figures.lives)
        self.machine: Machine | None = None
        self._next: Path = self.home / f"after{self.figures.lives}"
        try:
            self.machine = Machine(
                self.disk.directory, self._configured(), self.clock, self.entropy, free_bytes=self.room
            )
        except SpooldError as exc:
            self._die(exc)
        check_promises(self.live, self.submitted)
        check_books(self.live)
        for name in self.live.lanes:
            book = self.books[name]
            book.gaps |= {(gap.after, gap.upto) for gap in self.live.store.state.lanes[name].gaps}
            if self.live.lanes[name].lane.state == "stopped":
                # A restart is how a stopped lane's configuration is changed: it tries at once.
                book.not_before = None
            self._observe_cursor(name)
            book.may_repeat = {seq for seq in book.confirmed if seq > book.cursor}

    def _configured(self) -> dict[str, Service]:
        # A provider may leave the configuration for a while; the first never does, so that something is delivered.
        if self._is_finale:
            return self.services
        return {name: service for name, service in self.services.items() if name == "first" or self.rng.random() < 0.85}

    @property
    def live(self) -> Machine:
        """The machine of this life."""
        assert self.machine is not None
        return self.machine

    def _act(self, steps: int) -> None:
        weights = [weight for weight, _ in self._actions]
        for _ in range(steps):
            self.rng.choices(self._actions, weights)[0][1]()

    def _guard(self, act: Callable[[], object]) -> object:
        """Do something that may meet the disk's end; the process dies of it as the daemon would."""
        try:
            result = act()
        except (SpooldError, sqlite3.Error) as exc:
            self._die(exc)
        self.collect()
        return result

    def _die(self, error: BaseException) -> None:
        self._note("died", type(error).__name__)
        has_cause = self.disk.successor is not None or self._faulty or isinstance(error, SpoolFullError)
        hold("only a disk that fails ends the process", has_cause, repr(error))
        raise LifeOverError from error

    def submit(self) -> None:
        """A call with one event or many, some of them repeats of what is in doubt."""
        events: list[Submitted] = []
        for _ in range(self.rng.choice([1, 1, 1, 2, 5, 30])):
            again = self._in_doubt() if self.rng.random() < 0.2 else None
            if again is None:
                again = make_event(len(self.submitted), self.rng, self.clock)
                self.submitted.append(again)
            events.append(again)
        self.waiting.append(Waiting(events, self.live.spool.append([event.draft for event in events])))
        self._note("submit", [event.number for event in events])

    def _in_doubt(self) -> Submitted | None:
        with_id = [event for event in self.submitted[-60:] if event.draft.event_id is not None and not event.is_refused]
        return self.rng.choice(with_id) if with_id else None

    def collect(self) -> None:
        """Clients read their answers."""
        for call in [call for call in self.waiting if call.future.done()]:
            self.waiting.remove(call)
            error = call.future.exception()
            self._note("answer", [event.number for event in call.events], type(error).__name__)
            if isinstance(error, SpoolFullError | SpoolClosedError):
                self.figures.refused += len(call.events)
                for event in call.events:
                    event.is_refused = event.receipt is None and event.draft.event_id is None
            elif error is None:
                for event, receipt in zip(call.events, call.future.result(), strict=True):
                    self._take_receipt(event, receipt)
            else:
                hold("a failed append has a known kind", isinstance(error, SpoolFailedError), repr(error))

    def _take_receipt(self, event: Submitted, receipt: Receipt) -> None:
        first = event.receipt
        if first is not None:
            hold("a repeat is answered with the same id", receipt.event_id == first.event_id, event.number)
        self.figures.acknowledged += not receipt.duplicate
        event.receipt = receipt

    def commit(self) -> None:
        """The writer's turn."""
        self._guard(self.live.commit)

    def run_lane(self) -> None:
        """A lane's turn, or the answer to its request."""
        names = [name for name, sim in self.live.lanes.items() if not sim.is_done]
        if names:
            name = self.rng.choice(names)
            self._guard(lambda: self._step_lane(name, self.live.lanes[name]))

    def _step_lane(self, name: str, sim: SimLane) -> None:
        if sim.in_flight is not None:
            self._answer_lane(name, sim)
            return
        action = self.live.step(sim)
        self._observe_cursor(name)
        book = self.books[name]
        if isinstance(action, Send):
            seqs = {item.seq for item in action.call.items}
            self._note("send", name, sorted(seqs))
            again = (seqs & book.confirmed) - book.may_repeat
            hold("I4: no repeat after a known outcome", not again, name, again)
            is_early = book.not_before is not None and self.clock.now < book.not_before - 0.002
            hold("a wait is kept, over restarts too", not is_early, name, self.clock.now, book.not_before)
        elif isinstance(action, Wait):
            check_wait(self.live, sim, action)
            sim.wake_at = self.clock.now + (INTERVAL_SECONDS if action.seconds is None else action.seconds)

    def _answer_lane(self, name: str, sim: SimLane) -> None:
        call = sim.in_flight
        assert call is not None
        attempt = self.live.send(sim)
        outcome = attempt.outcome
        self._note("reply", name, type(outcome).__name__, attempt.status)
        book = self.books[name]
        if isinstance(outcome, Delivered):
            owners = call.owners()
            dead = {owners[part.index].seq for part in outcome.dead}
            seqs = {item.seq for item in call.items} - dead
            self.figures.repeats += len(seqs & book.confirmed)
            book.confirmed |= seqs
            book.may_repeat |= seqs
        book.not_before = None
        self.live.reply(sim, attempt)
        if isinstance(outcome, Delivered):
            book.may_repeat -= seqs
        if isinstance(outcome, Retry):
            asked = outcome.after_seconds
            said = None if asked is None else self.clock.now + min(asked, RETRY.max_retry_after_seconds)
            book.not_before = sim.lane.next_attempt_at if said is None else said
        self._observe_cursor(name)

    def _observe_cursor(self, name: str) -> None:
        check_cursor(self.live, name, self.books[name])

    def trim(self) -> None:
        """The housekeeper's turn."""
        self._note("trim")
        self._guard(lambda: self.live.spool.trim(self.rng.choice([1, 20, 500])))
        if self.rng.random() < 0.2:
            check_books(self.live)

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
        self.clock.jump_wall(self.rng.choice([-90_000.0, -3600.0, -5.0, 5.0, 3600.0, 90_000.0]))
        for book in self.books.values():
            book.not_before = None

    def fill_disk(self) -> None:
        """Another program takes the disk's room, or gives it back."""
        self.room.bytes = self.rng.choice([0, 100 << 10, 1 << 30, 1 << 30])
        self._note("room", self.room.bytes)

    def fail_disk(self) -> None:
        """Writes meet a full disk for a while, or a sync fails."""
        self.figures.disk_faults += 1
        if self.rng.random() < 0.6:
            self.disk.fail("write", "enospc", after=self.rng.randrange(20), times=self.rng.choice([1, 3]))
            self._note("enospc")
        else:
            self.disk.fail("sync", "eio", after=self.rng.randrange(6), times=1)
            self._note("eio")
        self._faulty = True

    def _arm_stop(self) -> None:
        self._faulty = False
        if self.rng.random() < 0.6:
            how = self.rng.choice(["crash", "cut_power"])
            self.disk.stop_after(self.rng.randrange(1, 600), how, self._next)  # type: ignore[arg-type]

    def _damage(self, directory: Path) -> None:
        waiting = [e for e in self.submitted if e.receipt and e.receipt.seq > self.books["first"].cursor]
        event = flip_record_bit(directory, waiting, self.rng)
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

    def _salvage(self) -> SimDisk:
        if self.disk.successor is None:
            return self._fall(self.rng.choice(["crash", "cut_power"]))
        self._note("end", "in the midst")
        self.figures.power_cuts += 1
        self._lose_replies()
        return self.disk.successor

    def _lose_replies(self) -> None:
        # A request that was under way may have arrived although nobody heard the answer.
        for sim in self.live.lanes.values() if self.machine else ():
            if sim.in_flight is not None and self.rng.random() < 0.5:
                self.live.send(sim)
        self.waiting.clear()

    def _stop_in_order(self) -> None:
        self._note("end", "stop")
        self.figures.stops += 1
        self.live.request_stop(20.0)
        self._guard(self.live.flush)
        hold("a stop answers everybody", not self.waiting, len(self.waiting))
        for name, sim in self.live.lanes.items():
            for _ in range(_DRAIN_STEPS):
                if sim.is_done:
                    break
                self._guard(lambda name=name, sim=sim: self._step_lane(name, sim))  # type: ignore[misc]
                if sim.in_flight is None and sim.wake_at > self.clock.now:
                    self.clock.advance(sim.wake_at - self.clock.now)
            hold("the final flush ends", sim.is_done, name)
        self._guard(self.live.close)

    def _abandon(self) -> None:
        # The kernel closes what a dead process had open.
        if self.machine is not None:
            with suppress(SpooldError, sqlite3.Error):
                self.machine.close()
        self.machine = None
        gc.collect(0)

    def _finale(self) -> None:
        self._faulty = False
        self.room.bytes = 1 << 30
        for service in self.services.values():
            service.mood = "well"
        self._drain()
        event = make_event(len(self.submitted), random.Random(0), self.clock)
        self.submitted.append(event)
        self._guard(lambda: self.live.spool.trim(1))
        self.waiting.append(Waiting([event], self.live.spool.append([event.draft])))
        self._guard(self.live.flush)
        hold("a fresh event is accepted", event.receipt is not None)
        self._drain()
        check_books(self.live)
        self._check_all_delivered(event)

    def _drain(self) -> None:
        for _ in range(_DRAIN_STEPS):
            if not any(state.pending for state in self.live.spool.lanes()):
                return
            for name, sim in self.live.lanes.items():
                self._guard(lambda name=name, sim=sim: self._step_lane(name, sim))  # type: ignore[misc]
            self.clock.advance(2.0)
        hold("everything drains", False, [(s.name, s.pending, s.retry) for s in self.live.spool.lanes()])

    def _check_all_delivered(self, fresh: Submitted) -> None:
        hold("a fresh event passes", fresh.number in self.services["first"].taken)
        states = self.live.spool.lanes()
        self.figures.delivered = sum(state.delivered for state in states)
        self.figures.dead = sum(state.dead for state in states)
        taken = self.services["first"].taken
        check_dead_letters(self.live, self.submitted)
        for service in self.services.values():
            check_contents(service, self.submitted)
        spared = [e for e in self.submitted if not e.is_poison and not e.is_damaged]
        lost = [e.number for e in spared if e.receipt and e.number not in taken]
        hold("I2: every acknowledged event arrives", not lost, lost)
        ghosts = [e.number for e in self.submitted if e.is_refused and e.number in taken]
        hold("a refused event was not stored", not ghosts, ghosts)

    def _note(self, *words: object) -> None:
        self.trace.note(self.clock.now, *words)
