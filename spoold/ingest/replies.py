"""Success replies, laid out by hand: they all have the same shape, and message objects cost several times as much.

``TrackEventResponse``, ``IdentifyUserResponse`` and ``BatchResult`` begin alike (success = 1, event_id = 2); a test
holds that the protobuf library reads from these bytes what was meant.
"""

from collections.abc import Mapping, Sequence

from spoold.api.analytics.v1 import service_pb2
from spoold.record import format_uuid

#: success = true; event_id of 36 characters.
_ACCEPTED = "\x08\x01\x12\x24"
#: One ``BatchResult`` of 40 bytes: the above and the id, here with its hyphens only.
_RESULT = f"\x0a\x28{_ACCEPTED}........-....-....-....-............".encode("ascii")
_HEX_OFFSETS = tuple(at for at, byte in enumerate(_RESULT) if byte == ord("."))


def accepted(event_id: bytes) -> bytes:
    """The reply for one event, from the 16 bytes of its id."""
    return f"{_ACCEPTED}{format_uuid(event_id)}".encode("ascii")


def accepted_batch(event_ids: Sequence[bytes]) -> bytes:
    """The reply for a batch whose items were all accepted."""
    digits = b"".join(event_ids).hex().encode("ascii")
    reply = bytearray(_RESULT * len(event_ids))
    # Column by column: 32 strided copies for the whole batch instead of five pieces of text for each id.
    for column, offset in enumerate(_HEX_OFFSETS):
        reply[offset :: len(_RESULT)] = digits[column::32]
    return bytes(reply)


def mixed_batch(event_ids: Sequence[bytes], errors: Mapping[int, str]) -> bytes:
    """The reply for a batch with bad items.

    Args:
        event_ids: Ids of the accepted items, in order.
        errors: What is wrong with the others, by index.
    """
    accepted_ids = iter(event_ids)
    reply = service_pb2.TrackBatchResponse()
    for index in range(len(event_ids) + len(errors)):
        if index in errors:
            reply.results.add(error=errors[index])
        else:
            reply.results.add(success=True, event_id=format_uuid(next(accepted_ids)))
    return reply.SerializeToString()
