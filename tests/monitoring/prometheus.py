"""The real thing: promtool, and a Prometheus server that watches a daemon through a relay."""

import json
import shutil
import subprocess
import threading
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from tests.monitoring.queries import RULES, SCRAPE

Json = dict[str, Any]

_SECONDS = 30.0
_PROGRAMS = ("promtool", "prometheus")


def find_missing() -> str | None:
    """Which program is not there, in a sentence; None when all are."""
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    return f"{' and '.join(missing)} not found: they come with Debian's package prometheus" if missing else None


def promtool(*arguments: str | Path, text: str | None = None) -> str:
    """What promtool has to say; empty when all is well and it says nothing of that.

    Raises:
        AssertionError: It is not content.
    """
    run = subprocess.run(
        ["promtool", *arguments], input=text, capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout + run.stderr


class Relay:
    """Hands a page on to Prometheus, and knows how often it was fetched."""

    def __init__(self, fetch: Callable[[], str]) -> None:
        self._condition = threading.Condition()
        self._count = 0
        relay = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                relay._note()
                body = fetch().encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the library's name
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.005,), name="relay")
        self._thread.start()

    @property
    def target(self) -> str:
        """``host:port``, for Prometheus."""
        return f"127.0.0.1:{self._server.server_port}"

    def wait_until_taken(self, times: int = 2) -> None:
        """Until what is true now has been fetched so often, and Prometheus has it in its store."""
        with self._condition:
            # One that is under way may have begun before now; the last one is stored when the next begins.
            wanted = self._count + times + 2
            assert self._condition.wait_for(lambda: self._count >= wanted, _SECONDS), "Prometheus does not scrape"

    def close(self) -> None:
        """Stop and join."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def _note(self) -> None:
        with self._condition:
            self._count += 1
            self._condition.notify_all()


class Prometheus:
    """A server that runs; asked through its HTTP interface."""

    def __init__(self, address: str) -> None:
        self._base_url = f"http://{address}/api/v1/"

    def values(self, expression: str) -> list[float]:
        """What an expression is now: a value for each series that it has.

        Raises:
            HTTPError: The expression can't be evaluated.
        """
        return [float(one["value"][1]) for one in self._ask("query", query=expression)["result"]]

    def rules(self) -> list[Json]:
        """All rules that it has loaded."""
        return [rule for group in self._ask("rules")["groups"] for rule in group["rules"]]

    def _ask(self, what: str, **parameters: str) -> Json:
        url = self._base_url + what + "?" + urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(url, timeout=_SECONDS) as reply:
            found: Json = json.loads(reply.read())
        assert found["status"] == "success", found
        return dict(found["data"])


@contextmanager
def watching(home: Path, target: str) -> Iterator[Prometheus]:
    """A server with the shipped configuration and rules, which scrapes ``target`` five times a second."""
    config = SCRAPE.read_text()
    for shipped, here in (
        ("/usr/share/spoold/prometheus/spoold.rules.yml", str(RULES)),
        ("scrape_interval: 15s", "scrape_interval: 200ms\n    scrape_timeout: 200ms"),
        ("127.0.0.1:9464", target),
    ):
        assert shipped in config
        config = config.replace(shipped, here)
    path = home / "prometheus.yml"
    path.write_text(config)
    options = (f"--config.file={path}", f"--storage.tsdb.path={home / 'data'}", "--web.listen-address=127.0.0.1:0")
    process = subprocess.Popen(
        ["prometheus", *options, "--log.format=json"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        yield Prometheus(_address(process))
    finally:
        process.terminate()
        process.communicate()


def _address(process: "subprocess.Popen[str]") -> str:
    """Where it listens, once it is ready."""
    address, said = "", []
    assert process.stderr is not None
    for line in process.stderr:
        said.append(line)
        log = json.loads(line)
        if log.get("msg") == "Listening on":
            address = log["address"]
        elif log.get("msg") == "Server is ready to receive web requests.":
            return str(address)
    raise AssertionError(f"prometheus did not start: {''.join(said[-5:])}")
