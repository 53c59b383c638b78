"""A real spoold in a process of its own, for tests, the demo and the benchmarks."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

_START_SECONDS = 20.0
_END_SECONDS = 40.0

Log = dict[str, Any]


class DaemonError(AssertionError):
    """The daemon did not do what a test waits for; the message holds what it said."""


class DaemonProcess:
    """A running daemon with its spool, its socket and its log below ``home``.

    Starts in test mode on a free port, without metrics; ``environment`` overrides. On leaving the context the process
    is ended by its id.
    """

    #: What is run, with the arguments behind it.
    program: ClassVar[Sequence[str]] = (str(Path(sys.executable).with_name("spoold")),)

    def __init__(self, home: Path, *arguments: str, **environment: str) -> None:
        self.spool_dir = home / "spool"
        self.admin_socket = home / "admin.sock"
        self.logs: list[Log] = []
        self.address = ""
        self._changed = threading.Condition()
        self._is_ended = False
        settings = {
            "TEST_MODE": "true",
            "HOST": "127.0.0.1",
            "GRPC_PORT": "0",
            "SPOOL_URL": f"sqlite://{self.spool_dir.absolute()}",
            "ADMIN_SOCKET": str(self.admin_socket.absolute()),
            "METRICS_ADDRESS": "",
        }
        inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        self.process = subprocess.Popen(
            [*self.program, *arguments],
            env=inherited | settings | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # gRPC's own lines may quote what a client sent.
            errors="replace",
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait_for_log(self, event: str, timeout_seconds: float = _START_SECONDS) -> Log:
        """The first log entry with this event, waiting for it if need be."""
        return self.wait_until(lambda log: log.get("event") == event, event, timeout_seconds)

    def wait_until(
        self, wanted: Callable[[Log], bool], what: str, timeout_seconds: float = _START_SECONDS, *, since: int = 0
    ) -> Log:
        """The first log entry, of those from the ``since``-th on, for which ``wanted`` holds."""

        def find() -> Log | None:
            return next((log for log in self.logs[since:] if wanted(log)), None)

        with self._changed:
            self._changed.wait_for(lambda: find() is not None or self._is_ended, timeout_seconds)
            found = find()
        if found is None:
            raise DaemonError(f"no {what!r} from spoold (exit code {self.process.poll()}): {self.logs[-20:]}")
        return found

    def wait_for_lane(self, lane: str, event: str, *, since: int = 0, **fields: object) -> Log:
        """The first entry, from the ``since``-th on, in which this lane says so."""
        wanted = {"lane": lane, "event": event, **fields}
        return self.wait_until(lambda log: wanted.items() <= log.items(), str(wanted), since=since)

    def ready(self) -> Self:
        """Wait until it listens."""
        self.address = str(self.wait_for_log("listening")["address"])
        return self

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        return self.end(signal.SIGTERM)

    def kill(self) -> int:
        """SIGKILL."""
        return self.end(signal.SIGKILL)

    def end(self, number: signal.Signals | None = None, timeout_seconds: float = _END_SECONDS) -> int:
        """Send a signal, or none, and wait for the end; returns the exit code."""
        if number is not None and self.process.poll() is None:
            self.process.send_signal(number)
        try:
            code = self.process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise DaemonError(f"spoold did not end: {self.logs[-20:]}") from None
        self._reader.join()
        return code

    def __enter__(self) -> Self:
        try:
            return self.ready()
        except BaseException:
            self.kill()
            raise

    def __exit__(self, *_exception: object) -> None:
        self.kill()
        # A killed daemon leaves it, as it would for its next start.
        self.admin_socket.unlink(missing_ok=True)

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                try:
                    log = json.loads(line)
                except ValueError:
                    log = {"event": "unstructured", "text": line.rstrip()}
                with self._changed:
                    self.logs.append(log)
                    self._changed.notify_all()
        with self._changed:
            self._is_ended = True
            self._changed.notify_all()
