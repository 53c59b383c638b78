"""The listener: gRPC on TCP and, if configured, on a unix socket."""

import asyncio
import logging
import resource
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from spoold.clock import Clock
from spoold.errors import ListenError
from spoold.ingest.handlers import Handlers
from spoold.ingest.health import Health
from spoold.ingest.ids import CallerIds
from spoold.ingest.intake import MAX_TRANSPORT_BYTES, Intake
from spoold.ingest.servicer import SERVICE, AnalyticsServicer
from spoold.ingest.validation import Rules
from spoold.log import get_logger
from spoold.metrics import Metrics
from spoold.spool.contract import Journal

#: Conditions in which appends are accepted.
_ACCEPTING = ("healthy", "degraded")

#: How long the door may be closed when grpcio's accepting loop died, and what its last calls get to finish.
_LOOK_EVERY_SECONDS = 0.1
_RETIRE_SECONDS = 1.0

#: Of a daemon with a few lanes: some 30 at rest, a request under way each, an operator's calls.
_OWN_DESCRIPTORS = 128
#: No single connection can have all calls.
_CONNECTIONS_TO_FILL_IT = 4
_WINDOW_BYTES = 65_535
_METADATA_BYTES = 16_384

_OPTIONS = (
    # Shared ports are grpcio's default: a second daemon would silently take half of the calls.
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", MAX_TRANSPORT_BYTES),
    # What a call may send before its turn (intake.py): grpcio would offer more to a fast client, some MiB each.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", _WINDOW_BYTES),
    # What one connection may have read and not looked at: grpcio's default is 4 MiB, hundreds of times as much in all.
    ("grpc.experimental.tcp_max_read_chunk_size", _WINDOW_BYTES),
    ("grpc.experimental.tcp_max_read_buffer_size", _WINDOW_BYTES),
    # Our clients send a few hundred bytes of metadata; what is larger is refused, call by call.
    ("grpc.max_metadata_size", _METADATA_BYTES),
    ("grpc.absolute_max_metadata_size", _METADATA_BYTES),
    # Clients may keep idle connections alive through a NAT or a balancer, but not with more than one ping in 10 s;
    # grpcio's default punishes anything below 5 minutes by closing the connection.
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # Notice clients that vanished without a word: grpcio's default is 2 hours.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestSettings:
    """What the operator may choose.

    Attributes:
        host: Name or address to listen on.
        port: 0 means any free one.
        unix_socket: Path to listen on as well, or None. The spool's directory must be locked before: a second server
            binds an existing path without an error, and removes the file when it stops.
        max_event_bytes: Largest event, as JSON in bytes.
        max_concurrent_calls: Calls of all kinds at one moment, health watches included; more are answered
            RESOURCE_EXHAUSTED. At the fastest that one process answers, some thousands a second, 1024 is a commit
            that stalls for a fifth of a second; the messages behind it are what this bounds the memory of. A single
            connection queues its calls before it comes to that.
        hello_seconds: In so long a client must have said something, that in HTTP/2, and acknowledged the limits that it
            was told, as any library does by itself. Before that grpcio holds it to the protocol's own limits: 16 MiB
            of headers, not 16 KiB.
        connection_seconds: A connection of that age, give or take a tenth, takes no more calls and ends with its last
            one, so that a crowd that keeps its connections keeps nobody out for longer. To a client's library this is
            no error: it opens another one for the next call.
        max_connections: Beyond what the limit of descriptors leaves room for there are never more.
    """

    host: str
    port: int
    unix_socket: Path | None = None
    max_event_bytes: int = 32_000
    max_concurrent_calls: int = 1_024
    hello_seconds: float = 10.0
    connection_seconds: float = 120.0
    #: Each takes some 13 KiB.
    max_connections: int = 4_096


class IngestServer:
    """The door: takes events in, answers when they are on disk.

    Construct anywhere; start, stop and ``set_serving`` on the loop's thread.

    Args:
        journal: Where accepted events go. Its futures may complete on any thread.
        settings: What the operator may choose.
        id_namespace: Under which a caller's id that is no UUID becomes one.
        clock: Wall time, for timestamps.
        metrics: Counts what was accepted and refused.
        condition: ``healthy``, ``degraded``, ``full`` or ``draining``: what ``HealthCheck`` answers. Called on the
            loop's thread for each such call; must not block.
        queue_size: Events that wait for delivery, for the log message ``event queued``. Called as ``condition`` is.
        on_death: Called with a name and an error when the door closed by itself and can't be opened again.
    """

    def __init__(
        self,
        journal: Journal,
        settings: IngestSettings,
        *,
        id_namespace: UUID,
        clock: Clock,
        metrics: Metrics,
        condition: Callable[[], str],
        queue_size: Callable[[], int],
        on_death: Callable[[str, BaseException], None],
    ) -> None:
        self._journal = journal
        self._settings = settings
        self._rules = Rules(max_event_bytes=settings.max_event_bytes, ids=CallerIds(id_namespace), clock=clock)
        self._metrics = metrics
        self._condition = condition
        self._queue_size = queue_size
        self._health = Health(("", SERVICE))
        self._on_death = on_death
        self._log = get_logger("ingest")
        self._server: grpc.aio.Server | None = None
        self._port = 0
        self._watch: asyncio.Future[None] | None = None
        self._retiring: set[asyncio.Future[None]] = set()

    @property
    def address(self) -> str:
        """``host:port`` with the port that is listened on; empty before ``start``."""
        return _join(self._settings.host, self._port) if self._port else ""

    async def start(self) -> None:
        """Listen. From the return on calls are answered.

        Raises:
            ListenError: The address can't be had.
        """
        # A filter that is there already is not added again.
        logging.getLogger("grpc._cython.cygrpc").addFilter(_is_worth_a_line)
        self.set_serving(self._condition() in _ACCEPTING)
        self._server = await self._open(self._settings.port)
        self._watch = asyncio.ensure_future(self._keep_open())

    def limit_events(self, max_event_bytes: int) -> None:
        """Take events up to this size from now on."""
        self._rules.limit_events(max_event_bytes)

    def set_serving(self, is_serving: bool) -> None:  # noqa: FBT001  # meant for loop.call_soon_threadsafe
        """Say by ``grpc.health.v1`` whether appends are accepted. On the loop's thread."""
        self._health.set_serving(is_serving=is_serving)

    async def stop(self, grace_seconds: float) -> None:
        """Take no more calls, and let those in flight finish for at most ``grace_seconds``; then they are cut off.

        What a cut-off call had handed to the journal stays accepted. Idempotent; does nothing before ``start``.
        """
        server, self._server = self._server, None
        if server is None:
            return
        if self._watch is not None:
            self._watch.cancel()
        self.set_serving(False)
        stopping = asyncio.ensure_future(server.stop(grace_seconds))
        # One round of the loop, so that watchers of the health hear of it before they are let go.
        await asyncio.sleep(0)
        self._health.release_watches()
        await asyncio.gather(stopping, *self._retiring)

    async def _open(self, port: int) -> grpc.aio.Server:
        server = self._build_server()
        settings = self._settings
        self._port = _listen_tcp(server, settings.host, port)
        if settings.unix_socket is not None:
            _listen_unix(server, settings.unix_socket)
        await server.start()
        return server

    async def _keep_open(self) -> None:
        """Listen again when grpcio's accepting loop has died, which it does of a call whose path is not UTF-8.

        Without this one stray packet would close the door until somebody looks.
        """
        try:
            while self._server is not None:
                try:
                    # At the timeout it raises what killed the loop, even while calls are still being finished.
                    await self._server.wait_for_termination(_LOOK_EVERY_SECONDS)
                except Exception as exc:  # noqa: BLE001  # whatever it died of, the door must open again
                    self._log.warning("listener died, listening again", address=self.address, error=repr(exc))
                    dead, self._server = self._server, await self._open(self._port)
                    self._retire(dead)
        except ListenError as exc:
            self._on_death("listener", exc)

    def _retire(self, dead: grpc.aio.Server) -> None:
        """Let the calls finish that were in flight when the accepting loop died."""
        retiring = asyncio.ensure_future(dead.stop(_RETIRE_SECONDS))
        self._retiring.add(retiring)
        retiring.add_done_callback(self._retiring.discard)

    def _build_server(self) -> grpc.aio.Server:
        loop = asyncio.get_running_loop()
        servicer = AnalyticsServicer(
            self._journal,
            self._rules,
            self._metrics,
            condition=self._condition,
            queue_size=self._queue_size,
            loop=loop,
        )
        handlers = Handlers(Intake(loop), servicer.refuse)
        handlers.add_registered_method_handlers(
            SERVICE,
            # No deserialiser: the handlers take the message as it came.
            {name: grpc.unary_unary_rpc_method_handler(handle) for name, handle in servicer.handlers().items()},
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, handlers)
        names = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
        answers = reflection.aio.ReflectionServicer(names)  # type: ignore[attr-defined]  # unknown to the stubs
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(answers, handlers)
        settings = self._settings
        limit = settings.max_concurrent_calls
        return grpc.aio.server(
            handlers=(handlers,),
            options=(
                *_OPTIONS,
                ("grpc.max_concurrent_streams", limit // _CONNECTIONS_TO_FILL_IT),
                ("grpc.max_allowed_incoming_connections", _most_connections(settings.max_connections)),
                ("grpc.server_handshake_timeout_ms", round(settings.hello_seconds * 1000)),
                ("grpc.http2.settings_timeout", round(settings.hello_seconds * 1000)),
                # Not its sibling for idle connections: clients log a line of the error that it tells them.
                ("grpc.max_connection_age_ms", round(settings.connection_seconds * 1000)),
            ),
            maximum_concurrent_rpcs=limit,
        )


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    """Whether grpcio tells more than that a caller had gone before the reply, for which it logs a traceback each."""
    return not record.getMessage().startswith("ExecuteBatchError raised in core by servicer method")


def _most_connections(wanted: int) -> int:
    """As many as wanted, if they leave the descriptors that the daemon's disk, its providers and its operator need.

    What is more is closed as it comes. Left to wait in the kernel it would wake the listener again and again.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if limit < 0 else min(wanted, max(limit - _OWN_DESCRIPTORS, limit // 4))


def _listen_tcp(server: grpc.aio.Server, host: str, port: int) -> int:
    address = _join(host, port)
    try:
        return server.add_insecure_port(address)
    except RuntimeError as exc:
        reason = _why_not(host, port)
        raise ListenError(
            f"can't listen on {address}: {reason} (ingest.host, ingest.port; HOST, GRPC_PORT)", address=address
        ) from exc


def _listen_unix(server: grpc.aio.Server, path: Path) -> None:
    address = f"unix:{path}"
    try:
        server.add_insecure_port(address)
    except RuntimeError as exc:
        reason = "its directory does not exist" if not path.parent.is_dir() else "the path can't be bound"
        raise ListenError(f"can't listen on {address}: {reason} (ingest.unix_socket)", address=address) from exc


def _why_not(host: str, port: int) -> str:
    """Why an address can't be bound. grpcio doesn't tell, so try once more and ask the kernel."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in found:
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
                probe.listen()
    except OSError as exc:
        return exc.strerror or str(exc)
    return "unknown reason"


def _join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
