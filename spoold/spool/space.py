"""How much the spool may take, and what happens when it can't have it (I7)."""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from spoold.errors import SpoolFullError

RESERVE_NAME = "reserve"
_MIB = 1 << 20
_MAX_RESERVE_BYTES = 16 * _MIB
#: A record costs its bytes, its row and its share of a page; measured 1.05 to 1.15 for records of 200 to 2 000 bytes.
_OVERHEAD = 1.15
#: Appends may take so much between two looks at the disk, but none when a limit is closer than this.
_ALLOWANCE_BYTES = 16 * _MIB
_CLOSE_BYTES = 64 * _MIB
#: Above this share of ``max_bytes`` the delivered events are forgotten before their retention is over.
_PRESSURE = 0.9
#: After the kernel said ENOSPC, appends stay out until room was seen again, or this often for one try.
_RETRY_AFTER_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class SpaceLimits:
    """The owner's limits, in bytes."""

    max_bytes: int
    min_free_bytes: int

    @property
    def reserve_bytes(self) -> int:
        """Size of the file that is given up when the disk is full, so that settles and trims still commit."""
        return min(_MAX_RESERVE_BYTES, self.min_free_bytes // 4)

    @property
    def checkpoint_bytes(self) -> int:
        """WAL in use from which a checkpoint is due.

        A fraction of the reserve: on a full disk its room must be enough for the database to take in what is in the
        log. One that can't be begun anew grows with each settle, until there is no room for one more.
        """
        return max(64 * 1024, min(4 * _MIB, self.reserve_bytes // 4))

    @property
    def pinned_wal_bytes(self) -> int:
        """A WAL this large is one that a reader pins: checkpoints would have shrunk it long ago."""
        return max(64 * _MIB, self.max_bytes // 8)


def free_bytes(directory: Path) -> int:
    """What a process without privileges may still write to the file system of ``directory``."""
    stat = os.statvfs(directory)
    return stat.f_bavail * stat.f_frsize


class Space:
    """The spool's room. Used by the writer; ``refusal`` may be read from any thread."""

    def __init__(self, directory: Path, limits: SpaceLimits, free: Callable[[Path], int] = free_bytes) -> None:
        self._directory = directory
        self._free = free
        self.limits = limits
        #: Pages of the database that hold nothing; known since the last checkpoint or trim.
        self.free_list_bytes = 0
        #: WAL frames in use, for a pinned WAL.
        self.wal_frame_bytes = 0
        self._was_full = False
        self._allowance_bytes = 0.0
        self._refused_bytes = 0

    def disk_free_bytes(self) -> int:
        """Free room on the spool's file system."""
        return self._free(self._directory)

    def is_pressed(self, used_bytes: int) -> bool:
        """Whether delivered events go before their time: room is short, or an append was refused for want of it."""
        wanted_bytes = max(used_bytes / _PRESSURE, used_bytes + self._refused_bytes * _OVERHEAD)
        return wanted_bytes > self.limits.max_bytes or self._is_disk_low(self._refused_bytes)

    def refusal(self, used_bytes: int, size: int = 0) -> SpoolFullError | None:
        """Why ``size`` more bytes can't be taken now, or None."""
        limits = self.limits
        if used_bytes + size * _OVERHEAD > limits.max_bytes:
            return _full("max_bytes", f"the spool holds {used_bytes} bytes and spool.max_bytes is {limits.max_bytes}")
        if self._is_disk_low(size):
            return _full(
                "min_free_bytes",
                f"the disk has {self.disk_free_bytes()} bytes free and spool.min_free_bytes is {limits.min_free_bytes}",
            )
        if self.wal_frame_bytes > limits.pinned_wal_bytes:
            return _full("wal", f"a reader outside spoold pins {self.wal_frame_bytes} bytes of the spool's log")
        if self._was_full:
            return _full("disk", "the disk was full at the last attempt")
        return None

    def standing_refusal(self, used_bytes: int) -> SpoolFullError | None:
        """Why appends are being refused, or None: from one that had no room until the like of it would have."""
        refusal = self.refusal(used_bytes, self._refused_bytes)
        if refusal is None:
            self._refused_bytes = 0
        return refusal

    def admit(self, sizes: Sequence[int], measure: Callable[[], int]) -> list[SpoolFullError | None]:
        """For each append of a group, in order, why it has no room; None where it has.

        Args:
            measure: Finds out how much the spool uses. Asked when the last look allowed less than this: each system
                call gives up the GIL, which behind a busy lane costs more than the commit.
        """
        total = sum(sizes) * _OVERHEAD
        is_pinned = self.wal_frame_bytes > self.limits.pinned_wal_bytes
        if total <= self._allowance_bytes and not is_pinned and not self._was_full:
            self._allowance_bytes -= total
            return [None] * len(sizes)
        if not sizes:
            return []
        used_bytes = measure()
        if self.refusal(used_bytes, sum(sizes)) is None:
            slack = min(self.limits.max_bytes - used_bytes, self.disk_free_bytes() - self.limits.min_free_bytes)
            self._allowance_bytes = min(_ALLOWANCE_BYTES, slack - total - _CLOSE_BYTES)
            return [None] * len(sizes)
        answers: list[SpoolFullError | None] = []
        taken = 0
        for size in sizes:
            answers.append(self.refusal(used_bytes, taken + size))
            if answers[-1] is None:
                taken += size
            else:
                self._refused_bytes = size
        return answers

    def note_disk_full(self) -> bool:
        """The kernel said ENOSPC: make room for settles and trims, and keep appends out until ``recheck``.

        Returns:
            Whether there was a reserve to give up.
        """
        self._was_full = True
        return self.give_up_reserve()

    def give_up_reserve(self) -> bool:
        """Delete the reserve; False when there was none."""
        try:
            (self._directory / RESERVE_NAME).unlink()
        except FileNotFoundError:
            return False
        return True

    def recheck(self) -> None:
        """Called every second or so: forget an ENOSPC when the disk has room, make the reserve again."""
        # Other programs write to the disk too: look again at the next append.
        self._allowance_bytes = 0.0
        if self.disk_free_bytes() <= self.limits.min_free_bytes + self.limits.reserve_bytes:
            return
        self._was_full = False
        path = self._directory / RESERVE_NAME
        # By its size: a crash in the midst of making it leaves a file that reserves nothing.
        if _size(path) >= self.limits.reserve_bytes:
            return
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError:
            # No inode or no descriptor is free; a later look may find one.
            return
        try:
            os.posix_fallocate(fd, 0, self.limits.reserve_bytes)
        except OSError:
            with suppress(FileNotFoundError):
                path.unlink()
        finally:
            os.close(fd)

    def _is_disk_low(self, size: int) -> bool:
        return self.disk_free_bytes() - size < self.limits.min_free_bytes


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _full(reason: str, text: str) -> SpoolFullError:
    return SpoolFullError(
        f"the spool takes no events now: {text}; nothing was stored, repeat later",
        reason=reason,
        retry_after_seconds=_RETRY_AFTER_SECONDS,
    )
