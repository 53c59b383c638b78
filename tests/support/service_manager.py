"""The manager's end of NOTIFY_SOCKET: a real datagram socket that keeps what it is told."""

import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Self


class ListeningManager:
    """Hears a process out, datagram by datagram."""

    def __init__(self, timeout_seconds: float = 20.0, *, is_abstract: bool = False) -> None:
        self.heard: list[str] = []
        self._home = tempfile.TemporaryDirectory(prefix="spoold-notify-")
        path = Path(self._home.name) / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        # "@" stands for the zero byte of an abstract name.
        self.address = f"@{path}" if is_abstract else str(path)
        self._socket.bind(self.address.replace("@", "\0"))
        self._socket.settimeout(timeout_seconds)

    def wait_for(self, wanted: Callable[[str], bool]) -> str:
        """The next assignment, of those not waited for yet, for which ``wanted`` holds."""
        while True:
            for line in self._socket.recv(65536).decode().split("\n"):
                self.heard.append(line)
                if wanted(line):
                    return line

    def wait_until(self, assignment: str) -> None:
        """Wait for exactly this."""
        self.wait_for(lambda line: line == assignment)

    def is_silent(self) -> bool:
        """Whether nothing more has come by now."""
        self._socket.setblocking(False)
        try:
            self._socket.recv(65536)
        except BlockingIOError:
            return True
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._socket.close()
        self._home.cleanup()
