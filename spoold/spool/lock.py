"""One process owns a spool directory (I9)."""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from spoold.errors import SpoolLockedError

LOCK_NAME = "lock"


class DirectoryLock:
    """The right to write a spool. Taken before any listener: a second server would steal the first one's socket.

    The kernel drops the lock with the process, however it ends, so a stale file never blocks a start.
    """

    def __init__(self, directory: Path) -> None:
        """Take the lock.

        Raises:
            SpoolLockedError: Another process has it; the message names its pid.
        """
        self._fd = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = _read_pid(self._fd)
            os.close(self._fd)
            owner = f"process {pid}" if pid else "another process"
            raise SpoolLockedError(
                f"{owner} owns the spool {directory}: stop it first, or give this one a directory of its own "
                "(spool.url, SPOOL_URL)",
                pid=pid,
            ) from None
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def close(self) -> None:
        """Let it go. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def find_owner(directory: Path) -> str | None:
    """Who owns a spool, for a message; None when nobody does. Changes nothing.

    Raises:
        OSError: It can't be told.
    """
    try:
        fd = os.open(directory / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = _read_pid(fd)
        return f"process {pid}" if pid else "another process"
    else:
        return None
    finally:
        os.close(fd)


def _read_pid(fd: int) -> int | None:
    text = os.pread(fd, 32, 0).strip()
    return int(text) if text.isdigit() else None
