import grpc
import pytest
from google.protobuf.message import DecodeError
from google.rpc import code_pb2, error_details_pb2, status_pb2

from spoold.api.analytics.v1 import service_pb2
from spoold.errors import InvalidEventError, SpoolClosedError, SpoolCorruptError, SpoolFailedError, SpoolFullError
from spoold.ingest.status import Refusal, refusal, unimplemented


def details(answer: Refusal) -> status_pb2.Status:
    ((key, value),) = answer.trailing_metadata
    assert key == "grpc-status-details-bin"
    status = status_pb2.Status.FromString(value)
    assert status.message == answer.message
    assert status.code == answer.code.value[0]
    return status


def bad_request(answer: Refusal) -> error_details_pb2.BadRequest:
    message = error_details_pb2.BadRequest()
    assert details(answer).details[0].Unpack(message)
    return message


def test_an_invalid_event_names_every_field() -> None:
    answer = refusal(InvalidEventError([("event_name", "is required"), ("timestamp", "is late")]))
    assert (answer.code, answer.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "invalid")
    assert answer.message == "event_name: is required (and 1 more)"
    violations = bad_request(answer).field_violations
    assert [(v.field, v.description) for v in violations] == [("event_name", "is required"), ("timestamp", "is late")]


def test_an_undecodable_message_is_a_bad_request_too() -> None:
    with pytest.raises(DecodeError) as caught:
        service_pb2.TrackEventRequest.FromString(b"\xff")
    answer = refusal(caught.value)
    assert (answer.code, answer.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "undecodable")
    assert bad_request(answer).field_violations[0].field == "request"
    assert "TrackEventRequest" in answer.message


def test_a_full_spool_says_when_to_come_again() -> None:
    answer = refusal(SpoolFullError("the spool is full", reason="max_bytes", retry_after_seconds=2.5))
    assert (answer.code, answer.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "max_bytes")
    info = error_details_pb2.RetryInfo()
    assert details(answer).details[0].Unpack(info)
    assert info.retry_delay.ToMilliseconds() == 2_500


@pytest.mark.parametrize(
    ("error", "reason", "said"),
    [
        (SpoolClosedError("closed"), "draining", "nothing was stored"),
        (SpoolFailedError("EIO"), "failed", "unknown: repeat it with the same event_id"),
        (SpoolCorruptError("malformed"), "failed", "unknown: repeat it with the same event_id"),
    ],
)
def test_a_spool_that_takes_nothing_is_unavailable_and_says_what_is_known(
    error: Exception, reason: str, said: str
) -> None:
    answer = refusal(error)
    assert (answer.code, answer.reason, answer.is_expected) == (grpc.StatusCode.UNAVAILABLE, reason, True)
    assert said in answer.message


def test_an_unforeseen_error_leaks_nothing() -> None:
    answer = refusal(RuntimeError("password"))
    assert (answer.code, answer.reason, answer.is_expected) == (grpc.StatusCode.INTERNAL, "internal", False)
    assert b"password" not in repr(answer).encode()


def test_unimplemented_says_so() -> None:
    assert details(unimplemented("not yet")).code == code_pb2.UNIMPLEMENTED


@pytest.mark.parametrize("character", ["x", "\U0001f600"])
def test_the_largest_refusal_fits_into_the_trailers_that_clients_take(character: str) -> None:
    answer = refusal(InvalidEventError([(character * 97, character * 97)] * 20))
    percent_encoded = len(answer.message.encode()) * 3
    base64 = len(answer.trailing_metadata[0][1]) * 4 // 3
    assert bad_request(answer).field_violations
    assert percent_encoded + base64 < 8_000
