"""A real door: the ingest server on a loop of its own, the real spool behind it."""

import asyncio
import threading
import uuid
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar, cast

import grpc
import pytest
import uvloop
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from spoold.clock import SystemClock, SystemEntropy
from spoold.ingest.server import IngestServer, IngestSettings
from spoold.ingest.servicer import SERVICE
from spoold.metrics import Metrics
from spoold.runtime import Loop, ThreadSignal, make_lock
from spoold.spool.contract import Journal
from spoold.spool.local import LocalSpool
from spoold.spool.rows import State
from spoold.spool.space import Space, SpaceLimits
from spoold.spool.store import Commit, Store, commit

NAMESPACE = uuid.UUID("0190b6f2-7c1d-7abc-8def-0123456789ab")
MIB = 1 << 20


class _NobodyWatches:
    def committed(self, state: State, *, seconds: float, events: int) -> None:
        pass

    def checkpointed(self, seconds: float) -> None:
        pass


@contextmanager
def running_spool(directory: Path, *, max_bytes: int = 1024 * MIB, commit: Commit = commit) -> Iterator[LocalSpool]:
    """The real spool with its writer thread."""
    clock, entropy = SystemClock(), SystemEntropy()
    space = Space(directory, SpaceLimits(max_bytes=max_bytes, min_free_bytes=MIB))
    spool = LocalSpool(
        Store(directory, space, entropy, commit=commit),
        space,
        clock,
        entropy,
        directory=directory,
        retention_seconds=3600,
        observer=_NobodyWatches(),
        lock=make_lock(),
        make_signal=ThreadSignal,
    )
    # A writer that dies has answered whoever waited, which is what the tests look at.
    writer = Loop("writer", spool.commits.step, clock, on_death=lambda _name, _error: None)
    spool.commits.wake = writer.wake
    writer.start()
    yield spool
    writer.request_stop()
    writer.join()
    spool.close()


@pytest.fixture(scope="module")
def spool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSpool]:
    """One spool for the tests of a module."""
    with running_spool(tmp_path_factory.mktemp("spool")) as spool:
        yield spool


D = TypeVar("D", bound=Message)


class Refused(NamedTuple):
    """How a call ended that was not OK."""

    code: grpc.StatusCode
    sentence: str
    call: grpc.Call

    @classmethod
    def of(cls, error: object) -> Self:
        """What an error of grpcio says."""
        call = cast("grpc.Call", error)
        return cls(call.code(), call.details() or "", call)

    def details(self, message: D) -> D:
        """What it says for machines, as ``message``'s type."""
        status = rpc_status.from_call(self.call)
        assert status is not None
        assert status.details[0].Unpack(message)
        return message

    def fields(self) -> list[str]:
        """The fields that it names."""
        request = self.details(error_details_pb2.BadRequest())
        return [violation.field for violation in request.field_violations]


class Door:
    """A running server, and one client of it.

    Attributes:
        condition: What the daemon would say, or raise; assign to change it.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        unix_socket: Path | None = None,
        condition: str = "healthy",
        **limits: Any,
    ) -> None:
        self.condition: str | Exception = condition
        self.deaths: list[BaseException] = []
        self.metrics = Metrics()
        self.server = IngestServer(
            journal,
            IngestSettings(host=host, port=port, unix_socket=unix_socket, **limits),
            id_namespace=NAMESPACE,
            clock=SystemClock(),
            metrics=self.metrics,
            condition=self._say_condition,
            queue_size=lambda: 0,
            on_death=lambda _, error: self.deaths.append(error),
        )
        self.loop = uvloop.new_event_loop()
        #: What asyncio would log: an exception that nobody retrieved, a callback that failed.
        self.noise: list[str] = []
        self.loop.set_exception_handler(lambda _, context: self.noise.append(str(context)))
        self._thread = threading.Thread(target=self.loop.run_forever, name="loop")

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self.run(self.server.start())
        except BaseException:
            self._end_loop()
            raise
        self.channel = grpc.insecure_channel(self.server.address)
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()
        self.run(self.server.stop(5))
        self._end_loop()

    def _say_condition(self) -> str:
        if isinstance(self.condition, Exception):
            raise self.condition
        return self.condition

    def _end_loop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run it on the server's loop."""
        self.begin(coroutine).result(30)

    def begin(self, coroutine: Coroutine[Any, Any, None]) -> "Future[None]":
        """Begin it on the server's loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def method(self, name: str) -> "grpc.UnaryUnaryMultiCallable[bytes, bytes]":
        """A method that takes and gives bytes as they are."""
        return self.channel.unary_unary(f"/{SERVICE}/{name}", request_serializer=bytes, response_deserializer=bytes)

    def send(self, method: str, message: bytes) -> bytes:
        """Call ``method`` and be answered."""
        return self.method(method)(message, timeout=20)

    def refused(self, method: str, message: bytes) -> Refused:
        """Call ``method`` and be refused."""
        with pytest.raises(grpc.RpcError) as caught:
            self.send(method, message)
        return Refused.of(caught.value)

    def count(self, name: str, **labels: str) -> float:
        """The value of a counter."""
        return self.metrics.registry.get_sample_value(f"spoold_{name}_total", labels) or 0.0


@pytest.fixture(scope="module")
def door(spool: LocalSpool) -> Iterator[Door]:
    """One server for the tests of a module."""
    with Door(spool) as door:
        yield door
        assert not door.noise
