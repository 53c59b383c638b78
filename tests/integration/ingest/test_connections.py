"""Connections that are of no use give way, and honest clients do not notice."""

import random
import threading
from contextlib import ExitStack, suppress

import grpc
import pytest

from spoold.api.analytics.v1 import service_pb2 as pb
from spoold.api.analytics.v1.service_pb2_grpc import AnalyticsServiceStub
from spoold.spool.local import LocalSpool
from tests.abuse.wire import CONTINUATION, HEADERS, SETTINGS, RudeClient, fields, frame, header
from tests.integration.ingest.conftest import Door

_ACK = 1
_MOST = 8
#: A stranger to the pool of connections that the process shares.
_ALONE = (("grpc.use_local_subchannel_pool", 1), ("grpc.initial_reconnect_backoff_ms", 100))


def acquainted(stack: ExitStack, door: Door) -> RudeClient:
    """A client that has said all that HTTP/2 asks for, and nothing more."""
    client = stack.enter_context(RudeClient(door.server.address))
    assert client.receive()
    client.send(frame(SETTINGS, _ACK, 0))
    return client


def is_closed(client: RudeClient) -> bool:
    """Whether the other end closes, after whatever it still says."""
    client.socket.settimeout(20)
    with suppress(ConnectionError):
        while client.socket.recv(65_536):
            pass
    return True


def test_a_crowd_that_keeps_all_connections_and_says_nothing_gives_way(spool: LocalSpool) -> None:
    with Door(spool, idle_seconds=1.0, max_connections=_MOST) as door, ExitStack() as stack:
        crowd = [acquainted(stack, door) for _ in range(_MOST)]
        assert is_closed(stack.enter_context(RudeClient(door.server.address))), "there is still room"

        with grpc.insecure_channel(door.server.address, _ALONE) as channel:
            reply = AnalyticsServiceStub(channel).HealthCheck(pb.HealthCheckRequest(), wait_for_ready=True, timeout=20)

        assert reply.status == "healthy"
        assert all(is_closed(client) for client in crowd)


def test_an_idle_client_is_let_go_and_its_next_call_is_answered(spool: LocalSpool) -> None:
    with Door(spool, idle_seconds=0.5) as door, grpc.insecure_channel(door.server.address, _ALONE) as channel:
        stub = AnalyticsServiceStub(channel)
        stub.HealthCheck(pb.HealthCheckRequest(), timeout=20)
        is_let_go = threading.Event()
        channel.subscribe(lambda state: is_let_go.set() if state is grpc.ChannelConnectivity.IDLE else None)

        assert is_let_go.wait(20)

        assert stub.HealthCheck(pb.HealthCheckRequest(), timeout=20).status == "healthy"


def test_a_call_in_the_moment_in_which_its_connection_is_let_go_is_answered(spool: LocalSpool) -> None:
    rng, pause = random.Random(7), threading.Event()
    with Door(spool, idle_seconds=0.02) as door, grpc.insecure_channel(door.server.address, _ALONE) as channel:
        stub = AnalyticsServiceStub(channel)
        for _ in range(150):
            assert stub.HealthCheck(pb.HealthCheckRequest(), timeout=20).status == "healthy"
            pause.wait(rng.uniform(0.015, 0.025))


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"GET / HTTP/1.1\r\n",
        frame(HEADERS, 0, 1, fields()) + frame(CONTINUATION, 0, 1, header(b"a", b"b" * 16_000)) * 100,
    ],
    ids=["nothing", "no HTTP/2", "headers without end, by one who acknowledges no limits"],
)
def test_who_does_not_come_to_the_point_is_shown_out(spool: LocalSpool, said: bytes) -> None:
    is_http2 = len(said) > 100
    with Door(spool, hello_seconds=0.5) as door, RudeClient(door.server.address, greets=is_http2) as client:
        client.send(said)

        assert is_closed(client)
