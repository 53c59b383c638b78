"""A daemon of the drill's own: the installed spoold on a scratch folder, killed and started again on it."""

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spoolctl.client import Target
from spoolctl.doctor.mounts import existing, is_same_file_system
from spoolctl.doctor.subject import Subject
from spoolctl.failure import Exit, Failure
from spoolctl.render import size_of
from spoold.spool.space import free_bytes

#: What the folder is called: whoever meets it knows whose it is.
PREFIX = "spoold-drill-"
_START_SECONDS, _STOP_SECONDS = 60.0, 60.0
_POLL_SECONDS = 0.02
_MIB = 1 << 20
#: The spool itself, its log and its reserve; and an event with everything that it costs.
_ROOM_BYTES, _EVENT_BYTES = 64 * _MIB, 2048
_SCRATCH_FREE_BYTES = 8 * _MIB
_LOG_LINES = 5


@contextmanager
def scratch_folder(subject: Subject, wanted: Path | None, events: int) -> Iterator[Path]:
    """A folder on the disk of the spool, or in ``wanted``; removed at the end, however it comes.

    Raises:
        Failure: It can't be made, or a drill would take the room that the live spool needs.
    """
    parent = _parent(subject.directory) if wanted is None else wanted
    kept = subject.settings.size("spool.min_free_bytes") or 0
    needed = _ROOM_BYTES + events * _EVENT_BYTES
    try:
        free = free_bytes(parent)
        if free - needed < kept:
            wants = f"the drill takes {size_of(needed)}, and the spool keeps {size_of(kept)}"
            text = f"{parent} has {size_of(free)} free: {wants}"
            raise Failure(Exit.FAILED, text, "fewer events (--events), or another folder (--drill-dir)")
        folder = tempfile.TemporaryDirectory(prefix=PREFIX, dir=parent)
    except OSError as exc:
        text = f"no scratch folder can be made in {parent}: {exc.strerror}"
        advice = "a folder on the same disk: --drill-dir DIR; or as the user that runs spoold"
        raise Failure(Exit.FAILED, text, advice) from exc
    with folder as path:
        yield Path(path)


def _parent(directory: Path) -> Path:
    """Beside the spool where that is the same disk and may be written, else in its directory, apart from its files."""
    there = existing(directory)
    beside = existing(there.parent)
    is_fit = is_same_file_system(there, beside) and os.access(beside, os.W_OK | os.X_OK)
    return beside if there == directory and is_fit else there


class ScratchDaemon:
    """The daemon. Takes no key, sends nothing, listens on this machine only. Used by one thread."""

    def __init__(self, program: Path, folder: Path, sockets: Path, durability: str) -> None:
        self._program = program
        self._sockets = sockets
        self._config = folder / "spoold.toml"
        self._log = folder / "log"
        self._durability = durability or "fsync"
        self._spool = folder / "spool"
        self._process: subprocess.Popen[bytes] | None = None
        self._lives = 0

    @property
    def directory(self) -> Path:
        """Where its spool is: test mode has a folder of its own."""
        return self._spool / "test"

    def start(self) -> str:
        """Start it and wait until it listens; returns where.

        Raises:
            Failure: It ended, or did not listen in a minute.
        """
        self._lives += 1
        # Never a path twice: gRPC waits before it tries one again that did not answer.
        socket = self._sockets / f"{self._lives}.sock"
        self._config.write_text(self._settings(socket))
        environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [self._program, "--config", self._config], env=environment, stdout=log, stderr=log
            )
        deadline = time.monotonic() + _START_SECONDS
        while not (address := self._address(socket)):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise Failure(Exit.FAILED, f"the scratch daemon did not start:\n{self._last_words()}")
            time.sleep(_POLL_SECONDS)
        return address

    def check(self) -> None:
        """Raise Failure where it has ended by itself."""
        if self._process is not None and (code := self._process.poll()) is not None:
            raise Failure(Exit.FAILED, f"the scratch daemon ended with {code}:\n{self._last_words()}")

    def kill(self) -> None:
        """SIGKILL. Idempotent."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def stop(self) -> None:
        """End it in order. Raises Failure where it does not."""
        process = self._process
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            raise Failure(Exit.FAILED, f"the scratch daemon did not stop:\n{self._last_words()}") from None
        self._process = None
        if code != 0:
            raise Failure(Exit.FAILED, f"the scratch daemon ended with {code}:\n{self._last_words()}")

    def _settings(self, socket: Path) -> str:
        tables: dict[str, dict[str, object]] = {
            "spool": {
                "url": f"sqlite://{self._spool}",
                "durability": self._durability,
                "min_free_bytes": _SCRATCH_FREE_BYTES,
            },
            "batch": {"interval": "1s"},
            "ingest": {"host": "127.0.0.1", "port": 0},
            "admin": {"socket": str(socket)},
            "metrics": {"address": ""},
            "log": {"level": "warning"},
        }
        lines = ["test_mode = true"]
        for table, keys in tables.items():
            lines += [f"[{table}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]
        return "\n".join(lines) + "\n"

    def _address(self, socket: Path) -> str:
        """Where it listens; empty while it starts."""
        if not socket.exists():
            return ""
        try:
            with Target(socket, self.directory).admin() as admin:
                return admin.status().daemon.address
        except Failure:
            return ""

    def _last_words(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-_LOG_LINES:])
