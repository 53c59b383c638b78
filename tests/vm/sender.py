"""A service that sends: one event after the other, each repeated with its id until it is acknowledged.

Writes the acknowledged ids to the file that is named, one a line, and ends when its input does, with the number of
calls that had to be repeated.
"""

import select
import sys
import uuid
from pathlib import Path

import grpc

from spoold.api.analytics.v1 import service_pb2, service_pb2_grpc

_PACE_SECONDS = 0.01
_CALL_SECONDS = 5.0
_OPTIONS = [("grpc.max_reconnect_backoff_ms", 500)]


def main() -> None:
    repeats = 0
    with grpc.insecure_channel("127.0.0.1:50054", options=_OPTIONS) as channel, Path(sys.argv[1]).open("w") as acked:
        analytics = service_pb2_grpc.AnalyticsServiceStub(channel)
        while not select.select([sys.stdin], [], [], _PACE_SECONDS)[0]:
            event = service_pb2.TrackEventRequest(event_name="Loaded", user_id="u-1", event_id=str(uuid.uuid4()))
            while not _is_taken(analytics, event):
                repeats += 1
                select.select([], [], [], 10 * _PACE_SECONDS)
            acked.write(f"{event.event_id}\n")
            acked.flush()
    print(repeats)


def _is_taken(analytics: service_pb2_grpc.AnalyticsServiceStub, event: service_pb2.TrackEventRequest) -> bool:
    try:
        reply: service_pb2.TrackEventResponse = analytics.TrackEvent(event, timeout=_CALL_SECONDS)
    except grpc.RpcError:
        return False
    return reply.success


if __name__ == "__main__":
    main()
