"""What a caller is told when an event is refused: error → gRPC status with ``google.rpc`` details.

The caller gets a code, a sentence and details for machines; the log gets the cause; a metric gets the reason.
"""

from typing import NamedTuple

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import DecodeError, Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from spoold.errors import InvalidEventError, SpoolClosedError, SpooldError, SpoolError, SpoolFullError
from spoold.ingest.intake import BusyError

#: Bytes of violations in one status, and characters of its sentence. They travel in a trailer, in base64 and
#: percent-encoded, and common clients refuse trailers of more than 8 KiB.
_MAX_VIOLATION_BYTES = 2_048
_MAX_MESSAGE_CHARACTERS = 160

#: When a call that had no turn may have one.
_BUSY_SECONDS = 1.0

_UNKNOWN = "whether the event was stored is unknown: repeat it with the same event_id."


class Refusal(NamedTuple):
    """A refusal, ready to be sent.

    Attributes:
        reason: Label for the metric of refused events.
        code: gRPC status code.
        message: One sentence.
        trailing_metadata: ``grpc-status-details-bin``.
        is_expected: False for an error that nobody foresaw: its traceback belongs in the log.
    """

    reason: str
    code: grpc.StatusCode
    message: str
    trailing_metadata: tuple[tuple[str, str | bytes], ...]
    is_expected: bool = True


def refusal(error: BaseException) -> Refusal:
    """What to answer for ``error``; an unforeseen one is INTERNAL, and its text stays here."""
    if isinstance(error, DecodeError):
        return _invalid("undecodable", InvalidEventError([("request", f"is not a valid message: {error}")]))
    if isinstance(error, InvalidEventError):
        return _invalid("invalid", error)
    if isinstance(error, SpoolFullError):
        return _exhausted(error.reason, error, error.retry_after_seconds)
    if isinstance(error, BusyError):
        return _exhausted("busy", error, _BUSY_SECONDS)
    return _failed(error)


def _failed(error: BaseException) -> Refusal:
    if isinstance(error, SpoolClosedError):
        return _refusal("draining", code_pb2.UNAVAILABLE, "The daemon is stopping; nothing was stored, repeat later.")
    if isinstance(error, SpoolError):
        # The disk failed, or SQLite calls the file damaged: the process is about to end.
        return _refusal("failed", code_pb2.UNAVAILABLE, f"The commit failed; {_UNKNOWN}")
    return _refusal("internal", code_pb2.INTERNAL, f"Unexpected error; {_UNKNOWN}")._replace(is_expected=False)


def unimplemented(sentence: str) -> Refusal:
    """For a method that this version doesn't have."""
    return _refusal("unimplemented", code_pb2.UNIMPLEMENTED, sentence)


def _exhausted(reason: str, error: SpooldError, retry_after_seconds: float) -> Refusal:
    delay = duration_pb2.Duration()
    delay.FromMilliseconds(round(retry_after_seconds * 1_000))
    return _refusal(reason, code_pb2.RESOURCE_EXHAUSTED, str(error), error_details_pb2.RetryInfo(retry_delay=delay))


def _invalid(reason: str, error: InvalidEventError) -> Refusal:
    details = error_details_pb2.BadRequest()
    for field, text in error.violations:
        details.field_violations.add(field=field, description=text)
        if details.ByteSize() > _MAX_VIOLATION_BYTES and len(details.field_violations) > 1:
            details.field_violations.pop()
            break
    field, text = error.violations[0]
    more = len(error.violations) - 1
    sentence = f"{field}: {_short(text)}" + (f" (and {more} more)" if more else "")
    return _refusal(reason, code_pb2.INVALID_ARGUMENT, sentence, details)


def _refusal(reason: str, code: int, sentence: str, details: Message | None = None) -> Refusal:
    status = status_pb2.Status(code=code, message=_short(sentence))
    if details is not None:
        packed = any_pb2.Any()
        packed.Pack(details)
        status.details.append(packed)
    ready = rpc_status.to_status(status)
    return Refusal(reason, ready.code, ready.details, ready.trailing_metadata)


def _short(text: str) -> str:
    return text if len(text) <= _MAX_MESSAGE_CHARACTERS else text[:_MAX_MESSAGE_CHARACTERS] + "…"
