"""A disk whose sync fails, under the real daemon."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import grpc
import pytest

from tests.support.daemon_process import DaemonProcess
from tests.support.front_door import front_door, track
from tests.support.provider_server import ProviderServer

Settings = dict[str, str]

_FAIL_EVERY_SYNC = "strace -f -qq -o /dev/null -e trace=fdatasync -e inject=fdatasync:error=EIO"


@pytest.mark.skipif(shutil.which("strace") is None or os.geteuid() != 0, reason="needs strace, and root to attach it")
def test_a_sync_that_fails_ends_the_process_and_loses_nothing(
    tmp_path: Path, provider: ProviderServer, settings: Settings
) -> None:
    with DaemonProcess(tmp_path, **settings | {"FLUSH_INTERVAL_SECONDS": "300"}) as daemon:
        with front_door(daemon.address) as stub:
            ids = track(stub, count=20)
            with subprocess.Popen([*_FAIL_EVERY_SYNC.split(), "-p", str(daemon.pid)]) as injector:
                with pytest.raises(grpc.RpcError) as refused:
                    track(stub, count=1_000_000)
                code = daemon.end()
                injector.send_signal(signal.SIGTERM)
        assert "disk" in daemon.wait_for_log("spoold ended")["error"]
    with DaemonProcess(tmp_path, **settings):
        provider.wait_until(lambda: set(ids) <= provider.events_by_insert_id.keys())

    assert code == 1
    assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
    assert provider.duplicate_count == 0
