"""Damage in the simulated world, and what the program must make of it: quarantine, a new spool, salvage."""

import random
from collections.abc import Callable, Mapping
from pathlib import Path

from spoold.spool.quarantine import mark_damaged
from spoold.spool.salvaged import Salvage
from tests.sim.disk import SimDisk
from tests.sim.ledger import Figures, Submitted
from tests.sim.machine import Machine
from tests.sim.oracles import wants
from tests.sim.parts import hold
from tests.sim.watch import LaneWatch
from tests.sim.wreck import ID_BYTES, Wreck, wreck_dead, wreck_live

#: A world that is damaged is damaged now and then: in some under the running process, in the others between two.
_WORLDS, _LIVE_WORLDS, _STARTS = 0.4, 0.35, 0.5
#: What a run met is known at the next start, wherever the damage is.
_NOTICED = 0.7


class Recovery:
    """What the world knows of damage, over all lives of the daemon.

    Attributes:
        is_on: This world's disk damages spools.
        touched: Ids of events of which some damage may have taken something: they may be lost.
    """

    def __init__(
        self,
        rng: random.Random,
        note: Callable[..., None],
        figures: Figures,
        submitted: list[Submitted],
        watches: Mapping[str, LaneWatch],
    ) -> None:
        self.is_on = rng.random() < _WORLDS
        self._is_live = rng.random() < _LIVE_WORLDS
        self._is_latent = False
        self.touched: set[bytes] = set()
        self._rng = rng
        self._note = note
        self._figures = figures
        self._submitted = submitted
        self._watches = watches
        self._wreck: Wreck | None = None
        self._is_unopened = False
        #: The spool that is there was open before.
        self._is_begun = False
        self._sources: set[str] = set()
        self._wrecks: dict[str, Wreck] = {}
        self._seen: dict[str, set[bytes]] = {}
        self._looked = 0
        #: True time at which the last one was moved aside.
        self._replaced_at = 0.0

    @property
    def is_latent(self) -> bool:
        """The spool in use is damaged, and nobody has noticed."""
        return self._is_latent

    def _note_latent(self, *, is_latent: bool) -> None:
        self._is_latent = is_latent
        for watch in self._watches.values():
            watch.is_damaged = is_latent

    def hurt_dead(self, directory: Path) -> bool:
        """Perhaps damage a spool that nobody has open; whether that was done."""
        if not self.is_on or self._is_live or self._rng.random() >= _STARTS:
            return False
        is_hurt = self._hurt(wreck_dead(directory, self._rng), is_fresh=True)
        if is_hurt and self._rng.random() < _NOTICED:
            mark_damaged(directory, "an earlier run has met it")
        return is_hurt

    def hurt_live(self, disk: SimDisk) -> None:
        """Damage the spool under the running process."""
        if self.is_on and self._is_live:
            self._hurt(wreck_live(disk, self._rng), is_fresh=False)

    def _hurt(self, wreck: Wreck | None, *, is_fresh: bool) -> bool:
        if wreck is None:
            return False
        self._note("damage", len(wreck.touched), wreck.is_log_hit, wreck.knows_facts)
        self._figures.damages += 1
        # What is hit twice is known only in part.
        wreck.is_exact = is_fresh and not self.is_latent
        self._is_unopened = is_fresh
        self._wreck = wreck
        self._note_latent(is_latent=True)
        self.touched |= wreck.touched
        return True

    def is_excused(self, event: Submitted) -> bool:
        """Whether damage may have taken it."""
        return event.draft.event_id in self.touched

    def opened(self, machine: Machine) -> None:
        """A spool is open: the one that was there, or a new one in its place."""
        salvages = machine.store.salvages()
        fresh = [one for one in salvages if one.source not in self._sources]
        if fresh or machine.quarantined is not None:
            self._replaced(machine, fresh)
        elif self.is_latent and self._wreck is not None:
            self._overlooked(machine, self._wreck)
        self._is_begun = True
        self._sources |= {one.source for one in salvages}
        if salvages:
            self._look(machine)
            self._check_done(machine)

    def _replaced(self, machine: Machine, fresh: list[Salvage]) -> None:
        reasons = [one.reason for one in fresh]
        self._note("quarantined", reasons)
        # What a first start that was cut short leaves behind can't be told from a spool that was emptied.
        is_sound = not self.is_latent and (self._is_begun or not all("is empty" in reason for reason in reasons))
        hold("a healthy spool is never moved", not is_sound, reasons)
        hold("what is moved aside is to be salvaged", bool(fresh), machine.quarantined)
        self._is_unopened = False
        self._note_latent(is_latent=False)
        self._figures.quarantines += len(fresh)
        for event in self._submitted:
            event.is_adrift = event.receipt is not None
            if event.damaged_seq is not None and event.draft.event_id is not None:
                # Whether it was set aside by then, or its record is dropped now: nobody gets it.
                self.touched.add(event.draft.event_id)
                event.damaged_in.clear()
        for watch in self._watches.values():
            watch.rebase(machine)
        self._wrecks.clear()
        self._looked = 0
        self._replaced_at = machine.clock.now
        if self._wreck is not None and self._wreck.is_exact and len(fresh) == 1:
            self._wrecks[fresh[0].source] = self._wreck
            self._seen[fresh[0].source] = set()
            if self._wreck.knows_facts:
                lanes = machine.store.state.lanes
                lost = {name for name in self._wreck.paused if not lanes[name].is_paused}
                hold("an operator's pause outlives the damage", not lost, lost)
        self._wreck = None

    def _overlooked(self, machine: Machine, wreck: Wreck) -> None:
        """It opened as if nothing were wrong. The end of a log may be gone in silence, and nothing else."""
        last_seq = machine.store.state.spool.last_seq
        if self._is_unopened:
            is_kept = wreck.is_log_hit or last_seq >= wreck.last_seq
            hold("what the damage did not touch is there", is_kept, wreck.last_seq, last_seq)
            hold("a log that is damaged in its midst is noticed", not wreck.is_midst_hit, wreck.last_seq, last_seq)
            if wreck.is_log_hit:
                # Still damaged: what is gone of it may have been checkpointed, and pages of two moments don't fit.
                self._forget(machine, last_seq)
        self._is_unopened = wreck.is_exact = False

    def _forget(self, machine: Machine, last_seq: int) -> None:
        for event in self._submitted:
            if event.receipt is not None and event.receipt.seq > last_seq:
                event.receipt = None
        for watch in self._watches.values():
            watch.rebase(machine)

    def stepped(self, machine: Machine) -> None:
        """The salvage has gone on, or something is about to be forgotten."""
        if self._sources:
            for watch in self._watches.values():
                watch.note_gaps(machine)
            self._look(machine)
            self._check_done(machine)

    def _look(self, machine: Machine) -> None:
        """Who has come over since the last look?"""
        rows = machine.store.connection.execute(
            "SELECT _id, data FROM queue_journal WHERE _id > ? ORDER BY _id", (self._looked,)
        ).fetchall()
        if not rows:
            return
        known = {event.draft.event_id: event for event in self._submitted if event.receipt is not None}
        for seq, data in rows:
            event = known.get(data[ID_BYTES])
            self._check_restored(machine, seq, data, event)
            if event is not None and event.receipt is not None and event.is_adrift:
                event.seqs.add(event.receipt.seq)
                event.receipt = event.receipt._replace(seq=seq)
                event.is_adrift = False
                self._figures.salvaged += 1
        self._looked = rows[-1][0]

    def _check_restored(self, machine: Machine, seq: int, data: bytes, event: Submitted | None) -> None:
        event_id = data[ID_BYTES]
        for source, wreck in self._wrecks.items():
            record = wreck.records.get(event_id)
            if record is None:
                continue
            self._seen[source].add(event_id)
            if data != record or (event is not None and event.handed_in_at >= self._replaced_at):
                # Handed in once more before it was brought over: the same event, received at another time.
                is_same = event is not None and event.draft.body in data
                hold("I3: what is salvaged is what was accepted", is_same, seq, data, record)
                continue
            lanes = machine.store.state.lanes.values()
            got, wanted = {lane.name for lane in lanes if wants(lane, seq)}, wreck.wanted[event_id]
            is_sure = wreck.knows_facts and event_id not in wreck.touched
            # Seen late, after a restart, it may be behind a cursor. A lane of which nothing is known, and that is
            # closed by now, gets nothing.
            missing = {lane.name for lane in lanes if lane.name in wanted - got and lane.cursor < seq}
            missing -= set() if wreck.knows_facts else {lane.name for lane in lanes if lane.is_closed}
            hold("what is salvaged is pending where it was", not missing, seq, missing, wanted, got)
            hold(
                "I4: what is salvaged goes to nobody who was done with it",
                not is_sure or got <= wanted,
                seq,
                got,
                wanted,
            )

    def _check_done(self, machine: Machine) -> None:
        for salvage in machine.store.salvages():
            wreck = self._wrecks.get(salvage.source)
            if salvage.is_running or wreck is None:
                continue
            del self._wrecks[salvage.source]
            missing = {one for one, lanes in wreck.wanted.items() if "first" in lanes} - self._seen[salvage.source]
            readable = missing - wreck.touched
            hold("what was readable is salvaged", not readable, len(readable), salvage)
            if wreck.knows_facts:
                # What stood aside is counted apart from the journal.
                hit = len(wreck.touched & wreck.seqs.keys()) + sum(one in wreck.touched for one in wreck.deferred)
                hold("what was lost is told", len(missing) <= salvage.lost, len(missing), salvage)
                hold("only what the damage touched is lost", salvage.lost <= hit, hit, salvage)
