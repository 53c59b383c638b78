"""Short ways of saying what a lane does with events that stand aside, and what must be true afterwards."""

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from spoold.spool.values import DeadLetter, Deferred, LaneState
from tests.support.clock import START_MS
from tests.support.spools import OpenSpool, make_settlement

TABLES = ("spool", "lane", "lane_gap", "set_aside", "ledger", "queue_journal", "caller_id", "replay")


def make_deferred(seq: int, **overrides: Any) -> Deferred:
    """An event that waits for a minute, unless told otherwise."""
    fields: dict[str, Any] = {
        "wait_ms": 60_000,
        "not_before_ms": START_MS + 60_000,
        "attempts": 1,
        "failures": 0,
        "reason": "throttled",
        "status": 429,
    }
    return Deferred(seq, **{**fields, **overrides})


def move(
    spool: OpenSpool,
    lane: str,
    upto: int | None = None,
    *,
    dead: Sequence[int | DeadLetter] = (),
    deferred: Sequence[int | Deferred] = (),
    **overrides: Any,
) -> LaneState:
    """One settlement, under an id of its own; of the events ahead nothing is delivered unless told so."""
    cursor = spool.lane(lane).cursor
    fields: dict[str, Any] = {
        "id": uuid4().bytes,
        "delivered": 0,
        "deferred": tuple(make_deferred(one) if isinstance(one, int) else one for one in deferred),
    }
    settlement = make_settlement(cursor, cursor if upto is None else upto, dead=dead, **{**fields, **overrides})
    return spool.spool.settle(spool.spool.claim(lane), settlement)


def terms(spool: OpenSpool, lane: str) -> tuple[int, ...]:
    """(delivered, dead, filtered, purged, deferred, pending), when I2 holds and every table tells the same."""
    state = spool.lane(lane)
    assert state.accepted == state.delivered + state.dead + state.filtered + state.purged + state.pending
    assert 0 <= state.deferred <= state.pending
    asides = dict(spool.rows("SELECT kind, count(*) FROM set_aside WHERE lane = ? GROUP BY kind", lane))
    assert (asides.get("dead", 0), asides.get("deferred", 0)) == (state.dead, state.deferred)
    told = spool.rows(
        "SELECT base_delivered + total(l.delivered), base_dead + total(l.dead), base_filtered + total(l.filtered),"
        " base_purged + total(l.purged) FROM lane LEFT JOIN ledger l ON l.lane = name WHERE name = ?",
        lane,
    )
    assert told == [(state.delivered, state.dead, state.filtered, state.purged)]
    assert len(spool.seqs(lane)) == state.pending - state.deferred
    dead_bytes = spool.rows("SELECT total(length(record)) FROM set_aside WHERE kind = 'dead'")
    assert dead_bytes == [(spool.spool.stats().dead_bytes,)]
    return state.delivered, state.dead, state.filtered, state.purged, state.deferred, state.pending


def asides(spool: OpenSpool, lane: str) -> dict[int, str]:
    """Which events stand aside, and how."""
    return dict(spool.rows("SELECT seq, kind FROM set_aside WHERE lane = ? ORDER BY seq", lane))


def everything(spool: OpenSpool) -> list[Any]:
    """What a refused settlement must not change: all tables, but for the epoch that its owner was given."""
    tables = [spool.rows(f"SELECT * FROM {table}") for table in TABLES if table != "lane"]
    return [*tables, spool.store.state.replays, spool.store.state.spool]
