"""In which order one lane's events go out, and in whose company."""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from spoold.delivery.batch import Call
from spoold.delivery.sender import Attempt
from spoold.providers.base import Delivered, Retry
from tests.sim.machine import Machine, SimLane
from tests.sim.oracles import is_hidden_at, is_intact_at
from tests.sim.parts import hold

#: Of a record: the id, the time of receipt, and the tag of what follows, which tells events from profiles.
_HEAD_BYTES = 40
_TIME_AT = 19
_PROFILE_TAG = 0x22


@dataclass
class Passage:
    """What was seen on the way.

    Attributes:
        strayed: Seqs that this life's answers have put elsewhere: refused, put off, divided.
        company: Of a lane that keeps its batches: with whom each event was last sent.
    """

    name: str
    strayed: set[int] = field(default_factory=set)
    company: dict[int, tuple[int, ...]] = field(default_factory=dict)
    _successes: int = 0
    _failed_at: dict[tuple[int, ...], int] = field(default_factory=dict)

    def opened(self) -> None:
        """A life begins."""
        self.strayed.clear()
        self._failed_at.clear()

    def rebase(self) -> None:
        """The lane is another one."""
        self.opened()
        self.company.clear()

    def check_send(
        self, machine: Machine, sim: SimLane, call: Call, *, told: AbstractSet[int], gaps: Iterable[tuple[int, int]]
    ) -> None:
        """A call of events on the lane's way goes out.

        Args:
            told: What the lane knows in this life to be taken.
            gaps: Stretches (after, upto] that were accepted while it was closed.
        """
        self._check_order(machine, sim, call, told, gaps)
        if sim.service.dialect.keeps_batches:
            self._check_company(machine, call)

    def _check_order(
        self, machine: Machine, sim: SimLane, call: Call, told: AbstractSet[int], gaps: Iterable[tuple[int, int]]
    ) -> None:
        """What must keep its place waits for all before it on its route, and all behind it wait for that."""
        row = machine.store.state.lanes[self.name]
        if row.failures or row.is_stopped:
            # Another than the head may be tried then, to find out whom to blame.
            return
        sent = {item.seq for item in call.items}
        rows = machine.store.connection.execute(
            "SELECT _id, substr(data, 1, ?) FROM queue_journal WHERE _id > ? AND _id <= ? AND _id NOT IN"
            " (SELECT seq FROM set_aside WHERE lane = ?)",
            (_HEAD_BYTES, max(row.cursor, row.opened_seq), max(sent), self.name),
        )
        are_profiles = {seq: _is_profile(head) for seq, head in rows}
        hold("I2: what is sent is still in the journal", sent <= are_profiles.keys(), self.name, sorted(sent)[:9])
        waiting = are_profiles.keys() - sent - told - self.strayed
        waiting = {seq for seq in waiting if not any(after < seq <= upto for after, upto in gaps)}
        profiles = {seq for seq in sent if are_profiles[seq]}
        if sim.service.dialect.has_profile_route:
            waiting = {seq for seq in waiting if are_profiles[seq] == bool(profiles)}
        last, last_profile = max(sent), max(profiles, default=0)
        passed = {seq for seq in waiting if seq < last_profile or (are_profiles[seq] and seq < last)}
        # What is kept back, or can't be read, waits for nobody.
        passed = {seq for seq in passed if is_intact_at(machine, seq) and not is_hidden_at(machine, self.name, seq)}
        hold("a profile keeps its place on its route", not passed, self.name, sorted(sent)[:9], sorted(passed)[:9])

    def _check_company(self, machine: Machine, call: Call) -> None:
        """A receiver knows a batch by its events: until it has answered, they come again as they came."""
        seqs = tuple(item.seq for item in call.items)
        if self.strayed.intersection(seqs):
            return
        for seq in seqs:
            before = self.company.get(seq, seqs)
            if before != seqs:
                before = tuple(one for one in before if is_intact_at(machine, one))
            hold("a kept batch is the same on every attempt", before == seqs, self.name, before, seqs)
            self.company[seq] = seqs

    def answered(self, call: Call, attempt: Attempt, taken: set[int]) -> None:
        """Note an answer before the lane gets it."""
        seqs = tuple(item.seq for item in call.items)
        self._successes += len(taken)
        if isinstance(attempt.outcome, Retry):
            before = self._failed_at.get(seqs)
            self._failed_at[seqs] = self._successes
            if len(seqs) == 1:
                # Others may go on without one that fails alone.
                self.strayed.update(seqs)
            if before is None or before == self._successes:
                return
        # It is divided, or its events are on their own from now on.
        for seq in seqs:
            self.company.pop(seq, None)
        if not (isinstance(attempt.outcome, Delivered) and len(taken) == len(seqs)):
            self.strayed.update(seqs)


def _is_profile(head: bytes) -> bool:
    at = _TIME_AT
    while head[at] & 0x80:
        at += 1
    return head[at + 1] == _PROFILE_TAG
