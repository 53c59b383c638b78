"""A disk that fails under the real daemon while it works."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from tests.disk_trouble.small_disk import retry_seconds
from tests.support.daemon_process import DaemonProcess
from tests.support.front_door import Stub, front_door, track
from tests.support.provider_server import ProviderServer

Settings = dict[str, str]

pytestmark = pytest.mark.skipif(
    shutil.which("strace") is None or os.geteuid() != 0, reason="needs strace, and root to attach it"
)

#: More calls than it takes to attach the injector.
_MANY = 1_000_000


@contextmanager
def failing(daemon: DaemonProcess, call: str, fault: str) -> Iterator[None]:
    """Have a system call of the daemon fail, from some moment on."""
    options = f"-f -qq -o /dev/null -e trace={call} -e inject={call}:{fault}".split()
    with subprocess.Popen(["strace", *options, "-p", str(daemon.pid)]) as injector:
        try:
            yield
        finally:
            injector.send_signal(signal.SIGTERM)


def track_until_refused(stub: Stub) -> tuple[set[str], grpc.RpcError]:
    """Send events one by one; the ids of those that were acknowledged, and the refusal of the one that was not."""
    ids: set[str] = set()
    for _ in range(_MANY):
        try:
            ids.update(track(stub))
        except grpc.RpcError as error:
            return ids, error
    raise AssertionError("no call met the fault")


def track_until_taken(stub: Stub) -> set[str]:
    """Send an event again and again while it is refused for want of room; its id."""
    for _ in range(_MANY):
        try:
            return set(track(stub))
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise
    raise AssertionError("there is room, and nothing is taken")


@pytest.mark.parametrize(("call", "fault"), [("fdatasync", "error=EIO"), ("pwrite64", "error=EIO")])
def test_a_disk_that_fails_ends_the_process_and_loses_nothing(
    tmp_path: Path, provider: ProviderServer, settings: Settings, call: str, fault: str
) -> None:
    with DaemonProcess(tmp_path, **settings | {"FLUSH_INTERVAL_SECONDS": "300", "BATCH_SIZE": "1000"}) as daemon:
        with front_door(daemon.address) as stub, failing(daemon, call, fault):
            ids, error = track_until_refused(stub)
            code = daemon.end()
        assert "disk" in daemon.wait_for_log("spoold ended")["error"]
    with DaemonProcess(tmp_path, **settings):
        provider.wait_until(lambda: ids <= provider.events_by_insert_id.keys())

    assert code == 1
    assert error.code() == grpc.StatusCode.UNAVAILABLE
    assert provider.duplicate_count == 0


def test_a_write_that_finds_no_room_refuses_its_callers_and_the_next_ones_are_taken_again(
    tmp_path: Path, provider: ProviderServer, settings: Settings
) -> None:
    with DaemonProcess(tmp_path, **settings) as daemon, front_door(daemon.address) as stub:
        with failing(daemon, "pwrite64", "error=ENOSPC:when=1"):
            ids, error = track_until_refused(stub)
            # The disk has room, which is seen at the next look.
            ids |= track_until_taken(stub)
        provider.wait_until(lambda: provider.events_by_insert_id.keys() >= ids)
        assert daemon.stop() == 0

    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert retry_seconds(error) > 0
    assert provider.events_by_insert_id.keys() == ids
