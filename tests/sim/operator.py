"""Somebody at the desk of the simulated world: pauses, resumes, flushes, sends again, thinks better of it."""

import random
from collections.abc import Mapping
from contextlib import suppress

from spoold.errors import SpoolFullError
from spoold.spool.values import Command, Replay, Selection
from tests.sim.machine import Machine
from tests.sim.parts import SimClock, Trace
from tests.sim.watch import LaneWatch

_WORDS: tuple[Command, ...] = ("pause", "resume", "resume", "flush")


class Operator:
    """Says what comes to mind, to whichever lane is there."""

    def __init__(self, rng: random.Random, clock: SimClock, trace: Trace, watches: Mapping[str, LaneWatch]) -> None:
        self._rng = rng
        self._clock = clock
        self._trace = trace
        self._watches = watches

    def act(self, machine: Machine) -> None:
        """One word, one replay, or the end of one; where the disk has no room at all, nothing comes of it."""
        with suppress(SpoolFullError):
            self._act(machine)

    def _act(self, machine: Machine) -> None:
        name = self._rng.choice(list(machine.lanes))
        match self._rng.randrange(4):
            case 0 | 1:
                self.say(machine, name, self._rng.choice(_WORDS))
            case 2:
                self.send_again(machine, self._selection(name))
            case _:
                self._cancel(machine)

    def say(self, machine: Machine, name: str, word: Command) -> None:
        """A word to a lane. Whether it was heard is known when this returns."""
        self._trace.note(self._clock.now, "operator", name, word)
        self._watches[name].telling()
        machine.spool.command(name, word)
        self._watches[name].told(word)
        machine.lanes[name].wake_at = self._clock.now

    def resume_all(self, machine: Machine) -> None:
        """No lane is paused any more."""
        for state in machine.spool.lanes():
            if state.is_paused and not state.is_closed:
                self.say(machine, state.name, "resume")

    def send_again(self, machine: Machine, selection: Selection) -> Replay:
        """Begin a replay."""
        replay = machine.spool.start_replay(selection)
        self._trace.note(self._clock.now, "operator", selection.lane, "replay", replay.id, selection.is_dead)
        machine.lanes[selection.lane].wake_at = self._clock.now
        return replay

    def _selection(self, name: str) -> Selection:
        since_ms = self._clock.wall_ms() - self._rng.choice([1_000, 60_000, 10_000_000])
        return Selection(
            name,
            is_dead=self._rng.random() < 0.5,
            since_ms=self._rng.choice([None, since_ms]),
            event_names=self._rng.choice([(), (), ("event 1", "event 2")]),
        )

    def _cancel(self, machine: Machine) -> None:
        running = [replay.id for replay in machine.spool.replays() if replay.state == "running"]
        if running:
            number = self._rng.choice(running)
            self._trace.note(self._clock.now, "operator", "cancels", number)
            machine.spool.cancel_replay(number)
