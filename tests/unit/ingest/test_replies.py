from spoold.api.analytics.v1 import service_pb2
from spoold.ingest import replies
from spoold.record import format_uuid

IDS = [bytes(range(start, start + 16)) for start in (0, 100, 240)]


def test_protobuf_reads_the_reply_for_one_event() -> None:
    data = replies.accepted(IDS[1])
    text = format_uuid(IDS[1])
    assert service_pb2.TrackEventResponse.FromString(data) == service_pb2.TrackEventResponse(
        success=True, event_id=text
    )
    assert service_pb2.IdentifyUserResponse.FromString(data).event_id == text
    assert data == service_pb2.TrackEventResponse(success=True, event_id=text).SerializeToString()


def test_protobuf_reads_the_reply_for_a_batch() -> None:
    expected = service_pb2.TrackBatchResponse(
        results=[{"success": True, "event_id": format_uuid(event_id)} for event_id in IDS]
    )
    assert replies.accepted_batch(IDS) == expected.SerializeToString()


def test_a_mixed_reply_keeps_the_order_of_the_items() -> None:
    reply = service_pb2.TrackBatchResponse.FromString(replies.mixed_batch(IDS[:2], {0: "bad", 2: "worse"}))
    assert [(r.success, r.event_id, r.error) for r in reply.results] == [
        (False, "", "bad"),
        (True, format_uuid(IDS[0]), ""),
        (False, "", "worse"),
        (True, format_uuid(IDS[1]), ""),
    ]
