"""The promises, checked against the tables themselves and against what the world knows."""

import json

from spoold.delivery.lane import Wait
from spoold.record import DamagedEvent, read_record
from spoold.spool.lanes import DAMAGED
from spoold.spool.rows import LaneRow
from tests.sim.ledger import LaneBook, Submitted
from tests.sim.machine import INTERVAL_SECONDS, RETRY, Machine, SimLane
from tests.sim.parts import hold
from tests.sim.service import POISON, Service

#: Longest that a lane may wait after a failure: the largest Retry-After that counts, plus the provider's jitter.
_LONGEST_WAIT_SECONDS = RETRY.max_retry_after_seconds + 5.0


def check_promises(machine: Machine, submitted: list[Submitted]) -> None:
    """I1 after an opening: whoever holds a receipt finds the event, or every lane is done with it."""
    lanes = machine.store.state.lanes.values()
    rows = dict(machine.store.connection.execute("SELECT _id, data FROM queue_journal"))
    for event in submitted:
        receipt = event.receipt
        if receipt is None or not any(_wants(lane, receipt.seq) for lane in lanes):
            continue
        hold("I1: an acknowledged event is on disk", receipt.seq in rows, event.number, receipt.seq)
        stored = read_record(receipt.seq, rows[receipt.seq])
        is_found_damaged = isinstance(stored, DamagedEvent)
        hold("I11: damage is found, and only damage", is_found_damaged == event.is_damaged, event.number, stored)
        if event.is_damaged:
            continue
        hold("I3: it is the event that was accepted", event.draft.body in rows[receipt.seq], event.number)


def _wants(lane: LaneRow, seq: int) -> bool:
    is_in_gap = any(gap.after < seq <= gap.upto for gap in lane.gaps)
    return seq > max(lane.cursor, lane.opened_seq) and not is_in_gap and not (lane.is_closed and seq > lane.closed_seq)


def check_books(machine: Machine) -> None:
    """I2, recounted from the tables: for each lane, accepted = delivered + dead + filtered + purged + pending."""
    execute = machine.store.connection.execute
    state = machine.store.state
    (rows,) = execute("SELECT count(*) FROM queue_journal").fetchone()
    kept = state.spool.accepted - state.spool.trimmed
    hold("I2: the journal holds what was accepted and not trimmed", rows == kept, rows, kept)
    (repeated,) = execute("SELECT count(*) - count(DISTINCT substr(data, 3, 16)) FROM queue_journal").fetchone()
    hold("an id stands in the journal once", repeated == 0, repeated)
    (back,) = execute(
        "SELECT count(*) FROM (SELECT timestamp, lag(timestamp) OVER (ORDER BY _id) AS before FROM queue_journal)"
        " WHERE timestamp < before"
    ).fetchone()
    hold("the time in the journal rises with seq", back == 0, back)
    for lane in state.lanes.values():
        bound = lane.closed_seq if lane.is_closed else state.spool.last_seq
        (ahead,) = execute(
            "SELECT count(*) FROM queue_journal WHERE _id > ? AND _id <= ? AND NOT EXISTS"
            " (SELECT 1 FROM lane_gap WHERE lane = ? AND _id > after AND _id <= upto)",
            (lane.cursor, max(bound, lane.cursor), lane.name),
        ).fetchone()
        pending = lane.pending(state.spool)
        hold("I2: pending is what lies ahead of the cursor", ahead == pending, lane.name, ahead, pending)
        (dead,) = execute("SELECT count(*) FROM set_aside WHERE lane = ?", (lane.name,)).fetchone()
        hold("I2: dead is what is set aside", dead == lane.dead, lane.name, dead, lane.dead)
        counted = execute(
            "SELECT coalesce(sum(delivered), 0), coalesce(sum(dead), 0) FROM ledger WHERE lane = ?", (lane.name,)
        ).fetchone()
        told = (lane.delivered - lane.base_delivered, lane.dead - lane.base_dead)
        hold("I2: the ledger tells the counters", counted == told, lane.name, counted, told)


def check_cursor(machine: Machine, name: str, book: LaneBook) -> None:
    """I4: a cursor passes an event only when the service took it or it is set aside."""
    lane = machine.store.state.lanes[name]
    hold("a cursor never goes back", lane.cursor >= book.cursor, name, book.cursor, lane.cursor)
    if lane.cursor == book.cursor:
        return
    execute = machine.store.connection.execute
    passed = {
        seq
        for (seq,) in execute(
            "SELECT _id FROM queue_journal WHERE _id > ? AND _id <= ?",
            (max(book.cursor, lane.opened_seq), lane.cursor),
        )
    }
    dead = {seq for (seq,) in execute("SELECT seq FROM set_aside WHERE lane = ?", (name,))}
    missed = {seq for seq in passed if any(after < seq <= upto for after, upto in book.gaps)}
    unaccounted = passed - book.confirmed - dead - missed
    hold("I4: a lane passes only what is taken or set aside", not unaccounted, name, sorted(unaccounted)[:9])
    book.cursor = lane.cursor


def check_dead_letters(machine: Machine, submitted: list[Submitted]) -> None:
    """I4: set aside is only what a service refused for good, or what the disk damaged."""
    damaged = {event.receipt.seq for event in submitted if event.is_damaged and event.receipt}
    rows = machine.store.connection.execute("SELECT seq, record, reason FROM set_aside").fetchall()
    innocent = [
        (seq, reason)
        for seq, record, reason in rows
        if POISON.encode() not in record and not (reason == DAMAGED and seq in damaged)
    ]
    hold("I4: nothing that a service would take is set aside", not innocent, innocent[:5])


def check_contents(service: Service, submitted: list[Submitted]) -> None:
    """I3 and I11: what arrived is what was accepted."""
    for number, arrival in service.arrived.items():
        record = json.loads(arrival.content)
        event = submitted[number]
        if event.draft.kind == "track":
            told = [record["event"], record["properties"]["distinct_id"], record["properties"]["text"]]
            meant = [f"event {number % 5}", f"u{number % 7}", event.text]
        else:
            told, meant = [record["$set"]["text"]], [event.text]
        hold("I3: what arrives is what was accepted", told == meant, number, told, meant)


def check_wait(machine: Machine, sim: SimLane, wait: Wait) -> None:
    """A lane with pending events comes again, in time that no clock that jumps can stretch."""
    state = next(state for state in machine.spool.lanes() if state.name == sim.lane.name)
    longest = _LONGEST_WAIT_SECONDS if state.retry.failures else INTERVAL_SECONDS
    is_bounded = wait.seconds is not None and wait.seconds <= longest + 0.001
    hold("a lane with pending events comes again", is_bounded or not state.pending, state.name, wait, sim.lane.state)
