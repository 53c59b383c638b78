"""How every world ends: the faults are over, everything must drain, and a fresh event pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spoold.spool.values import Selection
from tests.sim.oracles import check_books, check_contents, check_dead_letters, check_desk, is_hidden
from tests.sim.parts import hold
from tests.sim.service import MOODS, Mood

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from tests.sim.ledger import Submitted
    from tests.sim.world import World

#: A lane that gives events up looks every second whether there is room, through an hour that another was told to wait.
_DRAIN_STEPS = 12_000
#: An answer takes at least so long.
_ANSWER_SECONDS = 0.05
#: With a bad key so many turns are enough for a lane to find out, if so many events are pending.
_BAD_KEY_TURNS, _BAD_KEY_EVENTS = 150, 25


def run_finale(world: World) -> None:
    """The last life of a world."""
    live, names = world.live, world.services.keys()
    for service in world.services.values():
        # Where nothing else is sent any more, nobody can tell whom to blame.
        service.chokes = False
    world.guard(lambda: world.operator.resume_all(live))
    _drain_beside(world, world.rng.choice(list(names)), world.rng.choice([*MOODS, "bad_key", "bad_key"]))
    for service in world.services.values():
        service.mood = "well"
    _drain(world, names, "everything drains")
    world.guard(lambda: live.spool.trim(1))
    event = world.clients.submit_fresh(live.spool)
    world.guard(live.flush)
    hold("a fresh event is accepted", event.receipt is not None)
    _drain(world, names, "everything drains")
    _send_everything_again(world, world.rng.choice(list(names)))
    check_books(live)
    world.guard(lambda: check_desk(live))
    _check_all_delivered(world, event)


def _send_everything_again(world: World, name: str) -> None:
    """A replay of the whole journal brings whatever is in it, to a lane that never had it too."""
    service = world.services[name]
    rows = world.live.store.connection.execute("SELECT _id FROM queue_journal").fetchall()
    world.guard(lambda: world.operator.send_again(world.live, Selection(name)))
    _drain(world, {name}, "a replay comes to its end")
    seqs = {seq for (seq,) in rows}
    for event in world.clients.submitted:
        is_here = event.receipt is not None and event.receipt.seq in seqs
        is_spared = not (event.is_poison or event.damaged_seq or is_hidden(event, service))
        is_spared = is_spared and not world.recovery.is_excused(event)
        is_sent = event.number in service.taken
        hold("a replay sends what the journal holds", is_sent or not (is_here and is_spared), name, event.number)


def _drain_beside(world: World, sick: str, mood: Mood) -> None:
    """One service is out of order; the others get theirs all the same."""
    for name, service in world.services.items():
        service.mood = mood if name == sick else "well"
    _drain(world, world.services.keys() - {sick}, "I5: the trouble of one lane is its own")
    if mood == "bad_key":
        live = world.live
        world.guard(lambda: live.spool.trim(1))
        while live.store.state.lanes[sick].pending(live.store.state.spool) < _BAD_KEY_EVENTS:
            world.submit()
            world.guard(live.flush)
        pass_turns(world, _BAD_KEY_TURNS)


def _drain(world: World, names: AbstractSet[str], promise: str) -> None:
    spool = world.live.spool
    for _ in range(_DRAIN_STEPS):
        is_running = any(one.selection.lane in names and one.state == "running" for one in spool.replays())
        is_pending = is_running or any(state.pending for state in spool.lanes() if state.name in names)
        if not is_pending and not world.is_salvaging:
            return
        pass_turns(world, 1)
    hold(promise, False, [(state.name, state.pending, state.retry) for state in spool.lanes()])


def pass_turns(world: World, turns: int) -> None:
    """Each lane's turn when it is due, and time until the next one is."""
    lanes, clock = world.live.lanes, world.clock
    for _ in range(turns):
        world.salvage()
        for name, sim in lanes.items():
            if sim.in_flight:
                world.take_turn(name, answers=True)
            elif sim.wake_at <= clock.now:
                world.take_turn(name, answers=False)
        next_wake = min(sim.wake_at for sim in lanes.values())
        clock.advance(max(_ANSWER_SECONDS, next_wake - clock.now))


def _check_all_delivered(world: World, fresh: Submitted) -> None:
    states = world.live.spool.lanes()
    world.figures.delivered = sum(state.delivered for state in states)
    world.figures.dead = sum(state.dead for state in states)
    submitted, first = world.clients.submitted, world.services["first"]
    hold("a fresh event passes", fresh.number in first.taken)
    check_dead_letters(world.live, submitted, world.services, world.recovery.touched)
    for service in world.services.values():
        check_contents(service, submitted)
    spared = [e for e in submitted if not e.is_poison and not e.damaged_seq and e.number not in first.refused]
    spared = [e for e in spared if not world.recovery.is_excused(e)]
    lost = [e.number for e in spared if e.receipt and e.number not in first.taken]
    hold("I2: every acknowledged event arrives", not lost, lost)
    ghosts = [e.number for e in submitted if e.is_refused and any(e.number in s.taken for s in world.services.values())]
    hold("a refused event was not stored", not ghosts, ghosts)
