"""A real HTTP server on 127.0.0.1 that answers as Mixpanel does (providers.md 2), and misbehaves when told to.

    with ProviderServer() as server:
        server.script(Reply(503, {"error": "busy"}), CloseAfterReading())   # the next two requests; then as Mixpanel
        ...
        server.wait_until(lambda: server.event_count == 120)
        assert server.events_by_insert_id.keys() == expected

By itself: ``python -m tests.support.provider_server --port 0`` prints one JSON line with its port, then one per
request, until SIGTERM.
"""

import argparse
import base64
import gzip
import signal
import socket
import socketserver
import sys
import threading
import zlib
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from io import BufferedReader
from types import TracebackType
from typing import Any, Self

import orjson

from tests.support.mixpanel_rules import Json, Refusal, event_refusal, update_refusal

#: Says why a record is refused, or None.
Rule = Callable[[Json], Refusal | None]

MAX_RECORDS = 2000
#: What Mixpanel's own sample of a 413 names (providers.md 2.4).
MAX_BODY_BYTES = 2_097_152
_REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 413: "Request Entity Too Large"}


@dataclass(frozen=True)
class Reply:
    """A reply with this status; ``body`` is sent as it is when it is bytes, else as JSON."""

    status: int = 200
    body: object = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    def encoded(self) -> bytes:
        body = self.body if isinstance(self.body, bytes) else orjson.dumps(self.body)
        lines = [f"HTTP/1.1 {self.status} {_REASONS.get(self.status, 'Status')}"]
        lines += [f"{name}: {value}" for name, value in {"Content-Length": len(body), **self.headers}.items()]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@dataclass(frozen=True)
class Raw:
    """These bytes instead of a reply, then the connection is closed: a truncated or malformed reply."""

    data: bytes


@dataclass(frozen=True)
class CloseBeforeReading:
    """Close as soon as the headers have come, the body unread."""


@dataclass(frozen=True)
class CloseAfterReading:
    """Keep the records, then close without a reply: the sender can't know."""


@dataclass(frozen=True)
class Hang:
    """Say nothing until ``release`` is set (the server sets it when it stops).

    Then close without having kept anything, or, with ``answers``, answer as Mixpanel.
    """

    release: threading.Event
    answers: bool = False


@dataclass(frozen=True)
class Drip:
    """Send ``head`` at once, then ``byte`` again and again, until the client hangs up or the server stops."""

    head: bytes
    byte: bytes = b"x"
    pause_seconds: float = 0.005


Action = Reply | Raw | CloseBeforeReading | CloseAfterReading | Hang | Drip


@dataclass(frozen=True)
class Request:
    """One request as it came.

    Attributes:
        target: Path with query.
        body: Decompressed.
        records: The JSON array; empty when the body is none.
        status: What was answered; 0 when nothing was.
    """

    target: str
    headers: Mapping[str, str]
    body: bytes
    records: list[Json]
    status: int

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


class ProviderServer:
    """See the module. All attributes may be read from any thread; ``wait_until`` waits without polling.

    Args:
        token: The project token that is taken.
        port: 0 for any free one.
        keep: Keep requests and records. False for long loads: only the counts grow.
        on_request: Called for each request after it was answered for, with the lock held.
    """

    def __init__(
        self,
        token: str = "test-token",
        *,
        port: int = 0,
        keep: bool = True,
        on_request: Callable[[Request], None] | None = None,
    ) -> None:
        self.token = token
        self.requests: list[Request] = []
        self.arrived_count = 0  # requests read to the end, answered or not
        self.request_count = 0  # requests dealt with
        self.connection_count = 0
        self.open_count = 0  # connections that are open now
        self.event_count = 0  # different events taken
        self.duplicate_count = 0  # events that came again
        self.changed: list[tuple[Json, Json]] = []  # same $insert_id, other content: breaks I3
        self.refuse: Rule | None = None
        self._keep = keep
        self._on_request = on_request
        self._events: dict[str, Json] = {}
        self._profiles: dict[str, Json] = {}
        self._script: deque[Action] = deque()
        self._always: Action | None = None
        self._held: list[threading.Event] = []
        self._condition = threading.Condition()
        self._is_closing = threading.Event()
        self._tcp = _TcpServer(("127.0.0.1", port), self)
        self._thread = threading.Thread(target=self._tcp.serve_forever, args=(0.005,), name="provider-server")
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def port(self) -> int:
        return int(self._tcp.server_address[1])

    @property
    def url(self) -> str:
        """Base URL, for ``providers.<name>.endpoint``."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def events_by_insert_id(self) -> dict[str, Json]:
        """The events taken, each once."""
        with self._condition:
            return dict(self._events)

    @property
    def profiles(self) -> dict[str, Json]:
        """Properties by distinct id, after all ``$set`` and ``$unset``."""
        with self._condition:
            return {distinct_id: dict(properties) for distinct_id, properties in self._profiles.items()}

    def script(self, *actions: Action) -> None:
        """Answer the next requests with these, one each, then normally again."""
        with self._condition:
            self._script.extend(actions)

    def always(self, action: Action) -> None:
        """Answer every request with ``action`` (after what is scripted) until ``recover``."""
        with self._condition:
            self._always = action

    def recover(self) -> None:
        """Answer normally from now on."""
        with self._condition:
            self._script.clear()
            self._always = None

    def wait_until(self, predicate: Callable[[], bool], timeout_seconds: float = 10.0) -> None:
        """Return once ``predicate()`` is true; it is tried after each request."""
        with self._condition:
            if not self._condition.wait_for(predicate, timeout_seconds):
                raise AssertionError(
                    f"not within {timeout_seconds} s: {self.request_count} requests, {self.event_count} events,"
                    f" {len(self._profiles)} profiles, {self.duplicate_count} duplicates so far"
                )

    def close(self) -> None:
        """Stop, cut all connections, join all threads. Idempotent."""
        self._is_closing.set()
        with self._condition:
            held = list(self._held)
        for release in held:
            release.set()
        if self._thread.is_alive():
            self._tcp.shutdown()
            self._thread.join()
        self._tcp.close_connections()
        self._tcp.server_close()

    def note_opened(self, open_count: int) -> None:
        """A connection came; for the TCP server."""
        with self._condition:
            self.connection_count += 1
            self.open_count = open_count

    def note_closed(self, open_count: int) -> None:
        """A connection went; for the TCP server."""
        with self._condition:
            self.open_count = open_count
            self._condition.notify_all()

    def handle(self, connection: "_Connection") -> bool:
        """Serve one request; False ends the connection."""
        head = connection.read_head()
        if head is None:
            return False
        target, headers = head
        with self._condition:
            action = self._script.popleft() if self._script else self._always
        if isinstance(action, CloseBeforeReading):
            self._note(Request(target, headers, b"", [], 0))
            return False
        raw = connection.rfile.read(int(headers.get("content-length", 0)))
        self._arrive()
        if isinstance(action, Hang):
            self._hold(action.release)
            action = None if action.answers and not self._is_closing.is_set() else action
        body = _decompressed(raw, headers)
        request = Request(target, headers, body or b"", _records(body), 0)
        reply = self._answer(request, action, body)
        if reply is not None:
            connection.wfile.write(reply.encoded())
            return "close" not in (headers.get("connection"), reply.headers.get("Connection"))
        self._misbehave(connection, action)
        return False

    def _arrive(self) -> None:
        with self._condition:
            self.arrived_count += 1
            self._condition.notify_all()

    def _hold(self, release: threading.Event) -> None:
        with self._condition:
            self._held.append(release)
        if not self._is_closing.is_set():
            release.wait()

    def _answer(self, request: Request, action: Action | None, body: bytes | None) -> Reply | None:
        """The reply, or None for a fault. Records count as taken only when they are answered as Mixpanel does."""
        with self._condition:
            reply: Reply | None = None
            if action is None or isinstance(action, CloseAfterReading):
                reply = self._as_mixpanel(request, body)
            elif isinstance(action, Reply):
                reply = action
            is_answered = action is None or isinstance(action, Reply)
            status = reply.status if reply is not None and is_answered else 0
            self._note(Request(request.target, request.headers, request.body, request.records, status))
            return reply if is_answered else None

    def _note(self, request: Request) -> None:
        with self._condition:
            self.request_count += 1
            if self._keep:
                self.requests.append(request)
            if self._on_request is not None:
                self._on_request(request)
            self._condition.notify_all()

    def _misbehave(self, connection: "_Connection", action: Action | None) -> None:
        if isinstance(action, Raw):
            connection.wfile.write(action.data)
        elif isinstance(action, Drip):
            connection.wfile.write(action.head)
            while not self._is_closing.wait(action.pause_seconds):
                connection.wfile.write(action.byte)

    def _as_mixpanel(self, request: Request, body: bytes | None) -> Reply:  # noqa: PLR0911 - one rule, one return
        if request.path not in ("/import", "/engage"):
            return Reply(404, {"error": "no such path", "status": "Not Found"})
        is_import = request.path == "/import"
        expected = "Basic " + base64.b64encode(f"{self.token}:".encode()).decode()
        if is_import and request.headers.get("authorization") != expected:
            return Reply(401, {"code": 401, "error": "Invalid credentials", "status": "Unauthorized"})
        if "strict=1" not in request.target:
            return _bad_request("this server wants strict=1")
        if body is None or (not is_import and "content-encoding" in request.headers):
            return _bad_request("content encoding not taken")
        if len(body) > MAX_BODY_BYTES or len(request.records) > MAX_RECORDS:
            error = f"request exceeds max limit of {MAX_BODY_BYTES} bytes or {MAX_RECORDS} records"
            return Reply(413, {"code": 413, "error": error, "status": "Request Entity Too Large"})
        if not request.records:
            return _bad_request("the body is no JSON array of objects")
        return self._take_events(request.records) if is_import else self._take_updates(request.records)

    def _take_events(self, records: list[Json]) -> Reply:
        failed = []
        for index, record in enumerate(records):
            refusal = event_refusal(record) or (self.refuse(record) if self.refuse else None)
            if refusal is None:
                self._take_event(record)
            else:
                insert_id = _as_object(record.get("properties")).get("$insert_id", "")
                failed.append({"index": index, "insert_id": insert_id, **refusal._asdict()})
        count = len(records) - len(failed)
        if not failed:
            return Reply(200, {"code": 200, "num_records_imported": count, "status": "OK"})
        answer = _bad_request("some data points in the request failed validation").body
        return Reply(400, {**_as_object(answer), "num_records_imported": count, "failed_records": failed})

    def _take_event(self, record: Json) -> None:
        if not self._keep:
            self.event_count += 1
            return
        insert_id = record["properties"]["$insert_id"]
        known = self._events.setdefault(insert_id, record)
        if known is record:
            self.event_count += 1
            return
        self.duplicate_count += 1
        if known != record:
            self.changed.append((known, record))

    def _take_updates(self, records: list[Json]) -> Reply:
        failed = []
        for index, record in enumerate(records):
            refusal = update_refusal(record) or (self.refuse(record) if self.refuse else None)
            if refusal is not None:
                failed.append({"index": index, **refusal._asdict()})
            elif record["$token"] == self.token:
                # A wrong token is not checked (providers.md 2.5): the update is taken and lost.
                profile = self._profiles.setdefault(record["$distinct_id"], {})
                profile.update(record.get("$set", {}))
                for name in record.get("$unset", []):
                    profile.pop(name, None)
        count = len(records) - len(failed)
        if not failed:
            return Reply(200, {"status": 1, "error": None, "num_good_events": count})
        error = "some data points in the request failed validation"
        answer = {"status": int(count > 0), "error": error, "num_good_events": count, "failed_records": failed}
        return Reply(200, answer)


class _TcpServer(socketserver.ThreadingTCPServer):
    daemon_threads = False
    block_on_close = True
    request_queue_size = 128
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], server: ProviderServer) -> None:
        self.provider = server
        self._open: set[socket.socket] = set()
        super().__init__(address, _Connection)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        self.provider.note_opened(len(self._open))
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        self._open.discard(request)
        self.provider.note_closed(len(self._open))

    def close_connections(self) -> None:
        for sock in list(self._open):
            _cut(sock)


class _Connection(socketserver.StreamRequestHandler):
    """One connection, kept alive. Parses by hand: a benchmark should not measure http.server."""

    server: _TcpServer
    rfile: BufferedReader
    disable_nagle_algorithm = True

    def handle(self) -> None:
        with suppress(OSError):  # the client hung up
            while self.server.provider.handle(self):
                pass

    def read_head(self) -> tuple[str, dict[str, str]] | None:
        """Target and headers (names in lower case), or None at the end of the connection."""
        if not self.rfile.peek(1)[:1].isalpha():
            # The end, or no HTTP at all: a TLS hello need not hold a newline to wait for.
            self.wfile.write(Reply(400, b"", {"Connection": "close"}).encoded())
            return None
        first = self.rfile.readline().decode("latin-1").split()
        if len(first) != 3:
            return None
        headers: dict[str, str] = {}
        while line := self.rfile.readline().decode("latin-1").strip():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        return first[1], headers


def _cut(sock: socket.socket) -> None:
    with suppress(OSError):  # closed already
        sock.shutdown(socket.SHUT_RDWR)


def _decompressed(raw: bytes, headers: Mapping[str, str]) -> bytes | None:
    if headers.get("content-encoding") != "gzip":
        return raw
    try:
        return gzip.decompress(raw)
    except (OSError, EOFError, zlib.error):
        return None


def _records(body: bytes | None) -> list[Json]:
    try:
        parsed = orjson.loads(body or b"")
    except orjson.JSONDecodeError:
        return []
    return parsed if isinstance(parsed, list) and all(isinstance(item, dict) for item in parsed) else []


def _as_object(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _bad_request(error: str) -> Reply:
    return Reply(400, {"code": 400, "error": error, "status": "Bad Request"})


def main() -> None:
    """Serve until SIGTERM or SIGINT; see the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--token", default="test-token")
    parser.add_argument("--ids", action="store_true", help="print the insert ids of each request too")
    arguments = parser.parse_args()
    # Blocked before the threads start, so that sigwait below gets them.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})

    def report(request: Request) -> None:
        line: Json = {"path": request.path, "status": request.status, "records": len(request.records)}
        line |= {"events": server.event_count, "duplicates": server.duplicate_count, "profiles": len(server._profiles)}
        if arguments.ids and request.path == "/import":
            line["ids"] = [_as_object(record.get("properties")).get("$insert_id") for record in request.records]
        _print(line)

    with ProviderServer(arguments.token, port=arguments.port, on_request=report) as server:
        _print({"port": server.port, "url": server.url})
        signal.sigwait({signal.SIGTERM, signal.SIGINT})


def _print(line: Json) -> None:
    sys.stdout.write(orjson.dumps(line).decode() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
