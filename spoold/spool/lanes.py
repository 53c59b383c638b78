"""What moves a lane, each as a function of the writer's transaction."""

from dataclasses import replace

from spoold.errors import ImpossibleSettlementError, LaneClosedError, LeaseLostError
from spoold.spool.aside import check_aside, set_aside
from spoold.spool.replays import advance_replay, check_step
from spoold.spool.rows import Gap, LaneRow, find_row, read_seqs, write_seqs
from spoold.spool.statements import SQL
from spoold.spool.transaction import Transaction
from spoold.spool.values import PLANNED, Command, DeadLetter, Deferred, LaneState, Lease, Settlement, Start


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
            if gaps and gaps[-1].upto == missed.after and gaps[-1].opened_at == lane.opened_at:
                # Nothing was accepted between the two: one gap, however often the lane was closed in it.
                missed = Gap(gaps[-1].after, missed.upto, gaps[-1].events + missed.events, missed.opened_at)
                gaps = gaps[:-1]
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
    """Cursor, counters, set-aside, replay and ledger, all in this transaction; see the seam."""
    lane = find_row(tx.lanes, lease.lane)
    if lane.epoch != lease.epoch:
        raise LeaseLostError(f"lane {lane.name} is at epoch {lane.epoch}, not {lease.epoch}")
    if lane.last_settlement == settlement.id:
        return lane.state(tx.spool)
    if lane.cursor != settlement.after:
        raise LeaseLostError(f"lane {lane.name} stands at {lane.cursor}, not {settlement.after}")
    _check_bounds(tx, lane, settlement)
    check_aside(tx, lane, settlement)
    if settlement.replay is not None:
        check_step(tx, lane.name, settlement.replay)
    moved = set_aside(tx, lane.name, settlement, now_ms)
    if settlement.replay is not None:
        moved = moved.plus(advance_replay(tx, settlement.replay, now_ms))
    delivered = settlement.delivered + len(settlement.released) - settlement.released_filtered
    filtered = settlement.filtered + settlement.released_filtered
    # One that decides which events share a batch may carry what was known by then.
    if settlement.outcome != PLANNED or settlement.moves:
        tx.connection.execute(
            SQL["add_ledger"],
            (
                tx.trail.next_ledger_id(), lane.name, settlement.after, settlement.upto, now_ms, settlement.took_ms,
                settlement.status, settlement.outcome, delivered, moved.dead, filtered, settlement.purged,
            ),
        )  # fmt: skip
    retry = settlement.retry
    batches = read_seqs(lane.batches) if settlement.batches is None else settlement.batches
    return tx.save_lane(
        replace(
            lane,
            cursor=settlement.upto,
            delivered=lane.delivered + delivered,
            dead=lane.dead + moved.dead,
            filtered=lane.filtered + filtered,
            purged=lane.purged + settlement.purged,
            deferred=lane.deferred + moved.deferred,
            accepts_dead=int(lane.accepts_dead and not delivered),
            failures=retry.failures,
            is_stopped=int(retry.is_stopped),
            wait_ms=retry.wait_ms,
            not_before_ms=retry.not_before_ms,
            last_error=retry.last_error,
            last_error_at_ms=retry.last_error_at_ms,
            last_settlement=settlement.id,
            batches=write_seqs(seq for seq in batches if seq > settlement.upto),
        )
    )


def command(tx: Transaction, name: str, word: Command) -> LaneState:
    """Store an operator's word; see the seam."""
    lane = find_row(tx.lanes, name)
    if lane.is_closed:
        raise LaneClosedError(f"lane {name} is closed: it is not in the configuration, so nothing can be sent")
    match word:
        case "pause":
            lane = replace(lane, is_paused=1)
        case "flush":
            lane = replace(lane, flushes=lane.flushes + 1)
        case "resume":
            lane = replace(lane, is_paused=0, flushes=lane.flushes + 1)
        case "accept_dead":
            lane = replace(lane, is_paused=0, flushes=lane.flushes + 1, accepts_dead=1)
    return tx.save_lane(lane)


def _check_bounds(tx: Transaction, lane: LaneRow, settlement: Settlement) -> None:
    # A caller's mistake here would lose or count events twice (I2): better no commit at all. These hold whatever the
    # caller thinks, and cost nothing.
    after, upto, ahead = settlement.after, settlement.upto, lane.ahead(tx.spool)
    end = lane.closed_seq if lane.is_closed else tx.spool.last_seq
    numbers = (settlement.delivered, settlement.filtered, settlement.purged)
    fates: list[DeadLetter | Deferred] = [*settlement.dead, *settlement.deferred]
    aside = [fate.seq for fate in fates if fate.seq > after]
    moved = sum(numbers) + len(aside)
    is_possible = after <= upto <= end and min(numbers) >= 0
    is_possible = is_possible and 0 <= settlement.released_filtered <= len(settlement.released)
    if not is_possible or moved > (ahead if upto > after else 0):
        raise ImpossibleSettlementError(f"lane {lane.name} can't settle {moved} of {ahead} pending up to {upto}")
    # Also where nothing but what it missed is left behind.
    if lane.front_of(upto) >= end and moved != ahead:
        raise ImpossibleSettlementError(f"lane {lane.name} would pass {ahead} pending events and account for {moved}")
    if any(seq > upto for seq in aside):
        raise ImpossibleSettlementError(f"lane {lane.name} can't set aside {sorted(aside)} between {after} and {upto}")
