"""One accepted event: as the ingest hands it over, as the journal stores it, and as a provider sees it.

A record is frozen at ingest (I3): every later reading of it gives the same id, name, time, user and properties.
The bytes are those of ``spoold.record.v1.Record``; they are laid out by hand because an append must cost
microseconds, and a test holds that the protobuf library writes and reads the same.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from struct import Struct
from typing import Literal, NamedTuple

import orjson
from google.protobuf.message import DecodeError

from spoold.api.analytics.v1 import service_pb2
from spoold.api.spoold.record.v1 import record_pb2
from spoold.errors import RecordDamagedError

Kind = Literal["track", "identify"]
_BODY_TAG: Mapping[Kind, bytes] = {"track": b"\x1a", "identify": b"\x22"}

#: Doubles up to here hold every integer exactly, so 42.0 can be written as 42.
_MAX_EXACT_INTEGER = 2**53

#: How ``PropertyValue`` begins for each kind of plain value, and the sizes that the whole of it can have.
_STRING_TAG, _NUMBER_TAG, _BOOL_TAG = 0x0A, 0x11, 0x18
_MAX_SHORT_BYTES, _NUMBER_BYTES, _BOOL_BYTES = 129, 9, 2
_unpack_number = Struct("<xd").unpack

_CRC_TAG = 0x35
_CRC_BYTES = 5
_LOW_BITS = 0x7F


class Draft(NamedTuple):
    """A validated event on its way into the journal.

    Attributes:
        kind: Which request ``body`` is.
        body: The request message as received, byte for byte.
        event_id: The 16 bytes of the caller's id (or derived from it), or None when the spool shall make one.
        caller_id: The caller's own id where it is not what ``event_id`` says; empty otherwise.
    """

    kind: Kind
    body: bytes
    event_id: bytes | None = None
    caller_id: str = ""


# Not frozen for the interpreter: that makes it seven times as slow to make, a tenth of what an event costs a lane.
@dataclass(slots=True)
class Event:
    """An accepted event, decoded: what a provider converts and nobody changes.

    Attributes:
        seq: Position in the journal; rises, may have gaps.
        event_id: Canonical lowercase UUID.
        kind: ``track`` or ``identify``.
        event_name: Empty for ``identify``.
        user_id: Empty when the caller named none.
        anonymous_id: Empty when the caller named none.
        properties: JSON values, keys sorted, so that equal events are equal bytes.
        timestamp_ms: When it happened, Unix milliseconds, never after ``received_at_ms``.
        received_at_ms: Wall clock at ingest, Unix milliseconds.
    """

    seq: int
    event_id: str
    kind: Kind
    event_name: str
    user_id: str
    anonymous_id: str
    properties: dict[str, object]
    timestamp_ms: int
    received_at_ms: int


@dataclass(frozen=True, slots=True)
class DamagedEvent:
    """A stored record that can't be trusted (I11). Its bytes are kept for salvage and never sent."""

    seq: int
    data: bytes
    reason: str


def encode_record(draft: Draft, event_id: bytes, received_at_ms: int) -> bytes:
    """The bytes that the journal stores for ``draft``, checksum included."""
    parts = [
        b"\x0a\x10",
        event_id,
        b"\x10",
        _varint(received_at_ms),
        _BODY_TAG[draft.kind],
        _varint(len(draft.body)),
        draft.body,
    ]
    if draft.caller_id:
        caller_id = draft.caller_id.encode()
        parts += [b"\x2a", _varint(len(caller_id)), caller_id]
    head = b"".join(parts)
    return head + b"\x35" + zlib.crc32(head).to_bytes(4, "little")


def check_record(data: bytes) -> None:
    """Raise RecordDamagedError unless the checksum at the end of ``data`` matches what stands before it."""
    if len(data) <= _CRC_BYTES or data[-_CRC_BYTES] != _CRC_TAG:
        raise RecordDamagedError("the record has no checksum at its end")
    stored = int.from_bytes(data[-4:], "little")
    actual = zlib.crc32(data[:-_CRC_BYTES])
    if stored != actual:
        raise RecordDamagedError(f"checksum {actual:08x} instead of {stored:08x}")


def decode_record(seq: int, data: bytes) -> Event:
    """The event in a stored record.

    Raises:
        RecordDamagedError: The checksum is wrong, or the message in it can't be decoded.
    """
    check_record(data)
    try:
        record = record_pb2.RecordView.FromString(data)
        is_track = record.HasField("track")
        message = record.track if is_track else record.identify
        properties = _read_properties(message.properties)
    except (DecodeError, UnicodeDecodeError) as exc:
        raise RecordDamagedError("the checksum is right but the message can't be decoded") from exc
    received_at_ms = record.received_at_ms
    return Event(
        seq,
        format_uuid(record.event_id),
        "track" if is_track else "identify",
        record.track.event_name if is_track else "",
        message.user_id,
        message.anonymous_id,
        properties,
        frozen_time_ms(message.timestamp, message.timestamp_ms, received_at_ms),
        received_at_ms,
    )


def read_record(seq: int, data: bytes) -> Event | DamagedEvent:
    """Like ``decode_record``, with damage as a value."""
    try:
        return decode_record(seq, data)
    except RecordDamagedError as exc:
        return DamagedEvent(seq, data, str(exc))


def frozen_time_ms(timestamp_seconds: int, timestamp_ms: int, received_at_ms: int) -> int:
    """When an event happened: the caller's word, but never after we received it (providers.md 2.2: clamp at ingest)."""
    said = timestamp_ms or timestamp_seconds * 1000
    return min(said, received_at_ms) if said else received_at_ms


def event_fields(event: Event) -> dict[str, object]:
    """An event as the JSON object that ``peek``, ``export`` and ``max_event_bytes`` mean (design: spoolctl)."""
    return {
        "seq": event.seq,
        "event_id": event.event_id,
        "type": event.kind,
        "event_name": event.event_name,
        "user_id": event.user_id,
        "anonymous_id": event.anonymous_id,
        "properties": event.properties,
        "timestamp_ms": event.timestamp_ms,
        "received_at_ms": event.received_at_ms,
    }


def canonical_json(value: object) -> bytes:
    """JSON with sorted keys: protobuf maps have no stable order across processes, frozen bytes need one."""
    # A copy: orjson's own bytes are the start of a buffer of 1 KiB whose rest is given back. A lane keeps thousands of
    # them, and the end of the heap then grows and shrinks with each: nine in ten page faults of a drain.
    return memoryview(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).tobytes()


def plain_properties(fields: Mapping[str, service_pb2.PropertyValue]) -> dict[str, object]:
    """A property map as plain JSON values, keys sorted."""
    return {key: plain_value(fields[key]) for key in sorted(fields)}


def plain_value(value: service_pb2.PropertyValue) -> object:
    """One property as a plain JSON value; a whole number is an int, as it is in every SDK that sends one."""
    which = value.WhichOneof("value")
    if which == "string_value":
        return value.string_value
    if which == "number_value":
        return _plain_number(value.number_value)
    if which == "bool_value":
        return value.bool_value
    if which == "list_value":
        return [plain_value(item) for item in value.list_value.values]
    if which == "map_value":
        return plain_properties(value.map_value.fields)
    return None


def _plain_number(number: float) -> int | float:
    is_whole = -_MAX_EXACT_INTEGER <= number <= _MAX_EXACT_INTEGER and number.is_integer()
    return int(number) if is_whole else number


def _read_properties(fields: Mapping[str, bytes]) -> dict[str, object]:
    """A map of encoded ``PropertyValue`` as plain JSON values, keys sorted.

    A plain value is read from its bytes, for less than half of what a message costs; whatever is not encoded in the
    one way that every library uses for it goes to the library.
    """
    properties: dict[str, object] = {}
    for name in sorted(fields):
        data = fields[name]
        size = len(data)
        tag = data[0] if size else None
        if tag == _STRING_TAG and 1 < size <= _MAX_SHORT_BYTES and data[1] == size - 2:
            properties[name] = data[2:].decode()
        elif tag == _NUMBER_TAG and size == _NUMBER_BYTES:
            properties[name] = _plain_number(_unpack_number(data)[0])
        elif tag == _BOOL_TAG and size == _BOOL_BYTES and data[1] <= 1:
            properties[name] = data[1] == 1
        else:
            properties[name] = plain_value(service_pb2.PropertyValue.FromString(data))
    return properties


def format_uuid(raw: bytes) -> str:
    """The canonical text of 16 bytes."""
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


# Few values are asked for again and again: a moment of receipt by all events of a call, and their sizes.
@lru_cache(maxsize=1024)
def _varint(value: int) -> bytes:
    out = bytearray()
    while value > _LOW_BITS:
        out.append(value & _LOW_BITS | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
