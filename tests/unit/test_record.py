"""What the journal stores is what the protobuf library would write; what is damaged is never taken for an event."""

import math
from typing import Any
from uuid import UUID

import pytest
from google.protobuf.message import DecodeError
from hypothesis import example, given, settings
from hypothesis import strategies as st

from spoold.api.analytics.v1 import service_pb2
from spoold.api.spoold.record.v1 import record_pb2
from spoold.errors import RecordDamagedError
from spoold.record import (
    DamagedEvent,
    Draft,
    Event,
    canonical_json,
    decode_record,
    encode_record,
    event_fields,
    frozen_time_ms,
    plain_value,
    read_record,
)
from tests.support.clock import START_MS
from tests.support.events import EVENT_ID, make_draft, make_identify_draft, make_record

Value = service_pb2.PropertyValue

kinds = st.sampled_from(["track", "identify"])
bodies = st.binary(min_size=1, max_size=400)
event_ids = st.binary(min_size=16, max_size=16)
times = st.integers(min_value=1, max_value=2**62)
caller_ids = st.text(max_size=60)


def listed(*values: Value) -> Value:
    return Value(list_value=service_pb2.ListValue(values=values))


def mapped(**fields: Value) -> Value:
    return Value(map_value=service_pb2.MapValue(fields=fields))


@given(kinds, bodies, event_ids, times, caller_ids)
def test_the_bytes_are_those_that_the_protobuf_library_writes(
    kind: Any, body: bytes, event_id: bytes, received_at_ms: int, caller_id: str
) -> None:
    data = encode_record(Draft(kind, body, event_id, caller_id), event_id, received_at_ms)

    record = record_pb2.Record.FromString(data)
    assert record.SerializeToString(deterministic=True) == data
    assert getattr(record, kind) == body
    assert (record.event_id, record.received_at_ms, record.caller_id) == (event_id, received_at_ms, caller_id)


@given(st.text(min_size=1), st.text(), st.text(), st.integers(0, 2**40), st.dictionaries(st.text(), st.text()))
def test_a_track_event_comes_back_as_it_was_sent(
    name: str, user_id: str, anonymous_id: str, timestamp_ms: int, properties: dict[str, str]
) -> None:
    values = {key: Value(string_value=text) for key, text in properties.items()}
    draft = make_draft(name, user_id=user_id, anonymous_id=anonymous_id, timestamp_ms=timestamp_ms, properties=values)

    event = decode_record(7, make_record(draft=draft))

    assert event == Event(
        seq=7,
        event_id=EVENT_ID,
        kind="track",
        event_name=name,
        user_id=user_id,
        anonymous_id=anonymous_id,
        properties=dict(sorted(properties.items())),
        timestamp_ms=timestamp_ms or START_MS,
        received_at_ms=START_MS,
    )
    assert list(event.properties) == sorted(properties)


def test_an_identify_event_comes_back_as_it_was_sent() -> None:
    draft = make_identify_draft("u-9", anonymous_id="a-1", timestamp=START_MS // 1000 - 60)

    event = decode_record(3, make_record(draft=draft))

    assert (event.kind, event.event_name, event.user_id, event.anonymous_id) == ("identify", "", "u-9", "a-1")
    assert event.timestamp_ms == START_MS - 60_000


@pytest.mark.parametrize(
    ("timestamp", "timestamp_ms", "expected"),
    [
        (0, 0, 5_000),
        (3, 0, 3_000),
        (3, 3_456, 3_456),
        (9, 0, 5_000),
        (0, 5_001, 5_000),
        (9, 4_999, 4_999),
        (-2, 0, -2_000),
    ],
)
def test_an_event_happened_when_its_caller_says_but_never_after_it_was_received(
    timestamp: int, timestamp_ms: int, expected: int
) -> None:
    assert frozen_time_ms(timestamp, timestamp_ms, received_at_ms=5_000) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Value(), None),
        (Value(string_value=""), ""),
        (Value(bool_value=False), False),
        (Value(number_value=42.0), 42),
        (Value(number_value=12.5), 12.5),
        (Value(number_value=-0.25), -0.25),
        (Value(number_value=2.0**53), 2**53),
        (Value(number_value=2.0**53 + 2), 2.0**53 + 2),
        (Value(number_value=1e300), 1e300),
        (listed(), []),
        (listed(Value(number_value=1.0), Value(), listed(Value(bool_value=True))), [1, None, [True]]),
        (mapped(b=Value(number_value=2.0), a=mapped()), {"a": {}, "b": 2}),
    ],
)
def test_a_property_becomes_a_plain_json_value(value: Value, expected: object) -> None:
    plain = plain_value(value)

    assert plain == expected
    assert type(plain) is type(expected)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_keeps_its_value(number: float) -> None:
    plain = plain_value(Value(number_value=number))

    assert isinstance(plain, int | float)
    assert math.isclose(plain, number, rel_tol=0, abs_tol=0)


def test_equal_maps_are_equal_bytes_whatever_their_order() -> None:
    assert canonical_json({"b": 1, "a": {"d": 2, "c": 3}}) == b'{"a":{"c":3,"d":2},"b":1}'


def test_an_event_is_shown_under_the_names_that_scripts_read() -> None:
    fields = event_fields(decode_record(5, make_record()))

    assert list(fields) == [
        "seq", "event_id", "type", "event_name", "user_id", "anonymous_id", "properties", "timestamp_ms",
        "received_at_ms",
    ]  # fmt: skip
    assert fields["type"] == "track"


def test_each_flipped_bit_of_a_record_is_found() -> None:
    data = make_record(draft=make_draft(caller_id="order-81"))

    for bit in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        assert isinstance(read_record(1, bytes(flipped)), DamagedEvent), f"bit {bit}"


@given(st.binary(max_size=80))
def test_any_other_bytes_are_damage_and_kept(data: bytes) -> None:
    damaged = read_record(9, data)

    assert isinstance(damaged, DamagedEvent)
    assert (damaged.seq, damaged.data) == (9, data)


def library_values(entries: dict[str, bytes]) -> dict[str, object] | None:
    """What the library alone makes of encoded properties; None when it can't."""
    try:
        return {name: plain_value(Value.FromString(entries[name])) for name in sorted(entries)}
    except DecodeError:
        return None


def encoded_track(entries: dict[str, bytes]) -> bytes:
    return record_pb2.TrackView(event_name="Order Paid", properties=entries).SerializeToString()


plain_values = st.one_of(
    st.builds(Value),
    st.text(max_size=300).map(lambda text: Value(string_value=text)),
    st.floats(allow_nan=False, allow_infinity=False).map(lambda number: Value(number_value=number)),
    st.integers(-(2**55), 2**55).map(lambda number: Value(number_value=number)),
    st.booleans().map(lambda flag: Value(bool_value=flag)),
)
any_values = st.recursive(
    plain_values,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda values: listed(*values)),
        st.dictionaries(st.text(max_size=5), inner, max_size=3).map(lambda fields: mapped(**fields)),
    ),
    max_leaves=6,
)
#: As libraries write them, and everything near it: cut short, two in one, a long length, another wire type, no text.
encodings = st.one_of(
    any_values.map(Value.SerializeToString),
    st.tuples(any_values, any_values).map(lambda two: b"".join(map(Value.SerializeToString, two))),
    st.builds(lambda tag, rest: bytes([tag]) + rest, st.sampled_from(b"\x0a\x11\x18\x22\x2a"), st.binary(max_size=140)),
    st.binary(max_size=12),
    st.binary(max_size=127).map(lambda text: b"\x0a" + bytes([len(text)]) + text),
)


@settings(max_examples=500)
# Two texts in one, the length of the first in two bytes: the first of them happens to be what a short text has there.
@example({"a": b"\x0a\x82\x00ab\x0a\x7d" + b"x" * 125})
@given(st.dictionaries(st.text(max_size=8), encodings, max_size=6))
def test_properties_are_read_or_refused_as_the_library_does_it(
    entries: dict[str, bytes],
) -> None:
    expected = library_values(entries)

    found = read_record(1, make_record(draft=Draft("track", encoded_track(entries))))

    if expected is None:
        assert isinstance(found, DamagedEvent)
    else:
        assert isinstance(found, Event)
        assert repr(found.properties) == repr(expected)


def test_what_a_lane_reads_has_the_fields_of_what_callers_send() -> None:
    for view, request in (
        (record_pb2.TrackView, service_pb2.TrackEventRequest),
        (record_pb2.IdentifyView, service_pb2.IdentifyUserRequest),
    ):
        numbers = {
            name: field.number for name, field in request.DESCRIPTOR.fields_by_name.items() if name != "event_id"
        }
        assert {name: field.number for name, field in view.DESCRIPTOR.fields_by_name.items()} == numbers


@pytest.mark.parametrize("size", [0, 1, 5, 20, -1])
def test_a_record_cut_short_is_damage(size: int) -> None:
    with pytest.raises(RecordDamagedError):
        decode_record(1, make_record()[:size])


def test_a_body_that_no_library_can_decode_is_damage_although_its_checksum_is_right() -> None:
    data = encode_record(Draft("track", b"\xff\xff"), UUID(EVENT_ID).bytes, START_MS)

    with pytest.raises(RecordDamagedError, match="can't be decoded"):
        decode_record(1, data)
