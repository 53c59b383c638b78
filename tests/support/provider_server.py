"""A real HTTP server on 127.0.0.1 that answers as the providers do (providers.md 2 to 4), and misbehaves when told to.

    with ProviderServer() as server:
        server.script(Reply(503, {"error": "busy"}), CloseAfterReading())   # the next two requests; then as it should
        ...
        server.wait_until(lambda: server.event_count == 120)
        assert server.events_by_insert_id.keys() == expected

The path says whom a request is for: Mixpanel, Amplitude, Segment or, at ``/hook``, a webhook's receiver.

By itself: ``python -m tests.support.provider_server --port 0`` prints one JSON line with its port, then one per
request, until SIGTERM.
"""

import argparse
import signal
import socket
import socketserver
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from io import BufferedReader
from types import TracebackType
from typing import Any, Self

import orjson

from tests.support import amplitude_rules, mixpanel_rules, segment_rules, webhook_rules
from tests.support.provider_taken import Rule, Taken
from tests.support.provider_wire import (
    Action,
    CloseAfterReading,
    CloseBeforeReading,
    Drip,
    Hang,
    Json,
    Raw,
    Reply,
    Request,
    as_object,
    decompressed,
    records_in,
)

__all__ = [
    "Action",
    "CloseAfterReading",
    "CloseBeforeReading",
    "Drip",
    "Hang",
    "ProviderServer",
    "Raw",
    "Reply",
    "Request",
]

_ANSWERS: Mapping[str, Callable[[Request, bytes | None, Taken], Reply]] = {
    "/import": mixpanel_rules.answer,
    "/engage": mixpanel_rules.answer,
    "/2/httpapi": amplitude_rules.answer,
    "/batch": amplitude_rules.answer,
    "/v1/batch": segment_rules.answer,
    "/hook": webhook_rules.answer,
}


class ProviderServer:
    """See the module. All attributes may be read from any thread; ``wait_until`` waits without polling.

    Args:
        token: The project token, API key, write key or secret that is taken.
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
        self.requests: list[Request] = []
        self.arrived_count = 0  # requests read to the end, answered or not
        self.request_count = 0  # requests dealt with
        self.connection_count = 0
        self.open_count = 0  # connections that are open now
        self._taken = Taken(token, keep=keep)
        self._on_request = on_request
        #: An answer of the test's own for requests that it picks, where nothing is scripted.
        self.overrule: Callable[[Request], Reply | None] | None = None
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
    def token(self) -> str:
        """The credential that is taken."""
        return self._taken.token

    @token.setter
    def token(self, token: str) -> None:
        self._taken.token = token

    @property
    def refuse(self) -> Rule | None:
        """A rule of the test beside the provider's own."""
        return self._taken.refuse

    @refuse.setter
    def refuse(self, rule: Rule | None) -> None:
        self._taken.refuse = rule

    @property
    def event_count(self) -> int:
        """How many different events were taken."""
        return self._taken.event_count

    @property
    def duplicate_count(self) -> int:
        """How many events came again."""
        return self._taken.duplicate_count

    @property
    def changed(self) -> list[tuple[Json, Json]]:
        """What came again with the same id and other content: breaks I3."""
        return self._taken.changed

    @property
    def events_by_insert_id(self) -> dict[str, Json]:
        """The events taken, each once."""
        with self._condition:
            return dict(self._taken.events)

    @property
    def profiles(self) -> dict[str, Json]:
        """Properties by user, after all that set and removed some."""
        with self._condition:
            return {distinct_id: dict(properties) for distinct_id, properties in self._taken.profiles.items()}

    def script(self, *actions: Action) -> None:
        """Answer the next requests with these, one each, then normally again."""
        with self._condition:
            self._script.extend(actions)

    @property
    def is_through(self) -> bool:
        """Whether all that was scripted has happened."""
        return not self._script

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
                    f" {len(self._taken.profiles)} profiles, {self.duplicate_count} duplicates so far"
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
        body = decompressed(raw, headers)
        request = Request(target, headers, body or b"", records_in(body), 0)
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
        """The reply, or None for a fault. Records count as taken only when they are answered as the provider does."""
        with self._condition:
            reply: Reply | None = None
            if action is None or isinstance(action, CloseAfterReading):
                overruled = self.overrule(request) if self.overrule is not None and action is None else None
                reply = overruled or _answer(request, body, self._taken)
            elif isinstance(action, Reply):
                reply = action
            is_answered = action is None or isinstance(action, Reply)
            status = reply.status if reply is not None and is_answered else 0
            self._note(Request(request.target, request.headers, request.body, request.records, status))
            return reply if is_answered else None

    def _note(self, request: Request) -> None:
        with self._condition:
            self.request_count += 1
            if self._taken.keep:
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


def _answer(request: Request, body: bytes | None, taken: Taken) -> Reply:
    answer = _ANSWERS.get(request.path)
    return answer(request, body, taken) if answer else Reply(404, {"error": "no such path", "status": "Not Found"})


def _event_id(record: Json) -> object:
    """The id by which whoever the record is for knows it again."""
    properties = as_object(record.get("properties"))
    own = record.get("messageId") or record.get("insert_id") or properties.get("$insert_id")
    return own or record.get("event_id") or record.get("id")


def main() -> None:
    """Serve until SIGTERM or SIGINT; see the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--token", default="test-token")
    parser.add_argument("--ids", action="store_true", help="print the ids of each request's events too")
    arguments = parser.parse_args()
    # Blocked before the threads start, so that sigwait below gets them.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})

    def report(request: Request) -> None:
        line: Json = {"path": request.path, "status": request.status, "records": len(request.records)}
        line |= {"events": server.event_count, "duplicates": server.duplicate_count, "profiles": len(server.profiles)}
        if arguments.ids and request.path != "/engage":
            line["ids"] = [_event_id(record) for record in request.records]
        _print(line)

    with ProviderServer(arguments.token, port=arguments.port, on_request=report) as server:
        _print({"port": server.port, "url": server.url})
        signal.sigwait({signal.SIGTERM, signal.SIGINT})


def _print(line: Json) -> None:
    sys.stdout.write(orjson.dumps(line).decode() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
