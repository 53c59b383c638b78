"""Whoever may open the admin socket can keep nobody else out for long, nor take the daemon's descriptors."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import grpc
import pytest

from spoold.api.spoold.admin.v1 import admin_pb2, admin_pb2_grpc
from tests.abuse.siege import descriptors, wait_until
from tests.integration.admin.conftest import Desk

_MOST = 32
_CROWD = 80
_ALONE = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_reconnect_backoff_ms", 200))


@contextmanager
def crowd(desk: Desk, said: bytes) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        clients = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(_CROWD)]
        for client in clients:
            client.settimeout(20)
            client.connect(str(desk.path))
            # One that is too many may have been shown out already.
            with suppress(BrokenPipeError, ConnectionResetError):
                client.sendall(said)
        yield clients


def ask(stub: admin_pb2_grpc.AdminServiceStub) -> None:
    assert stub.GetStatus(admin_pb2.GetStatusRequest(), wait_for_ready=True, timeout=20).daemon.pid == 71


def is_answered(desk: Desk) -> bool:
    try:
        ask(desk.stub)
    except grpc.RpcError:
        return False
    return True


@pytest.mark.parametrize("said", [b"", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"], ids=["nothing", "hello"])
def test_a_crowd_that_stays_keeps_no_operator_out_for_long(desk: Desk, said: bytes) -> None:
    open_before = descriptors(os.getpid())
    with crowd(desk, said), grpc.insecure_channel(f"unix:{desk.path}", _ALONE) as channel:
        ask(admin_pb2_grpc.AdminServiceStub(channel))

        assert descriptors(os.getpid()) <= open_before + _CROWD + _MOST + 8


def test_calls_that_do_not_come_to_their_end_are_bounded_and_leave_their_places(desk: Desk) -> None:
    is_over = threading.Event()

    def say_nothing() -> Iterator[bytes]:
        is_over.wait()
        yield from ()

    with grpc.insecure_channel(f"unix:{desk.path}", _ALONE) as channel:
        begin = channel.stream_unary("/spoold.admin.v1.AdminService/GetStatus", bytes, bytes)
        unfinished = [begin.future(say_nothing(), timeout=20) for _ in range(_MOST)]
        with pytest.raises(grpc.RpcError) as caught:  # noqa: PT012 - when all of them have come
            for _ in range(1_000):
                ask(desk.stub)
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        for call in unfinished:
            call.cancel()  # type: ignore[no-untyped-call]
        is_over.set()
        wait_until(lambda: is_answered(desk), "a place")
