"""The manual's bytes per event, held against a real spool that is filled with such events.

``pytest tests/unit/docs/test_sizing.py -s`` prints what was measured.
"""

from pathlib import Path
from uuid import uuid4

import pytest

from spoold.api.analytics.v1 import service_pb2
from spoold.record import Draft, canonical_json, event_fields, plain_properties
from spoold.units import parse_size
from tests.support.events import make_event
from tests.support.manual import page, section
from tests.support.spools import OpenSpool, open_spool

#: Enough that the pages of an empty database don't count.
EVENTS = 4000
GROUP_EVENTS = 100
#: Part of what the manual says by which what is measured may differ: identifiers are random, and pages split.
TOLERANCE = 0.05


def typical_request(json_bytes: int) -> service_pb2.TrackEventRequest:
    """An event of so many bytes as JSON: texts, numbers and flags, as services send them."""
    properties = {
        "amount": service_pb2.PropertyValue(number_value=12.5),
        "currency": service_pb2.PropertyValue(string_value="EUR"),
        "is_first": service_pb2.PropertyValue(bool_value=True),
    }
    request = service_pb2.TrackEventRequest(event_name="Order Paid", user_id="u-000000", properties=properties)
    while (missing := json_bytes - as_json(request)) > 20:
        name = f"property_{len(request.properties):02}"
        request.properties[name].string_value = "x" * min(40, missing - len(name) - 6)
    return request


def as_json(request: service_pb2.TrackEventRequest) -> int:
    """The size that ``ingest.max_event_bytes`` counts."""
    event = make_event(user_id=request.user_id, properties=plain_properties(request.properties))
    return len(canonical_json(event_fields(event)))


def fill(spool: OpenSpool, json_bytes: int) -> None:
    """Append the events, each of another user and with an id of its caller's, as the README's client sends it."""
    request = typical_request(json_bytes)
    for start in range(0, EVENTS, GROUP_EVENTS):
        drafts = []
        for number in range(start, start + GROUP_EVENTS):
            request.user_id = f"u-{number:06}"
            drafts.append(Draft("track", request.SerializeToString(deterministic=True), uuid4().bytes, ""))
        spool.append(drafts)


def settle(spool: OpenSpool, lane: str, *, dead: bool) -> None:
    """All that the lane has, in batches of 50."""
    lease = spool.spool.claim(lane)
    seqs = spool.seqs(lane)
    for start in range(0, EVENTS, 50):
        batch = seqs[start : start + 50]
        spool.settle(lease, batch[-1], dead=batch if dead else ())


def measured(directory: Path, json_bytes: int, lanes: int, fate: str) -> float:
    """Bytes of disk per event."""
    with open_spool(directory, max_bytes=1 << 30, durability="os") as spool:
        names = [spool.spool.open_lane(f"lane-{number}", "mixpanel", "earliest").name for number in range(lanes)]
        empty = used_bytes(spool)
        fill(spool, json_bytes)
        for name in names if fate != "pending" else ():
            settle(spool, name, dead=fate == "dead")
        return (used_bytes(spool) - empty) / EVENTS


def used_bytes(spool: OpenSpool) -> int:
    spool.store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return spool.store.file_bytes()


def rows(title: str) -> list[list[str]]:
    """The cells of the table of the manual whose first title this is, without its titles."""
    _, _, table = section(page("spoold-operating.7"), "Sizing", "Ss").partition(f'.It Sy "{title}"')
    lines = table.partition("\n.El")[0].splitlines()[1:]
    return [line.removeprefix(".It ").split(" Ta ") for line in lines]


@pytest.mark.parametrize("row", rows("as JSON"), ids=lambda row: f"{row[0]} bytes")
def test_an_event_takes_what_the_manual_says(row: list[str], state_dir: Path) -> None:
    json_bytes, *told = (int(cell) for cell in row)
    spools = [state_dir / name for name in ("one", "three", "dead")]
    for spool in spools:
        spool.mkdir()

    pending = measured(spools[0], json_bytes, 1, "pending")
    delivered = measured(spools[1], json_bytes, 3, "delivered")
    dead = measured(spools[2], json_bytes, 1, "dead") - pending

    found = [pending, delivered, dead]
    print(f"{json_bytes} bytes of JSON: {found}")
    assert found == pytest.approx(told, rel=TOLERANCE)


@pytest.mark.parametrize("row", rows("events a second"), ids=lambda row: f"{row[0]} a second")
def test_an_outage_takes_what_the_manual_says(row: list[str]) -> None:
    per_event = next(int(cells[1]) for cells in rows("as JSON") if cells[0] == "1000")
    rate, *told = row

    needed = [int(rate) * per_event * 3600 * hours for hours in (1, 8, 24, 72)]
    assert [parse_size(cell.replace(" ", "")) for cell in told] == pytest.approx(needed, rel=TOLERANCE)
