"""What became of each event in one lane, counted by the world and held against the lane's own counters."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from spoold.delivery.batch import Call
from spoold.delivery.sender import Attempt
from spoold.providers.base import Delivered, Retry
from spoold.spool.rows import LaneRow
from spoold.spool.values import DAMAGED
from tests.sim.machine import Machine
from tests.sim.oracles import Passed
from tests.sim.parts import hold

#: An event that fails alone is given up after so often, each time with another one delivered since (design: whom to
#: blame).
_LONE_FAILURES = 5
_SERVER_ERRORS = 500


@dataclass
class LoneFailures:
    """How often an event failed alone, and how many others had been delivered when it last did."""

    count: int
    delivered: int


@dataclass
class Fates:
    """One lane's events over all lives of the daemon.

    Attributes:
        told: What the lane was told in this life that its service took.
        delivered: Events whose fate that is; likewise ``filtered`` and ``purged``.
        aside: What stands aside: kind and reason by seq.
    """

    name: str
    told: set[int] = field(default_factory=set)
    delivered: int = 0
    filtered: int = 0
    purged: int = 0
    aside: dict[int, tuple[str, str]] = field(default_factory=dict)
    _row: LaneRow | None = None
    _successes: int = 0
    _lone: dict[int, LoneFailures] = field(default_factory=dict)
    _last_failed: set[int] = field(default_factory=set)
    _due_at: dict[int, tuple[object, float]] = field(default_factory=dict)

    def rebase(self, row: LaneRow | None) -> None:
        """The lane is another: what it says is taken as it is."""
        self.told.clear()
        self._lone.clear()
        self._last_failed.clear()
        self._due_at.clear()
        self._row = None
        self.aside = {}
        self.delivered, self.filtered, self.purged = (
            (0, 0, 0) if row is None else (row.delivered, row.filtered, row.purged)
        )

    def opened(self) -> None:
        """A life begins: what the lane was told and had not settled is forgotten."""
        self.told.clear()

    def answered(self, call: Call, attempt: Attempt, taken: AbstractSet[int]) -> None:
        """Note an answer before the lane gets it."""
        self.told |= taken
        seqs = {item.seq for item in call.items}
        is_failure = isinstance(attempt.outcome, Retry)
        is_to_blame = is_failure and (attempt.status is None or attempt.status >= _SERVER_ERRORS)
        self._last_failed = self._last_failed | seqs if is_to_blame else self._last_failed - seqs
        if isinstance(attempt.outcome, Delivered):
            self._successes += len(taken)
        elif is_to_blame and len(seqs) == 1:
            (seq,) = seqs
            before = self._lone.get(seq)
            if before is None or self._successes > before.delivered:
                self._lone[seq] = LoneFailures(1 if before is None else before.count + 1, self._successes)

    def hurry(self) -> None:
        """Nobody who stands aside has to wait any more."""
        self._due_at = {seq: (key, 0.0) for seq, (key, _) in self._due_at.items()}

    def check_due(self, seqs: AbstractSet[int], now: float) -> None:
        """An event that stands aside waits as long as it was put off."""
        for seq in sorted(seqs & self._due_at.keys()):
            due_at = self._due_at[seq][1]
            hold("what stands aside is not sent before its time", now >= due_at - 0.002, self.name, seq, now, due_at)

    def check(self, machine: Machine, passed: Passed) -> None:
        """Each term of I2 by itself, whenever something may have changed."""
        row = machine.store.state.lanes[self.name]
        if row is self._row:
            return
        self._row = row
        rows = machine.store.connection.execute(
            "SELECT seq, kind, reason FROM set_aside WHERE lane = ?", (self.name,)
        ).fetchall()
        aside = {seq: (kind, reason) for seq, kind, reason in rows}
        back = {seq for seq in self.aside.keys() - aside.keys() if self.aside[seq][0] == "deferred"}
        gone = self.aside.keys() - aside.keys() - back
        hold("a dead letter stays where it is", not gone, self.name, sorted(gone))
        on_way = passed.seqs - aside.keys()
        purged = (on_way & passed.given_up) - passed.hidden - self.told
        self.filtered += len(on_way & passed.hidden)
        self.purged += len(purged)
        self.delivered += len(on_way - passed.hidden - purged) + len(back)
        self._check_counters(row, sum(kind == "dead" for kind, _ in aside.values()))
        self._check_buried(aside)
        self.aside = aside
        self._note_waits(machine)

    def _check_counters(self, row: LaneRow, dead: int) -> None:
        for term, counter, counted in (
            ("delivered", row.delivered, self.delivered),
            ("dead", row.dead, dead),
            ("filtered", row.filtered, self.filtered),
            ("purged", row.purged, self.purged),
        ):
            hold(f"I2: {term} is what the world saw", counter == counted, self.name, counter, counted)

    def _check_buried(self, aside: dict[int, tuple[str, str]]) -> None:
        for seq, (kind, reason) in aside.items():
            was_dead = seq in self.aside and self.aside[seq][0] == "dead"
            if kind == "dead" and not was_dead and reason != DAMAGED and seq in self._last_failed:
                count = self._lone[seq].count if seq in self._lone else 0
                hold("an outage is never blamed on an event", count >= _LONE_FAILURES, self.name, seq, count)

    def _note_waits(self, machine: Machine) -> None:
        due_at = {}
        for one in machine.spool.deferred(self.name) if machine.store.state.lanes[self.name].deferred else ():
            key = (one.attempts, one.not_before_ms, one.wait_ms, one.failures)
            known = self._due_at.get(one.seq)
            if known is not None and known[0] == key:
                due_at[one.seq] = known
            else:
                left_ms = min(one.wait_ms, one.not_before_ms - machine.clock.wall_ms())
                due_at[one.seq] = key, machine.clock.now + max(0, left_ms) / 1000
        self._due_at = due_at
