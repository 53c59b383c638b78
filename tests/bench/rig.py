"""What the benchmarks stand on: folders on the checkout's disk, servers in processes of their own, their accounts."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median

import grpc

from spoold.api.spoold.admin.v1 import admin_pb2, admin_pb2_grpc
from tests.support.daemon_process import DaemonProcess

_ROOT = Path(__file__).resolve().parents[2]
_HOME = _ROOT / "build" / "bench" / str(os.getpid())
#: Port 1 refuses connections: a provider that is down.
DOWN = {"TEST_MODE": "false", "MIXPANEL_API_KEY": "bench-token", "MIXPANEL_ENDPOINT": "http://127.0.0.1:1"}
_SYNCED_BYTES = 8240


@contextmanager
def home(name: str) -> Iterator[Path]:
    """An empty folder on the checkout's disk, removed afterwards."""
    folder = _HOME / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # not empty: another benchmark's folder is there
            _HOME.rmdir()
            _HOME.parent.rmdir()


@contextmanager
def server(module: str, *arguments: str) -> Iterator[tuple[int, int]]:
    """A server of this package in a process of its own: (port, pid)."""
    command = [sys.executable, "-m", f"tests.bench.{module}", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=_ROOT) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline()), process.pid
        finally:
            process.kill()


def get_status(daemon: DaemonProcess) -> admin_pb2.GetStatusReply:
    """What ``spoolctl status`` shows."""
    with _admin(daemon) as stub:
        reply: admin_pb2.GetStatusReply = stub.GetStatus(admin_pb2.GetStatusRequest(), timeout=10)
        return reply


def status_ms(daemon: DaemonProcess, calls: int) -> float:
    """The median wait for ``GetStatus``."""
    waits = []
    with _admin(daemon) as stub:
        for _ in range(calls):
            start = time.perf_counter()
            stub.GetStatus(admin_pb2.GetStatusRequest(), timeout=10)
            waits.append((time.perf_counter() - start) * 1e3)
    return median(waits)


@contextmanager
def _admin(daemon: DaemonProcess) -> Iterator[admin_pb2_grpc.AdminServiceStub]:
    with grpc.insecure_channel(f"unix:{daemon.admin_socket.absolute()}") as channel:
        yield admin_pb2_grpc.AdminServiceStub(channel)


def appending_sync_ms(folder: Path, rounds: int = 250) -> float:
    """The median of one fdatasync after appending what a small commit writes."""
    path = folder / "sync"
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    waits = []
    try:
        for _ in range(rounds):
            os.write(fd, b"x" * _SYNCED_BYTES)
            start = time.perf_counter()
            os.fdatasync(fd)
            waits.append((time.perf_counter() - start) * 1e3)
    finally:
        os.close(fd)
        path.unlink()
    return median(waits)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def busy_share(seconds: float = 1.0) -> float:
    """How much of all cores is taken at the moment, by whatever it is."""

    def ticks() -> tuple[int, int]:
        fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        return sum(fields), fields[3] + fields[4]

    total, idle = ticks()
    time.sleep(seconds)
    later, later_idle = ticks()
    return 1 - (later_idle - idle) / max(later - total, 1)


def resident_mib(pid: int) -> float:
    """VmRSS of a process."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024
