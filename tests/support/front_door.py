"""A client of the front door, as a service has one."""

from collections.abc import Iterator
from contextlib import contextmanager

import grpc

from spoold.api.analytics.v1 import service_pb2, service_pb2_grpc

Stub = service_pb2_grpc.AnalyticsServiceStub


@contextmanager
def front_door(address: str, *options: tuple[str, object]) -> Iterator[Stub]:
    """A stub on a channel of its own, with these of gRPC's options."""
    with grpc.insecure_channel(address, options) as channel:
        yield Stub(channel)


def track(stub: Stub, name: str = "Order Paid", count: int = 1, **fields: object) -> list[str]:
    """Send events one by one; returns their ids."""
    request = service_pb2.TrackEventRequest(event_name=name, user_id="u-81", **fields)  # type: ignore[arg-type]
    return [stub.TrackEvent(request, timeout=10).event_id for _ in range(count)]


def track_batch(stub: Stub, count: int, size: int = 10) -> list[str]:
    """Send events in one call; returns their ids."""
    value = service_pb2.PropertyValue(string_value="x" * size)
    event = service_pb2.TrackEventRequest(event_name="Order Paid", user_id="u-81", properties={"text": value})
    request = service_pb2.TrackBatchRequest(items=[service_pb2.BatchItem(track=event)] * count)
    return [result.event_id for result in stub.TrackBatch(request, timeout=20).results]
