"""Listening, health, reflection, stopping."""

import socket
import time
from pathlib import Path

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from spoold.api.analytics.v1 import service_pb2 as pb
from spoold.api.analytics.v1 import service_pb2_grpc
from spoold.errors import ListenError
from spoold.ingest.servicer import SERVICE
from spoold.spool.local import LocalSpool
from tests.integration.ingest.conftest import Door

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def health(door: Door, service: str = "") -> int:
    stub = health_pb2_grpc.HealthStub(door.channel)
    return int(stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=10).status)


def test_a_port_in_use_is_an_error_that_names_address_and_reason(spool: LocalSpool) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(ListenError, match=f"127.0.0.1:{port}: Address already in use") as caught,
            Door(spool, port=port),
        ):
            pass
    assert caught.value.address == f"127.0.0.1:{port}"


def test_a_second_server_does_not_share_the_port(door: Door, spool: LocalSpool) -> None:
    port = int(door.server.address.rpartition(":")[2])
    with pytest.raises(ListenError, match="Address already in use"), Door(spool, port=port):
        pass


def test_a_host_that_is_not_ours_is_an_error(spool: LocalSpool) -> None:
    reason = r"192\.0\.2\.1:0: Cannot assign requested address"
    with pytest.raises(ListenError, match=reason), Door(spool, host="192.0.2.1"):
        pass


def test_a_unix_socket_serves_beside_tcp(tmp_path: Path, spool: LocalSpool) -> None:
    path = tmp_path / "ingest.sock"
    with Door(spool, unix_socket=path) as door, grpc.insecure_channel(f"unix:{path}") as channel:
        stub = service_pb2_grpc.AnalyticsServiceStub(channel)
        assert stub.TrackEvent(pb.TrackEventRequest(event_name="a"), timeout=10).success
        assert door.server.address.startswith("127.0.0.1:")
    assert not path.exists()


def test_a_unix_socket_without_its_directory_is_an_error(tmp_path: Path, spool: LocalSpool) -> None:
    reason = "its directory does not exist"
    with pytest.raises(ListenError, match=reason), Door(spool, unix_socket=tmp_path / "missing" / "s"):
        pass


@pytest.mark.parametrize("service", ["", SERVICE])
def test_health_follows_what_the_daemon_says(door: Door, service: str) -> None:
    assert health(door, service) == SERVING
    door.loop.call_soon_threadsafe(door.server.set_serving, False)
    assert health(door, service) == NOT_SERVING
    door.loop.call_soon_threadsafe(door.server.set_serving, True)
    assert health(door, service) == SERVING


def test_a_server_that_starts_on_a_full_spool_does_not_serve(spool: LocalSpool) -> None:
    with Door(spool, condition="full") as door:
        assert health(door) == NOT_SERVING


def test_a_watcher_hears_each_change_and_holds_up_no_stop(spool: LocalSpool) -> None:
    with Door(spool) as door:
        stub = health_pb2_grpc.HealthStub(door.channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest(), timeout=20)
        assert next(watch).status == SERVING
        door.loop.call_soon_threadsafe(door.server.set_serving, False)
        assert next(watch).status == NOT_SERVING
        start = time.monotonic()
        door.run(door.server.stop(15))
        assert time.monotonic() - start < 5
        door.run(door.server.stop(15))


def test_reflection_lists_the_services_and_gives_a_whole_descriptor(door: Door) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(door.channel)
    asks = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE),
    ]
    listed, described = stub.ServerReflectionInfo(iter(asks), timeout=10)
    names = {service.name for service in listed.list_services_response.service}
    assert names == {SERVICE, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
    pool = descriptor_pool.DescriptorPool()
    for data in described.file_descriptor_response.file_descriptor_proto:
        pool.Add(descriptor_pb2.FileDescriptorProto.FromString(data))
    service = pool.FindServiceByName(SERVICE)
    assert [method.name for method in service.methods] == [
        "TrackEvent",
        "IdentifyUser",
        "TrackBatch",
        "GetEventCount",
        "GetUserCount",
        "HealthCheck",
    ]
    assert service.methods_by_name["TrackEvent"].input_type.fields_by_name["timestamp_ms"].number == 7


@pytest.mark.parametrize(
    "junk", [b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 64, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 64]
)
def test_what_is_no_grpc_harms_nobody(door: Door, junk: bytes) -> None:
    host, _, port = door.server.address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(junk)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):
            pass
    assert health(door) == SERVING


def header(name: bytes, value: bytes) -> bytes:
    """An HPACK literal."""
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """An HTTP/2 frame."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def test_a_path_that_is_not_utf8_does_not_close_the_door(spool: LocalSpool) -> None:
    """grpcio's accepting loop dies of it, and its server shuts down."""
    fields = {b":method": b"POST", b":scheme": b"http", b":path": b"/\xff", b":authority": b"x"}
    fields |= {b"content-type": b"application/grpc", b"te": b"trailers"}
    headers = b"".join(header(name, value) for name, value in fields.items())
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0)
    with Door(spool) as door:
        host, _, port = door.server.address.rpartition(":")
        for _ in range(2):
            with socket.create_connection((host, int(port)), timeout=10) as connection:
                connection.sendall(preface + frame(1, 4, 1, headers) + frame(0, 1, 1, bytes(5)))
                said = b""
                while b"Server shutdown" not in said and b"grpc-status" not in said:
                    said += connection.recv(4096)
            with grpc.insecure_channel(door.server.address) as channel:
                assert track_until_taken(service_pb2_grpc.AnalyticsServiceStub(channel))
        assert not door.deaths


def track_until_taken(stub: service_pb2_grpc.AnalyticsServiceStub) -> bool:
    """A call that meets the old listener on its way out is cancelled with it; the caller repeats it."""
    for _ in range(20):
        try:
            reply = stub.TrackEvent(pb.TrackEventRequest(event_name="a"), timeout=10, wait_for_ready=True)
        except grpc.RpcError as error:
            if error.code() not in (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE):
                raise
        else:
            return bool(reply.success)
    return False
