"""A client of the service that spoold replaces works unchanged: its own stubs, in its own process."""

import json
import subprocess
import sys
from pathlib import Path

from spoold.record import Event
from spoold.spool.local import LocalSpool
from tests.integration.ingest.conftest import Door

#: What the old service's clients were generated from: none of our additions.
OLD_PROTO = """
syntax = "proto3";
package analytics.v1;

service AnalyticsService {
  rpc TrackEvent(TrackEventRequest) returns (TrackEventResponse);
  rpc IdentifyUser(IdentifyUserRequest) returns (IdentifyUserResponse);
  rpc GetEventCount(GetEventCountRequest) returns (GetEventCountResponse);
  rpc GetUserCount(GetUserCountRequest) returns (GetUserCountResponse);
  rpc HealthCheck(HealthCheckRequest) returns (HealthCheckResponse);
}
message PropertyValue {
  oneof value { string string_value = 1; double number_value = 2; bool bool_value = 3; }
}
message TrackEventRequest {
  string event_name = 1; string user_id = 2; map<string, PropertyValue> properties = 3; int64 timestamp = 4;
}
message TrackEventResponse { bool success = 1; string event_id = 2; }
message IdentifyUserRequest { string user_id = 1; map<string, PropertyValue> properties = 2; }
message IdentifyUserResponse { bool success = 1; }
message EventCount { string event_name = 1; int64 timestamp = 2; int64 count = 3; }
message GetEventCountRequest { string event_name = 1; int64 start_time = 2; int64 end_time = 3; string group_by = 4; }
message GetEventCountResponse { repeated EventCount counts = 1; }
message GetUserCountRequest { int64 start_time = 1; int64 end_time = 2; }
message GetUserCountResponse { int64 unique_users = 1; }
message HealthCheckRequest {}
message HealthCheckResponse { string status = 1; }
"""

CLIENT = """
import json, sys
import grpc
from analytics.v1 import service_pb2 as pb, service_pb2_grpc

with grpc.insecure_channel(sys.argv[1]) as channel:
    stub = service_pb2_grpc.AnalyticsServiceStub(channel)
    track = pb.TrackEventRequest(event_name="Old Event", user_id="u-1", timestamp=1700000000)
    track.properties["price"].number_value = 9.5
    track.properties["name"].string_value = "x"
    track.properties["new"].bool_value = True
    tracked = stub.TrackEvent(track, timeout=20)
    identify = pb.IdentifyUserRequest(user_id="u-1")
    identify.properties["plan"].string_value = "pro"
    identified = stub.IdentifyUser(identify, timeout=20)
    health = stub.HealthCheck(pb.HealthCheckRequest(), timeout=20)
    try:
        stub.GetEventCount(pb.GetEventCountRequest(event_name="x"), timeout=20)
    except grpc.RpcError as error:
        counted = error.code().name
print(json.dumps([tracked.success, tracked.event_id, identified.success, health.status, counted]))
"""


def test_a_client_with_the_old_stubs_works_unchanged(door: Door, spool: LocalSpool, tmp_path: Path) -> None:
    proto = tmp_path / "analytics" / "v1" / "service.proto"
    proto.parent.mkdir(parents=True)
    proto.write_text(OLD_PROTO)
    (tmp_path / "client.py").write_text(CLIENT)
    protoc = [sys.executable, "-m", "grpc_tools.protoc", "-I.", "--python_out=.", "--grpc_python_out=.", str(proto)]
    protoc[-1] = "analytics/v1/service.proto"
    subprocess.run(protoc, cwd=tmp_path, check=True)
    client = [sys.executable, "client.py", door.server.address]
    said = subprocess.run(client, cwd=tmp_path, check=True, capture_output=True, text=True, timeout=60)
    tracked, event_id, identified, health, counted = json.loads(said.stdout)
    assert (tracked, identified, health, counted) == (True, True, "healthy", "UNIMPLEMENTED")
    story = spool.find(bytes.fromhex(event_id.replace("-", "")))
    assert story is not None
    assert isinstance(story.event, Event)
    assert story.event.properties == {"name": "x", "new": True, "price": 9.5}
    assert story.event.timestamp_ms == 1_700_000_000_000
