"""Drawn from a seed: messages of every shape, and bytes that have been changed."""

import math
import random
import struct

from spoold.api.analytics.v1 import service_pb2 as pb

_NUMBERS = [0.0, -0.0, 1.0, 42.0, 12.5, 0.1, -1.5, 2.0**53, 2.0**53 + 2, 1e308, 5e-324, math.inf, -math.inf, math.nan]
_TIMES = [0] * 20 + [1, -1, 1_700_000_000, 1_700_000_000_000, 2**62, -(2**63), 2**63 - 1]
_IDS = ["", "", "order-7", "00000000-0000-0000-0000-000000000000", "0190B6F2-7C1D-7ABC-8DEF-0123456789AB", "\x00"]
_TEXTS = ["", " ", "Order Paid", "u-81", "\u2028", "\U0001f600" * 3, "a\x00b", "null", "\ufeff", "$insert_id"]
_INTERESTING = [b"\x00", b"\xff", b"\x7f", b"\x80", b"\x0a", b"\x12", b"\xf8\x7f", b"\xff" * 10, b"\x22\x02\x0a\x00"]


def text(rng: random.Random) -> str:
    """A text, a strange one at times."""
    if rng.random() < 0.6:
        return rng.choice(_TEXTS)
    return "".join(chr(_character(rng)) for _ in range(rng.randrange(30)))


def value(rng: random.Random, depth: int = 0) -> pb.PropertyValue:
    """A property's value, nested at times, too deep at times."""
    kind = rng.randrange(6) if depth < 20 else rng.randrange(4)
    if kind == 0:
        return pb.PropertyValue()
    if kind == 1:
        return pb.PropertyValue(string_value=text(rng))
    if kind == 2:
        return pb.PropertyValue(number_value=_number(rng))
    if kind == 3:
        return pb.PropertyValue(bool_value=rng.random() < 0.5)
    inner = [value(rng, depth + 1) for _ in range(rng.choice([0, 1, 1, 1, 2]))]
    if kind == 4:
        return pb.PropertyValue(list_value=pb.ListValue(values=inner))
    return pb.PropertyValue(map_value=pb.MapValue(fields={text(rng): item for item in inner}))


def properties(rng: random.Random) -> dict[str, pb.PropertyValue]:
    """Some properties."""
    return {text(rng): value(rng) for _ in range(rng.randrange(5))}


def track(rng: random.Random) -> pb.TrackEventRequest:
    """An event."""
    return pb.TrackEventRequest(
        event_name=_name(rng),
        user_id=text(rng),
        properties=properties(rng),
        timestamp=rng.choice(_TIMES),
        event_id=rng.choice(_IDS) if rng.random() < 0.9 else text(rng),
        anonymous_id=text(rng),
        timestamp_ms=rng.choice(_TIMES),
    )


def identify(rng: random.Random) -> pb.IdentifyUserRequest:
    """A profile."""
    return pb.IdentifyUserRequest(
        user_id=_name(rng), properties=properties(rng), event_id=rng.choice(_IDS), timestamp=rng.choice(_TIMES)
    )


def item(rng: random.Random) -> pb.BatchItem:
    """One of a batch."""
    kind = rng.randrange(8)
    if kind == 0:
        return pb.BatchItem()
    return pb.BatchItem(track=track(rng)) if kind < 5 else pb.BatchItem(identify=identify(rng))


def batch(rng: random.Random) -> pb.TrackBatchRequest:
    """A batch."""
    return pb.TrackBatchRequest(items=[item(rng) for _ in range(rng.choice([0, 1, 1, 2, 5]))])


def changed(rng: random.Random, body: bytes) -> bytes:
    """The same with some bytes changed, cut out, doubled or put in; unchanged at times."""
    parts = bytearray(body)
    for _ in range(rng.choice([0, 0, 1, 1, 2, 4])):
        at = rng.randrange(len(parts) + 1)
        how = rng.randrange(5)
        if how == 0:
            parts[at:at] = rng.choice(_INTERESTING)
        elif how == 1:
            parts[at : at + rng.randrange(1, 9)] = b""
        elif how == 2:
            parts[at:at] = parts[: rng.randrange(len(parts) + 1)]
        elif how == 3 and at < len(parts):
            parts[at] ^= 1 << rng.randrange(8)
        else:
            parts[at : at + 1] = rng.randbytes(1)
    return bytes(parts)


def _name(rng: random.Random) -> str:
    return text(rng) if rng.random() < 0.3 else "Order Paid"


def _number(rng: random.Random) -> float:
    if rng.random() < 0.7:
        return rng.choice(_NUMBERS)
    number: float = struct.unpack("<d", rng.randbytes(8))[0]
    return number


def _character(rng: random.Random) -> int:
    code = rng.choice([rng.randrange(128), rng.randrange(0x10000), rng.randrange(0x110000)])
    # Halves of a pair are no characters, and no text of protobuf's holds one.
    return 0x20 if 0xD800 <= code < 0xE000 else code
