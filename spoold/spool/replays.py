"""Replays: how they start, go on and end, as functions of the transaction."""

from spoold.errors import ImpossibleSettlementError, LaneClosedError, UnknownReplayError
from spoold.spool.aside import Moved, revive
from spoold.spool.rows import RUNNING, LaneRow, ReplayRow, write_seqs
from spoold.spool.selecting import Scope, selection_text
from spoold.spool.statements import SQL
from spoold.spool.transaction import Transaction
from spoold.spool.values import ReplayStep, Selection

#: So many that ended are remembered.
_MAX_ENDED = 100


def start_replay(tx: Transaction, lane: LaneRow, selection: Selection, scope: Scope, now_ms: int) -> ReplayRow:
    """Begin; see the seam. ``scope`` is where to look, as it was found just before.

    Raises:
        LaneClosedError: The lane is not in the configuration.
    """
    if lane.is_closed:
        raise LaneClosedError(f"lane {lane.name} is closed: it is not in the configuration, so nothing can be sent")
    replay = ReplayRow(
        id=max(tx.replays, default=0) + 1,
        lane=lane.name,
        is_dead=int(selection.is_dead),
        selection=selection_text(selection),
        seqs=write_seqs(scope.seqs or ()),
        start=scope.start,
        upto=scope.upto,
        lane_cursor=scope.lane_cursor,
        cursor=scope.start,
        state="done" if scope.is_empty else RUNNING,
        sent=0,
        failed=0,
        revived=0,
        created_at_ms=now_ms,
        finished_at_ms=now_ms if scope.is_empty else None,
    )
    tx.save_replay(replay)
    ended = sorted(number for number, row in tx.replays.items() if row.state != RUNNING)
    for number in ended[:-_MAX_ENDED]:
        tx.connection.execute(SQL["delete_replay"], (number,))
        del tx.replays[number]
    return replay


def cancel_replay(tx: Transaction, number: int, now_ms: int) -> ReplayRow:
    """End it; see the seam."""
    replay = find_replay(tx.replays, number)
    if replay.state == RUNNING:
        replay = replay._replace(state="cancelled", finished_at_ms=now_ms)
        tx.save_replay(replay)
    return replay


def check_step(tx: Transaction, lane: str, step: ReplayStep) -> None:
    """Raise for a step that can't be: nothing is written then.

    Raises:
        UnknownReplayError: The replay ended and was forgotten meanwhile.
        ValueError: It is another lane's, or not where the step begins.
    """
    replay = find_replay(tx.replays, step.id)
    if replay.lane != lane:
        raise ImpossibleSettlementError(f"lane {lane} can't go on with replay {replay.id} of lane {replay.lane}")
    if not replay.cursor <= step.upto <= replay.upto or min(step.sent, step.failed) < 0:
        raise ImpossibleSettlementError(f"lane {lane} can't go on with replay {replay.id} at {replay.cursor} as {step}")


def advance_replay(tx: Transaction, step: ReplayStep, now_ms: int) -> Moved:
    """Count what a lane did for a replay. One that was cancelled meanwhile stays so, with what was sent by then."""
    replay = find_replay(tx.replays, step.id)
    moved = Moved()
    for seq in step.revived if replay.state == RUNNING else ():
        moved = moved.plus(revive(tx, replay.lane, seq, now_ms))
    is_done = step.is_done and replay.state == RUNNING
    tx.save_replay(
        replay._replace(
            cursor=step.upto,
            sent=replay.sent + step.sent,
            failed=replay.failed + step.failed,
            revived=replay.revived + moved.deferred,
            state="done" if is_done else replay.state,
            finished_at_ms=now_ms if is_done else replay.finished_at_ms,
        )
    )
    return moved


def find_replay(replays: dict[int, ReplayRow], number: int) -> ReplayRow:
    """A replay by its number.

    Raises:
        UnknownReplayError: There is none.
    """
    replay = replays.get(number)
    if replay is None:
        raise UnknownReplayError(f"there is no replay {number}; 'spoolctl replays list' shows those that there are")
    return replay
