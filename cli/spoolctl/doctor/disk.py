"""How long the disk takes for a sync, and whether it can have done one in that time."""

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from spoolctl.doctor.findings import Finding, Level
from spoolctl.doctor.mounts import Device, existing, read_device, read_mount
from spoolctl.doctor.subject import Subject

_CHECK = "disk"
_PROBES = 40
_PROBING_SECONDS = 1.0
_WRITE_BYTES = 4096
_FILE_BYTES = 16 * _WRITE_BYTES
#: No flash takes a write for good in less; memory does.
_IMPOSSIBLE_SECONDS = 0.00001
#: A platter has to come round, 8 ms on average; much faster is its cache's answer.
_SPINNING_SECONDS = 0.001
_SLOW_SECONDS, _VERY_SLOW_SECONDS = 0.03, 0.2


class Latency(NamedTuple):
    """How long syncs took, in seconds."""

    p50: float
    p99: float
    longest: float

    def __str__(self) -> str:
        """In milliseconds."""
        return f"p50 {self.p50 * 1000:.2g} ms, p99 {self.p99 * 1000:.2g} ms, max {self.longest * 1000:.2g} ms"


def check_disk(subject: Subject) -> Iterator[Finding]:
    """Sync a small file of its own in the spool's directory, some tens of times; the spool's files are left alone."""
    yield examine_disk(existing(subject.directory))


def examine_disk(folder: Path) -> Finding:
    """The finding for the disk below an existing folder."""
    mount = read_mount(folder)
    device = read_device(mount) if mount is not None else Device("", is_platter=False, is_virtual=False)
    try:
        latency = measure(folder)
    except OSError as exc:
        text = f"how long a sync takes could not be measured in {folder}: {exc.strerror}"
        return Finding(_CHECK, Level.NOTE, text, "sudo spoolctl doctor")
    return judge(latency, device)


def measure(folder: Path) -> Latency:
    """Write 4 KiB and ``fdatasync``, again and again, for about a second at most. Raises OSError."""
    taken: list[float] = []
    with tempfile.NamedTemporaryFile(prefix=".spoolctl-doctor-", dir=folder) as file:
        # As in the spool's log: what is written over is there already.
        os.write(file.fileno(), b"\0" * _FILE_BYTES)
        os.fsync(file.fileno())
        deadline = time.monotonic() + _PROBING_SECONDS
        while len(taken) < _PROBES and time.monotonic() < deadline:
            data = os.urandom(_WRITE_BYTES)
            begin = time.perf_counter()
            os.pwrite(file.fileno(), data, len(taken) * _WRITE_BYTES % _FILE_BYTES)
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - begin)
    return summarize(taken)


def summarize(taken: Sequence[float]) -> Latency:
    """The middle, the highest but one in a hundred, and the longest of some seconds."""
    ordered = sorted(taken)
    return Latency(ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100], ordered[-1])


def judge(latency: Latency, device: Device) -> Finding:
    """Whether a sync on this device can be that fast, and whether it is fast enough."""
    name = f" on {device.name}" if device.name else ""
    text = f"a sync takes {latency}{name}"
    if latency.p50 < _IMPOSSIBLE_SECONDS or (device.is_platter and latency.p50 < _SPINNING_SECONDS):
        why = "too fast for a disk: memory, or a cache that says done before it is"
        fix = f"hdparm -W 0 /dev/{device.name} (its write cache)" if device.is_platter else "spool.url: another disk"
        return Finding(_CHECK, Level.WARNING, f"{text}: {why}; a power cut may lose events", fix)
    if latency.p50 > _SLOW_SECONDS or latency.p99 > _VERY_SLOW_SECONDS:
        fix = "spool.url: a faster disk; callers that send many: TrackBatch, up to 1 000 events for one sync"
        return Finding(_CHECK, Level.WARNING, f"{text}: slow, and each lone call waits for one", fix)
    host = (
        "; a virtual disk: whether its host keeps what was synced can't be seen from here" if device.is_virtual else ""
    )
    return Finding(_CHECK, Level.OK, f"{text}{host}")
