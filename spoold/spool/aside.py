"""Events that leave a lane's way: deferred ones, which stay pending, and dead letters. In the writer's transaction."""

from collections import Counter
from typing import NamedTuple

from spoold.errors import ImpossibleSettlementError
from spoold.spool.rows import LaneRow
from spoold.spool.statements import SQL
from spoold.spool.trail import AsideChange
from spoold.spool.transaction import Transaction
from spoold.spool.values import DAMAGED, DeadLetter, Deferred, Settlement


class Moved(NamedTuple):
    """By how much a lane's counters change."""

    dead: int = 0
    deferred: int = 0

    def plus(self, other: "Moved") -> "Moved":
        """Both together."""
        return Moved(self.dead + other.dead, self.deferred + other.deferred)


def check_aside(tx: Transaction, lane: LaneRow, settlement: Settlement) -> None:
    """Raise ImpossibleSettlementError for what can't be moved: nothing is written then."""
    fates: list[DeadLetter | Deferred] = [*settlement.dead, *settlement.deferred]
    seqs = [fate.seq for fate in fates] + [*settlement.released]
    if any(count > 1 for count in Counter(seqs).values()):
        raise ImpossibleSettlementError(f"lane {lane.name} has two fates for one event among {sorted(seqs)}")
    from_ahead = {fate.seq for fate in fates if fate.seq > settlement.after}
    may_be_dead = {fate.seq for fate in settlement.deferred}
    for seq in seqs:
        if seq in from_ahead:
            has_record = tx.connection.execute(SQL["has_record"], (seq,)).fetchone() is not None
            is_there = has_record and not lane.is_missed(seq)
        else:
            kind = _kind(tx, lane.name, seq)
            is_there = kind == "deferred" or (kind == "dead" and seq in may_be_dead)
        if not is_there:
            raise ImpossibleSettlementError(f"lane {lane.name} can't move event {seq}: it is neither ahead nor aside")


def set_aside(tx: Transaction, lane: str, settlement: Settlement, now_ms: int) -> Moved:
    """Carry out what a settlement says of single events."""
    moved = Moved()
    for letter in settlement.dead:
        moved = moved.plus(_bury(tx, lane, letter, now_ms, is_ahead=letter.seq > settlement.after))
    for deferred in settlement.deferred:
        moved = moved.plus(_defer(tx, lane, deferred, now_ms, is_ahead=deferred.seq > settlement.after))
    for seq in settlement.released:
        tx.connection.execute(SQL["release_deferred"], (lane, seq))
        tx.aside.append(AsideChange(lane, seq, dead=0, deferred=-1, dead_bytes=0))
    return moved.plus(Moved(deferred=-len(settlement.released)))


def revive(tx: Transaction, lane: str, seq: int, now_ms: int) -> Moved:
    """Make a dead letter pending again, due at once; nothing when it is none any more."""
    if _kind(tx, lane, seq) != "dead":
        return Moved()
    _note(tx, lane, seq, dead=-1, deferred=1)
    tx.connection.execute(SQL["revive_dead"], (now_ms, lane, seq))
    return Moved(dead=-1, deferred=1)


def _bury(tx: Transaction, lane: str, letter: DeadLetter, now_ms: int, *, is_ahead: bool) -> Moved:
    execute = tx.connection.execute
    if letter.reason == DAMAGED and execute(SQL["is_known_damaged"], (letter.seq,)).fetchone() is None:
        tx.spool = tx.spool._replace(damaged=tx.spool.damaged + 1)
    values = (letter.reason, letter.status, letter.attempts, now_ms)
    if is_ahead:
        execute(SQL["add_dead"], (lane, *values, letter.seq))
    else:
        execute(SQL["bury_deferred"], (*values, lane, letter.seq))
    _note(tx, lane, letter.seq, dead=1, deferred=0 if is_ahead else -1)
    return Moved(dead=1, deferred=0 if is_ahead else -1)


def _defer(tx: Transaction, lane: str, fate: Deferred, now_ms: int, *, is_ahead: bool) -> Moved:
    execute = tx.connection.execute
    if is_ahead:
        execute(
            SQL["add_deferred"],
            (
                lane, fate.reason, fate.status, fate.attempts, now_ms, fate.not_before_ms, fate.wait_ms, fate.failures,
                fate.seq,
            ),
        )  # fmt: skip
        _note(tx, lane, fate.seq, dead=0, deferred=1)
        return Moved(deferred=1)
    was_dead = _kind(tx, lane, fate.seq) == "dead"
    if was_dead:
        _note(tx, lane, fate.seq, dead=-1, deferred=1)
    execute(
        SQL["defer_again"],
        (
            fate.reason, fate.status, fate.attempts, fate.not_before_ms, fate.wait_ms, fate.failures, lane, fate.seq,
        ),
    )  # fmt: skip
    return Moved(dead=-1, deferred=1) if was_dead else Moved()


def _kind(tx: Transaction, lane: str, seq: int) -> str | None:
    row = tx.connection.execute(SQL["aside"], (lane, seq)).fetchone()
    return None if row is None else str(row[0])


def _note(tx: Transaction, lane: str, seq: int, *, dead: int, deferred: int) -> None:
    dead_bytes = 0
    if dead:
        dead_bytes = dead * int(tx.connection.execute(SQL["aside"], (lane, seq)).fetchone()[1])
        tx.spool = tx.spool._replace(dead_bytes=tx.spool.dead_bytes + dead_bytes)
    tx.aside.append(AsideChange(lane, seq, dead, deferred, dead_bytes))
