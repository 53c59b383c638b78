"""A real HTTP server on 127.0.0.1 that takes everything, keeps it, and answers a success in each provider's words.

``tests/support/provider_server.py`` judges what comes and keeps what a provider would; here the request itself is of
interest, form fields and headers included, and the official SDKs use endpoints that spoold does not.
"""

import gzip
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Recorded:
    """One request as it came.

    Attributes:
        headers: Names in lower case.
        body: Decompressed.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        """The fields of a form; empty when the body is none."""
        if "form-urlencoded" not in self.headers.get("content-type", ""):
            return {}
        return {name: values[0] for name, values in parse_qs(self.body.decode(), keep_blank_values=True).items()}

    @property
    def envelope(self) -> dict[str, object]:
        """All of it that is not the events: where it goes, who sends it and how it is packed."""
        kept = ("authorization", "content-encoding", "content-type", "user-agent")
        headers = {name: self.headers[name] for name in kept if name in self.headers}
        fields = [f"{name}={value}" for name, value in sorted(self.form.items()) if name != "data"]
        return {"path": self.path, "query": self.query, **headers, "form": "&".join(fields)}

    @property
    def json(self) -> object:
        """The body as JSON; of a form, its field ``data`` (providers.md 2.1)."""
        return json.loads(self.form.get("data", self.body))


class Recorder:
    """Keeps requests in the order in which they were read. Close it, or use it with ``with``."""

    def __init__(self) -> None:
        self.requests: list[Recorded] = []
        self._http = _Server(self)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.005,), name="recorder")
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"


class _Server(ThreadingHTTPServer):
    daemon_threads = False

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    # One request a connection: a client that keeps its connection would hold the server's end up.
    protocol_version = "HTTP/1.0"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        url = urlsplit(self.path)
        request = Recorded(self.command, url.path, url.query, headers, body)
        assert isinstance(self.server, _Server)
        self.server.recorder.requests.append(request)
        answer = json.dumps(_answer(request)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_args: object) -> None:
        """Nothing on the terminal."""


def _answer(request: Recorded) -> object:
    """Providers.md 2.5, 3.5 and 4.4."""
    if request.path == "/import" and "strict=1" in request.query:
        records = request.json
        assert isinstance(records, list)
        return {"code": 200, "num_records_imported": len(records), "status": "OK"}
    if request.path in ("/track", "/import", "/engage"):
        return {"status": 1, "error": None}
    if request.path in ("/2/httpapi", "/batch"):
        body = request.json
        assert isinstance(body, dict)
        return {
            "code": 200,
            "events_ingested": len(body["events"]),
            "payload_size_bytes": len(request.body),
            "server_upload_time": 1_795_470_000_123,
        }
    return {"success": True}
