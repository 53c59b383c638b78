"""What moves a lane, each as a function of the writer's transaction."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from spoold.errors import LeaseLostError, UnknownLaneError
from spoold.spool.contract import DeadLetter, LaneState, Lease, Settlement, Start
from spoold.spool.rows import Gap, LaneRow
from spoold.spool.statements import SQL
from spoold.spool.transaction import Transaction

_T = TypeVar("_T")

#: The reason of a dead letter whose record failed its checksum.
DAMAGED = "damaged"


def open_lane(tx: Transaction, name: str, kind: str, start: Start) -> LaneState:
    """Make the lane exist and accrue; see the seam."""
    lane, spool = tx.lanes.get(name), tx.spool
    if lane is None:
        if start == "latest":
            cursor, opened_at = spool.last_seq, spool.accepted
        else:
            first = tx.connection.execute(SQL["seq_bounds"]).fetchone()[0]
            cursor, opened_at = (spool.last_seq if first is None else first - 1), spool.trimmed
        lane = LaneRow(
            name, kind, is_closed=0, epoch=0, opened_seq=cursor, cursor=cursor, opened_at=opened_at,
            closed_seq=0, accrued=0,
        )  # fmt: skip
    elif lane.is_closed:
        missed = Gap(lane.closed_seq, spool.last_seq, spool.accepted - lane.opened_at, spool.accepted)
        gaps = lane.gaps
        if missed.upto > missed.after:
            gaps = (*gaps, missed)
            tx.connection.execute(SQL["save_gap"], (name, *missed))
        lane = replace(lane, kind=kind, is_closed=0, opened_at=spool.accepted, gaps=gaps)
    elif lane.kind != kind:
        lane = replace(lane, kind=kind)
    else:
        return lane.state(spool)
    return tx.save_lane(lane)


def close_lane(tx: Transaction, name: str) -> LaneState:
    """The lane accrues nothing more; see the seam."""
    lane, spool = find_row(tx.lanes, name), tx.spool
    if lane.is_closed:
        return lane.state(spool)
    return tx.save_lane(
        replace(
            lane,
            is_closed=1,
            accrued=lane.accepted(spool),
            opened_at=spool.accepted,
            closed_seq=spool.last_seq,
        )
    )


def claim(tx: Transaction, name: str) -> Lease:
    """Raise the lane's epoch; see the seam."""
    lane = find_row(tx.lanes, name)
    tx.save_lane(replace(lane, epoch=lane.epoch + 1))
    return Lease(name, lane.epoch + 1)


def settle(tx: Transaction, lease: Lease, settlement: Settlement, now_ms: int) -> LaneState:
    """Cursor, counters, set-aside and ledger, all in this transaction; see the seam."""
    lane = find_row(tx.lanes, lease.lane)
    if lane.epoch != lease.epoch:
        raise LeaseLostError(f"lane {lane.name} is at epoch {lane.epoch}, not {lease.epoch}")
    if lane.last_settlement == settlement.id:
        return lane.state(tx.spool)
    if lane.cursor != settlement.after:
        raise LeaseLostError(f"lane {lane.name} stands at {lane.cursor}, not {settlement.after}")
    moved = settlement.delivered + settlement.filtered + len(settlement.dead)
    _check_bounds(tx, lane, settlement, moved)
    for letter in settlement.dead:
        _set_aside(tx, lane.name, letter, now_ms)
    tx.connection.execute(
        SQL["add_ledger"],
        (
            lane.name, settlement.after, settlement.upto, now_ms, settlement.took_ms, settlement.status,
            settlement.outcome, settlement.delivered, len(settlement.dead), settlement.filtered,
        ),
    )  # fmt: skip
    retry = settlement.retry
    return tx.save_lane(
        replace(
            lane,
            cursor=settlement.upto,
            delivered=lane.delivered + settlement.delivered,
            dead=lane.dead + len(settlement.dead),
            filtered=lane.filtered + settlement.filtered,
            failures=retry.failures,
            is_stopped=int(retry.is_stopped),
            wait_ms=retry.wait_ms,
            not_before_ms=retry.not_before_ms,
            last_error=retry.last_error,
            last_error_at_ms=retry.last_error_at_ms,
            last_settlement=settlement.id,
        )
    )


def find_row(rows: Mapping[str, _T], name: str) -> _T:
    """What is kept under a lane's name.

    Raises:
        UnknownLaneError: There is none.
    """
    lane = rows.get(name)
    if lane is None:
        raise UnknownLaneError(f"no lane is named {name!r}; there are: {', '.join(sorted(rows)) or 'none'}")
    return lane


def _check_bounds(tx: Transaction, lane: LaneRow, settlement: Settlement, moved: int) -> None:
    # A caller's mistake here would lose or count events twice (I2): better no commit at all. These hold whatever the
    # caller thinks, and cost nothing.
    after, upto, pending = settlement.after, settlement.upto, lane.pending(tx.spool)
    end = lane.closed_seq if lane.is_closed else tx.spool.last_seq
    is_possible = after <= upto <= tx.spool.last_seq and min(settlement.delivered, settlement.filtered) >= 0
    if not is_possible or moved > (pending if upto > after else 0):
        raise ValueError(f"lane {lane.name} can't settle {moved} of {pending} pending up to {upto}")
    if upto >= end and moved != pending:
        raise ValueError(f"lane {lane.name} would pass {pending} pending events and account for {moved}")
    dead = {letter.seq for letter in settlement.dead}
    if len(dead) < len(settlement.dead) or not all(after < seq <= upto for seq in dead):
        raise ValueError(f"lane {lane.name} can't set aside {sorted(dead)} between {after} and {upto}")


def _set_aside(tx: Transaction, lane: str, letter: DeadLetter, now_ms: int) -> None:
    execute = tx.connection.execute
    is_new_damage = letter.reason == DAMAGED and execute(SQL["is_known_damaged"], (letter.seq,)).fetchone() is None
    added = execute(
        SQL["add_set_aside"], (lane, letter.reason, letter.status, letter.attempts, now_ms, letter.seq)
    ).rowcount
    if added != 1:
        raise ValueError(f"lane {lane} can't set aside event {letter.seq}: it is not in the journal")
    size = execute(SQL["set_aside_bytes"], (lane, letter.seq)).fetchone()[0]
    tx.spool = tx.spool._replace(dead_bytes=tx.spool.dead_bytes + size, damaged=tx.spool.damaged + int(is_new_damage))
