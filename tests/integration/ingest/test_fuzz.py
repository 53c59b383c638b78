"""Anything at all at the door: every reply is OK or INVALID_ARGUMENT with a BadRequest that names a field."""

import math

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spoold.api.analytics.v1 import service_pb2 as pb
from spoold.spool.local import LocalSpool
from tests.integration.ingest.conftest import Door, Refused

METHODS = ["TrackEvent", "IdentifyUser", "TrackBatch", "HealthCheck"]
#: The door is shared by all examples on purpose: what one of them breaks, the next one finds.
FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

TEXT = st.text(max_size=20)
VALUES = st.recursive(
    st.one_of(
        st.just(pb.PropertyValue()),
        TEXT.map(lambda text: pb.PropertyValue(string_value=text)),
        st.floats().map(lambda number: pb.PropertyValue(number_value=number)),
        st.booleans().map(lambda flag: pb.PropertyValue(bool_value=flag)),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda values: pb.PropertyValue(list_value={"values": values})),
        st.dictionaries(TEXT, inner, max_size=4).map(lambda fields: pb.PropertyValue(map_value={"fields": fields})),
    ),
    max_leaves=20,
)
PROPERTIES = st.dictionaries(TEXT, VALUES, max_size=5)
INT64 = st.one_of(st.just(0), st.integers(-(2**63), 2**63 - 1), st.integers(0, 2_000_000_000_000))
TRACKS = st.builds(
    pb.TrackEventRequest,
    event_name=TEXT,
    user_id=TEXT,
    properties=PROPERTIES,
    timestamp=INT64,
    event_id=TEXT,
    anonymous_id=TEXT,
    timestamp_ms=INT64,
)
IDENTIFIES = st.builds(
    pb.IdentifyUserRequest,
    user_id=TEXT,
    properties=PROPERTIES,
    timestamp=INT64,
    event_id=TEXT,
    anonymous_id=TEXT,
    timestamp_ms=INT64,
)
ITEMS = st.one_of(
    st.just(pb.BatchItem()),
    TRACKS.map(lambda track: pb.BatchItem(track=track)),
    IDENTIFIES.map(lambda identify: pb.BatchItem(identify=identify)),
)
BATCHES = st.lists(ITEMS, max_size=6).map(lambda items: pb.TrackBatchRequest(items=items))


def answer(door: Door, method: str, message: bytes) -> bytes | None:
    """The reply, or None for a refusal of the only kind that a caller's bytes may earn."""
    try:
        return door.send(method, message)
    except grpc.RpcError as error:
        refused = Refused.of(error)
    assert refused.code == grpc.StatusCode.INVALID_ARGUMENT, refused.sentence
    fields = refused.fields()
    assert fields
    assert all(fields)
    return None


@FUZZ
@given(method=st.sampled_from(METHODS), message=st.binary(max_size=200))
def test_random_bytes(door: Door, method: str, message: bytes) -> None:
    answer(door, method, message)


@FUZZ
@given(data=st.data(), message=st.one_of(TRACKS, IDENTIFIES, BATCHES), method=st.sampled_from(METHODS))
def test_valid_messages_with_bytes_changed_cut_and_doubled(
    door: Door, data: st.DataObject, message: pb.TrackEventRequest, method: str
) -> None:
    body = bytearray(message.SerializeToString())
    for _ in range(data.draw(st.integers(0, 3))):
        if body:
            body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(body)))
    answer(door, method, bytes(body[:cut] + body[data.draw(st.integers(0, len(body))) :]))


@FUZZ
@given(track=TRACKS)
def test_an_event_that_is_accepted_can_be_read_back(door: Door, spool: LocalSpool, track: pb.TrackEventRequest) -> None:
    reply = answer(door, "TrackEvent", track.SerializeToString())
    if reply is None:
        return
    response = pb.TrackEventResponse.FromString(reply)
    assert response.success
    story = spool.find(bytes.fromhex(response.event_id.replace("-", "")))
    assert story is not None
    assert track.event_name.strip()
    assert track.timestamp_ms >= 0


@FUZZ
@given(batch=BATCHES)
def test_each_item_of_a_batch_is_judged_as_it_would_be_alone(door: Door, batch: pb.TrackBatchRequest) -> None:
    reply = answer(door, "TrackBatch", batch.SerializeToString())
    if reply is None:
        assert not batch.items
        return
    results = pb.TrackBatchResponse.FromString(reply).results
    assert len(results) == len(batch.items)
    for item, result in zip(batch.items, results, strict=True):
        which = item.WhichOneof("item")
        if which is None:
            assert not result.success
            continue
        method = "TrackEvent" if which == "track" else "IdentifyUser"
        alone = answer(door, method, getattr(item, which).SerializeToString())
        assert result.success == (alone is not None)
        assert bool(result.error) != result.success


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_no_infinite_number_gets_in_however_it_is_hidden(door: Door, number: float) -> None:
    value = pb.PropertyValue(number_value=number)
    hidden = pb.PropertyValue(map_value={"fields": {"a": {"list_value": {"values": [value]}}}})
    track = pb.TrackEventRequest(event_name="a", properties={"x": hidden})
    assert answer(door, "TrackEvent", track.SerializeToString()) is None


def test_the_deepest_nesting_that_protobuf_itself_refuses_is_invalid_argument(door: Door) -> None:
    value = b""
    for _ in range(1_000):
        for tag in (b"\x0a", b"\x22"):
            value = tag + varint(len(value)) + value
    entry = b"\x0a\x01k\x12" + varint(len(value)) + value
    assert answer(door, "TrackEvent", b"\x0a\x01a\x1a" + varint(len(entry)) + entry) is None


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def test_the_server_is_still_there_after_all_this(door: Door) -> None:
    assert pb.HealthCheckResponse.FromString(door.send("HealthCheck", b"")).status == "healthy"
    assert not door.noise
