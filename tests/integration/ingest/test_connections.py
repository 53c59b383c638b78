"""Connections that are of no use give way, and honest clients do not notice."""

from contextlib import ExitStack, suppress

import grpc
import pytest

from spoold.api.analytics.v1 import service_pb2 as pb
from spoold.api.analytics.v1.service_pb2_grpc import AnalyticsServiceStub
from spoold.spool.local import LocalSpool
from tests.abuse.wire import CONTINUATION, HEADERS, RudeClient, fields, frame, header
from tests.integration.ingest.conftest import Door

_MOST = 8
#: A stranger to the pool of connections that the process shares.
_ALONE = (("grpc.use_local_subchannel_pool", 1), ("grpc.initial_reconnect_backoff_ms", 100))


def is_closed(client: RudeClient) -> bool:
    """Whether the other end closes, after whatever it still says."""
    client.socket.settimeout(20)
    with suppress(ConnectionError):
        while client.socket.recv(65_536):
            pass
    return True


def connect(stack: ExitStack, door: Door) -> grpc.Channel:
    """A client that has called once, and keeps its connection."""
    channel = stack.enter_context(grpc.insecure_channel(door.server.address, _ALONE))
    ask(channel)
    return channel


def ask(channel: grpc.Channel, *, is_patient: bool = False) -> None:
    reply = AnalyticsServiceStub(channel).HealthCheck(pb.HealthCheckRequest(), timeout=20, wait_for_ready=is_patient)
    assert reply.status == "healthy"


def test_a_crowd_that_keeps_all_connections_gives_way_and_notices_nothing(spool: LocalSpool) -> None:
    with Door(spool, connection_seconds=2.0, max_connections=_MOST) as door, ExitStack() as stack:
        crowd = [connect(stack, door) for _ in range(_MOST)]
        assert is_closed(stack.enter_context(RudeClient(door.server.address))), "there is still room"

        with grpc.insecure_channel(door.server.address, _ALONE) as newcomer:
            ask(newcomer, is_patient=True)

        for channel in crowd[: _MOST // 2]:
            ask(channel)


def test_calls_go_on_while_their_connections_come_to_their_end(spool: LocalSpool) -> None:
    with Door(spool, connection_seconds=0.05) as door, ExitStack() as stack:
        channel = connect(stack, door)
        ends: list[grpc.ChannelConnectivity] = []
        channel.subscribe(lambda state: ends.append(state) if state is grpc.ChannelConnectivity.IDLE else None)
        for _ in range(1_000):
            ask(channel)
        assert len(ends) > 3


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
