"""What the door reads from a message's bytes without decoding it.

Three things are cheaper on the bytes than on the decoded message: an item's own bytes in a batch, whether a number
may be infinite, and whether properties may be nested too deep. Each answers "surely not" or "look closer", so a
surprise only costs time.
"""

import re

from spoold.record import Kind

#: A double that is infinite or NaN has all eleven exponent bits set: its last byte in the message is 0x7F or 0xFF
#: and the high half of the one before is F. Protobuf writes a double as eight raw little-endian bytes and has no
#: other encoding for one, so a message without this pair holds no such number. Other bytes may look like it.
_NOT_FINITE = re.compile(rb"[\xf0-\xff][\x7f\xff]")

#: First bytes of the tags of ``list_value`` and ``map_value``, in the shortest encoding and in longer ones, which
#: parsers accept too. Each level of nesting needs one.
_CONTAINER_TAGS = b"\x22\x2a\xa2\xaa"

_ITEM_TAG = 0x0A
_KIND_OF_TAG: dict[int, Kind] = {0x0A: "track", 0x12: "identify"}
#: A tag and a length.
_SHORTEST_REQUEST = 2
#: A varint below this is one byte.
_ONE_BYTE = 0x80
_MAX_VARINT_BYTES = 10


def is_plain(message: bytes, *, max_depth: int) -> bool:
    """Whether ``message`` surely holds only finite numbers, and no list or map nested deeper than ``max_depth``.

    True is certain; False means that the decoded message must be looked at. Works on any message that contains the
    events, so a batch is tested once.
    """
    # The two plain searches cost nothing and most messages end there; the pattern reads every byte.
    if (b"\x7f" in message or b"\xff" in message) and _NOT_FINITE.search(message) is not None:
        return False
    return len(message) - len(message.translate(None, _CONTAINER_TAGS)) <= max_depth


def slice_items(message: bytes, most: int) -> list[tuple[Kind | None, bytes]] | None:
    """Each item's own request in an encoded ``TrackBatchRequest``, byte for byte as the caller sent it.

    Decoded one by one they take a fraction of the memory that the whole takes, and no more time.

    Args:
        most: After one more than so many nobody reads on.

    Returns:
        For each item its kind and its request's bytes; where it isn't one clean request (none set, several that
        protobuf merges, unknown fields) None and the bytes of the item. None instead of a list where the message holds
        anything but items, or is no message. Whether what is sliced can be decoded is not looked at.
    """
    items: list[tuple[Kind | None, bytes]] = []
    position, end = 0, len(message)
    try:
        while position < end and len(items) <= most:
            if message[position] != _ITEM_TAG:
                return None
            length, start = message[position + 1], position + 2
            if length >= _ONE_BYTE:
                length, start = _varint(message, position + 1)
            position = start + length
            if length < _SHORTEST_REQUEST:
                items.append((None, message[start:position]))
                continue
            kind = _KIND_OF_TAG.get(message[start])
            length, body = message[start + 1], start + 2
            if length >= _ONE_BYTE:
                length, body = _varint(message, start + 1)
            is_clean = kind is not None and body + length == position
            items.append((kind, message[body:position]) if is_clean else (None, message[start:position]))
    except IndexError:
        return None
    return items if position == end or len(items) > most else None


def _varint(message: bytes, position: int) -> tuple[int, int]:
    """The number at ``position``, and where it ends; IndexError where protobuf reads none."""
    value = 0
    for index in range(_MAX_VARINT_BYTES):
        byte = message[position + index]
        value |= (byte & 0x7F) << 7 * index
        if byte < _ONE_BYTE:
            return value, position + index + 1
    raise IndexError
