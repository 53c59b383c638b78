"""The promises, checked against the tables themselves and against what the world knows."""

import zlib
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from google.protobuf.message import DecodeError

from spoold.api.analytics.v1 import service_pb2
from spoold.api.spoold.record.v1 import record_pb2
from spoold.record import format_uuid
from spoold.spool.rows import LaneRow
from spoold.spool.values import DAMAGED
from tests.sim.dialects import Told
from tests.sim.ledger import LaneBook, Submitted
from tests.sim.machine import RETENTION_SECONDS, Machine
from tests.sim.parts import SimClock, hold
from tests.sim.service import Service

_CRC_BYTES, _CRC_TAG = 4, b"\x35"


def check_promises(machine: Machine, submitted: list[Submitted]) -> None:
    """I1 after an opening: whoever holds a receipt finds the event, or every lane is done with it."""
    lanes = machine.store.state.lanes.values()
    rows = dict(machine.store.connection.execute("SELECT _id, data FROM queue_journal"))
    for event in submitted:
        receipt = event.receipt
        wanting = [lane.name for lane in lanes if receipt is not None and wants(lane, receipt.seq)]
        if receipt is None or not wanting:
            continue
        hold("I1: an acknowledged event is on disk", receipt.seq in rows, event.number, receipt.seq)
        data = rows[receipt.seq]
        is_damaged = event.damaged_seq == receipt.seq
        hold("I11: a record changes only where a bit was flipped", is_intact(data) != is_damaged, event.number, data)
        if is_damaged:
            event.damaged_in.update(wanting)
        else:
            hold("I3: it is the event that was accepted", event.draft.body in data, event.number)


def check_in_doubt(machine: Machine, submitted: list[Submitted], in_doubt: Iterable[list[Submitted]]) -> None:
    """After an opening: a call that nobody answered is there as a whole or not at all; a refused one is not there."""
    rows = machine.store.connection.execute("SELECT data FROM queue_journal")
    bodies = {body for (data,) in rows for body in _bodies(data)}
    for call in in_doubt:
        # What has an id may be there from another call.
        there = [event.draft.body in bodies for event in call if event.draft.event_id is None]
        hold("a call is all there or not at all", all(there) or not any(there), [event.number for event in call])
    ghosts = [event.number for event in submitted if event.is_refused and event.draft.body in bodies]
    hold("a refused event was not stored", not ghosts, ghosts)


def is_intact_at(machine: Machine, seq: int) -> bool:
    """Whether the record that stands there has the checksum that it should have."""
    row = machine.store.connection.execute("SELECT data FROM queue_journal WHERE _id = ?", (seq,)).fetchone()
    hold("I2: what is sent or waits is still in the journal", row is not None, seq)
    return is_intact(row[0])


def is_intact(data: bytes) -> bool:
    """Whether a record has the checksum that it should have."""
    # Not by the program's own check, which may be what is wrong.
    return (
        zlib.crc32(data[: -_CRC_BYTES - 1]) == int.from_bytes(data[-_CRC_BYTES:], "little") and data[-5:-4] == _CRC_TAG
    )


def _bodies(data: bytes) -> list[bytes]:
    try:
        record = record_pb2.Record.FromString(data)
    except DecodeError:
        return []
    return [record.track, record.identify]


def wants(lane: LaneRow, seq: int) -> bool:
    """Whether a lane has still to come to what stands at ``seq``."""
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
        counts = dict(
            execute("SELECT kind, count(*) FROM set_aside WHERE lane = ? GROUP BY kind", (lane.name,)).fetchall()
        )
        aside = counts.get("deferred", 0)
        hold("I2: deferred is what stands aside", aside == lane.deferred, lane.name, aside, lane.deferred)
        pending = lane.pending(state.spool)
        hold(
            "I2: pending is what lies ahead of the cursor or stands aside",
            ahead + aside == pending,
            (lane.name, ahead, aside, pending),
        )
        dead = counts.get("dead", 0)
        hold("I2: dead is what is set aside for good", dead == lane.dead, lane.name, dead, lane.dead)
        counted = execute(
            "SELECT coalesce(sum(delivered), 0), coalesce(sum(dead), 0), coalesce(sum(filtered), 0),"
            " coalesce(sum(purged), 0) FROM ledger WHERE lane = ?",
            (lane.name,),
        ).fetchone()
        told = (
            lane.delivered - lane.base_delivered,
            lane.dead - lane.base_dead,
            lane.filtered - lane.base_filtered,
            lane.purged - lane.base_purged,
        )
        hold("I2: the ledger tells the counters", counted == told, lane.name, counted, told)


class Passed(NamedTuple):
    """What a cursor went over since the last look, without what the lane missed.

    Attributes:
        hidden: What of it the lane's filter keeps back.
        given_up: What of it is in a stretch that the lane gave up, whatever it was told of it.
    """

    seqs: AbstractSet[int] = frozenset()
    hidden: AbstractSet[int] = frozenset()
    given_up: AbstractSet[int] = frozenset()


def check_cursor(machine: Machine, name: str, book: LaneBook) -> Passed:
    """I4: a cursor passes an event only when the service took it or it is set aside."""
    lane = machine.store.state.lanes[name]
    hold("a cursor never goes back", lane.cursor >= book.cursor, name, book.cursor, lane.cursor)
    if lane.cursor == book.cursor:
        return Passed()
    execute = machine.store.connection.execute
    passed = {
        seq
        for (seq,) in execute(
            "SELECT _id FROM queue_journal WHERE _id > ? AND _id <= ?",
            (max(book.cursor, lane.opened_seq), lane.cursor),
        )
    }
    dead = {seq for (seq,) in execute("SELECT seq FROM set_aside WHERE lane = ?", (name,))}
    book.purged |= set(execute("SELECT after, upto FROM ledger WHERE lane = ? AND purged > 0", (name,)).fetchall())
    hold("only a lane that is told to gives events up", not book.purged or machine.lanes[name].purges, name)
    passed = {seq for seq in passed if not any(after < seq <= upto for after, upto in book.gaps)}
    given_up = {seq for seq in passed if any(after < seq <= upto for after, upto in book.purged)}
    hidden = {seq for seq in passed if is_hidden_at(machine, name, seq)}
    unaccounted = passed - book.confirmed - dead - given_up - hidden
    hold("I4: a lane passes only what is taken or set aside", not unaccounted, name, sorted(unaccounted)[:9])
    book.cursor = lane.cursor
    return Passed(passed, hidden, given_up)


def is_hidden_at(machine: Machine, name: str, seq: int) -> bool:
    """Whether the lane's filter keeps back what stands there."""
    if not machine.lanes[name].hidden or not is_intact_at(machine, seq):
        return False
    (data,) = machine.store.connection.execute("SELECT data FROM queue_journal WHERE _id = ?", (seq,)).fetchone()
    track = service_pb2.TrackEventRequest.FromString(record_pb2.Record.FromString(data).track)
    return track.event_name in machine.lanes[name].hidden


def check_stopped(machine: Machine, name: str, book: LaneBook) -> None:
    """I4 at the end of an orderly stop: what is known of the oldest pending event is settled."""
    lane = machine.store.state.lanes[name]
    (seq,) = machine.store.connection.execute(
        "SELECT min(_id) FROM queue_journal WHERE _id > ?", (max(lane.front, lane.opened_seq),)
    ).fetchone()
    is_known = seq in book.confirmed and seq not in book.may_repeat
    hold("I4: a stop settles what is known", not is_known, name, seq)


def fresh_seqs(machine: Machine, clock: SimClock) -> set[int]:
    """What is too young to be forgotten while there is room."""
    oldest_seconds = clock.wall_ms() / 1000 - RETENTION_SECONDS
    execute = machine.store.connection.execute
    return {seq for (seq,) in execute("SELECT _id FROM queue_journal WHERE timestamp >= ?", (oldest_seconds,))}


def check_retention(machine: Machine, fresh: set[int]) -> None:
    """What was too young to be forgotten is still there."""
    kept = {seq for (seq,) in machine.store.connection.execute("SELECT _id FROM queue_journal")}
    hold("what is delivered is kept for its retention", fresh <= kept, sorted(fresh - kept)[:9])


def check_dead_letters(
    machine: Machine, submitted: list[Submitted], services: dict[str, Service], touched: AbstractSet[bytes]
) -> None:
    """I4 and I11 at the end: set aside is only what a service refused for good or the disk damaged, and all of that."""
    by_seq = {seq: event for event in submitted if event.receipt for seq in (event.receipt.seq, *event.seqs)}
    spared = (event for event in submitted if event.draft.event_id not in touched)
    damaged = {(lane, event.damaged_seq) for event in spared for lane in event.damaged_in}
    found = set()
    for lane, seq, reason in machine.store.connection.execute(
        "SELECT lane, seq, reason FROM set_aside WHERE kind = 'dead'"
    ):
        event = by_seq.get(seq)
        if event is not None and event.draft.event_id in touched:
            continue
        if reason == DAMAGED:
            # Where pages were damaged, it may be one that nobody was promised.
            found |= {(lane, seq)} if event is not None or not touched else set()
            continue
        # One that was appended a second time, after it was forgotten, is known by its last seq alone.
        is_guilty = event is None or event.is_poison or event.number in services[lane].refused
        hold("I4: nothing that a service would take is set aside", is_guilty, lane, seq, reason)
    hold("I11: what was damaged is set aside wherever it was pending, and no more", found == damaged, found ^ damaged)


def is_hidden(event: Submitted, service: Service) -> bool:
    """Whether the filter of the service's lane keeps the event back."""
    return event.draft.kind == "track" and f"event {event.number % 5}" in service.hidden


def check_contents(service: Service, submitted: list[Submitted]) -> None:
    """I3 and I11: what arrived is what was accepted."""
    for number, arrival in service.arrived.items():
        event, told = submitted[number], arrival.told
        hold("I3: what arrives is what was accepted", _is_meant(event, told), number, told, event.draft)
        hold("what a filter keeps back never arrives", told.name not in service.hidden, service.name, number)


def _is_meant(event: Submitted, told: Told) -> bool:
    number = event.number
    is_profile = event.draft.kind == "identify"
    own = {"n": number, "text": event.text} | ({} if is_profile else {"is_late": bool(event.said_ms)})
    who = ("", f"i{number}") if is_profile else (f"event {number % 5}", f"u{number % 7}")
    times = {event.said_ms} if event.said_ms else event.handed_in_ms
    # Where the spool made the id and no receipt came, nobody knows it.
    is_known = event.draft.event_id is None or told.event_id in (None, format_uuid(event.draft.event_id))
    return (
        (told.name, told.user_id) == who
        and told.properties == own
        and (told.time_ms is None or told.time_ms in times)
        and is_known
    )


def check_desk(machine: Machine) -> None:
    """What ``status`` and ``audit`` say is what can be counted."""
    execute, state = machine.store.connection.execute, machine.store.state
    seqs = [seq for (seq,) in execute("SELECT _id FROM queue_journal")]
    ahead = {seq for seq in seqs if any(wants(lane, seq) for lane in state.lanes.values())}
    deferred = {seq for (seq,) in execute("SELECT seq FROM set_aside WHERE kind = 'deferred'")}
    (dead_bytes,) = execute("SELECT coalesce(sum(length(record)), 0) FROM set_aside WHERE kind = 'dead'").fetchone()
    stats = machine.spool.stats()
    told = (stats.pending, stats.retained, stats.dead_bytes)
    counted = (len(ahead | deferred), len(seqs) - len(ahead), dead_bytes)
    hold("status says what can be counted", told == counted, told, counted)
    position = None
    while (step := machine.spool.audit(position, max_rows=50)).audit is None:
        position = step.position
    hold("an audit of a sound spool finds nothing", step.audit.is_ok, step.audit.imbalances)
    for lane in machine.spool.lanes():
        audited = next(one for one in step.audit.lanes if one.name == lane.name)
        said = (lane.accepted, lane.delivered, lane.dead, lane.filtered, lane.purged, lane.pending)
        hold("an audit counts what the lanes count", said == audited[1:], audited, said)
