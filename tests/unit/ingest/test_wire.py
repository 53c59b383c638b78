import struct

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from spoold.api.analytics.v1 import service_pb2
from spoold.ingest import wire
from spoold.ingest.validation import MAX_DEPTH

TRACK = service_pb2.TrackEventRequest(event_name="a", user_id="u" * 200)
MOST = 1_000
IDENTIFY = service_pb2.IdentifyUserRequest(user_id="u")


def item(body: bytes) -> bytes:
    """One field of a batch: BatchItem with these bytes."""
    return service_pb2.TrackBatchRequest(items=[service_pb2.BatchItem.FromString(body)]).SerializeToString()


def field(number: int, body: bytes) -> bytes:
    assert len(body) < 128
    return bytes([number << 3 | 2, len(body)]) + body


def test_slices_are_the_bytes_that_were_sent() -> None:
    batch = service_pb2.TrackBatchRequest(items=[{"track": TRACK}, {"identify": IDENTIFY}, {"track": {}}])
    assert wire.slice_items(batch.SerializeToString(), MOST) == [
        ("track", TRACK.SerializeToString()),
        ("identify", IDENTIFY.SerializeToString()),
        ("track", b""),
    ]


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param(b"", id="neither is set"),
        pytest.param(field(1, b"\x0a\x01a") + field(1, b"\x12\x01u"), id="protobuf merges two occurrences"),
        pytest.param(field(1, b"\x0a\x01a") + field(2, b"\x0a\x01u"), id="the last of two kinds wins"),
        pytest.param(field(9, b"x"), id="an unknown field"),
        pytest.param(field(1, b"\x0a\x01a") + field(9, b"x"), id="an unknown field behind"),
        pytest.param(b"\x08\x01", id="the number of a track, the type of an integer"),
    ],
)
def test_an_item_that_is_not_one_clean_request_is_left_to_protobuf(odd: bytes) -> None:
    clean = field(1, b"\x0a\x01a")
    message = field(1, clean) + field(1, odd) + field(1, clean)
    assert len(service_pb2.TrackBatchRequest.FromString(message).items) == 3
    assert wire.slice_items(message, MOST) == [("track", b"\x0a\x01a"), (None, odd), ("track", b"\x0a\x01a")]


def test_a_message_with_anything_but_items_is_left_to_protobuf() -> None:
    message = field(1, field(1, b"\x0a\x01a")) + field(7, b"x")
    assert wire.slice_items(message, MOST) is None


def test_longer_encodings_of_a_length_are_understood() -> None:
    body = b"\x0a\x01a"
    message = b"\x0a\x86\x80\x00" + b"\x0a\x83\x00" + body
    message = b"\x0a" + bytes([len(message) - 4 | 0x80, 0x80, 0x00]) + message[4:]
    assert len(service_pb2.TrackBatchRequest.FromString(message).items) == 1
    assert wire.slice_items(message, MOST) == [("track", body)]


def test_nothing_is_read_behind_one_more_than_wanted() -> None:
    items = wire.slice_items(field(1, b"") * 1_000_000 + b"\xff", 10)
    assert items == [(None, b"")] * 11


def test_a_length_without_an_end_costs_no_time() -> None:
    assert wire.slice_items(b"\x0a" + b"\x80" * 4_000_000, MOST) is None


@given(st.binary(max_size=64))
def test_slicing_any_bytes_answers_without_an_error(message: bytes) -> None:
    wire.slice_items(message, MOST)


@given(st.lists(st.binary(max_size=12), max_size=6))
def test_slices_agree_with_protobuf_whenever_it_decodes(bodies: list[bytes]) -> None:
    message = b"".join(field(1, body) for body in bodies)
    try:
        decoded = service_pb2.TrackBatchRequest.FromString(message)
    except DecodeError:
        return
    slices = wire.slice_items(message, MOST)
    assert slices is not None
    assert len(slices) == len(decoded.items)
    for (kind, body), parsed in zip(slices, decoded.items, strict=True):
        if kind is None:
            assert service_pb2.BatchItem.FromString(body) == parsed
        else:
            assert parsed.WhichOneof("item") == kind
            assert type(getattr(parsed, kind)).FromString(body) == getattr(parsed, kind)


def number(value: float) -> bytes:
    return service_pb2.PropertyValue(number_value=value).SerializeToString()


@given(st.floats())
def test_no_infinite_number_passes_for_plain(value: float) -> None:
    is_finite = value - value == 0
    is_plain = wire.is_plain(number(value), max_depth=MAX_DEPTH)
    assert is_finite or not is_plain


@given(payload=st.integers(0, 2**52 - 1), is_negative=st.booleans())
def test_no_nan_passes_for_plain_whatever_its_payload(*, payload: int, is_negative: bool) -> None:
    bits = (is_negative << 63) | (0x7FF << 52) | payload
    message = b"\x11" + struct.pack("<Q", bits)
    assert not wire.is_plain(message, max_depth=MAX_DEPTH)


@pytest.mark.parametrize("value", [0.0, -0.0, 1.5, -1.5, 1e308, -1e308, 5e-324])
def test_ordinary_numbers_pass_for_plain(value: float) -> None:
    assert wire.is_plain(number(value), max_depth=MAX_DEPTH)


def nested(depth: int, *, with_maps: bool) -> service_pb2.PropertyValue:
    value = service_pb2.PropertyValue(bool_value=True)
    for _ in range(depth):
        if with_maps:
            value = service_pb2.PropertyValue(map_value={"fields": {"k": value}})
        else:
            value = service_pb2.PropertyValue(list_value={"values": [value]})
    return value


@pytest.mark.parametrize("with_maps", [False, True])
def test_no_value_that_is_nested_too_deep_passes_for_plain(*, with_maps: bool) -> None:
    assert not wire.is_plain(nested(MAX_DEPTH + 1, with_maps=with_maps).SerializeToString(), max_depth=MAX_DEPTH)


def test_a_tag_in_a_longer_encoding_does_not_hide_depth() -> None:
    # 0xA2 0x00 is field 4 as well; the parser takes it, so the test of the bytes must see it.
    value = b""
    for _ in range(MAX_DEPTH + 1):
        inner = b"\x0a" + bytes([len(value)]) + value
        value = b"\xa2\x00" + bytes([len(inner)]) + inner
    assert service_pb2.PropertyValue.FromString(value).WhichOneof("value") == "list_value"
    assert not wire.is_plain(value, max_depth=MAX_DEPTH)
