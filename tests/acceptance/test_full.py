"""A spool that is full, from outside; and what monitoring sees."""

import re
import shutil
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from spoold.api.analytics.v1 import service_pb2
from tests.disk_trouble.small_disk import retry_seconds
from tests.support.daemon_process import DaemonProcess
from tests.support.front_door import Stub, front_door, track_batch
from tests.support.provider_server import ProviderServer, Reply

Settings = dict[str, str]
Status = Callable[[DaemonProcess], dict[str, Any]]

#: Enough for some hundred events of a kilobyte.
_MAX_BYTES = "1MiB"


def fill(stub: Stub) -> grpc.RpcError:
    """Send until the door refuses."""
    for _ in range(100):
        try:
            track_batch(stub, 100, size=1000)
        except grpc.RpcError as error:
            return error
    raise AssertionError("the spool took ten times its limit")


def test_a_full_spool_refuses_says_so_and_takes_again_when_the_provider_is_back(
    tmp_path: Path, provider: ProviderServer, settings: Settings, status: Status
) -> None:
    provider.always(Reply(503))
    config = tmp_path / "spoold.toml"
    config.write_text(f'[spool]\nmax_bytes = "{_MAX_BYTES}"\nmin_free_bytes = "1MiB"\n')
    with DaemonProcess(tmp_path, "--config", str(config), **settings) as daemon, front_door(daemon.address) as stub:
        error = fill(stub)
        assert daemon.wait_for_log("spool full")["reason"] == "max_bytes"
        assert status(daemon)["daemon"]["state"] == "full"
        assert stub.HealthCheck(service_pb2.HealthCheckRequest()).status == "full"
        assert _health(daemon) == health_pb2.HealthCheckResponse.NOT_SERVING

        provider.recover()
        daemon.wait_for_log("spool has room again")
        track_batch(stub, 1)

    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert retry_seconds(error) > 0


def test_the_metrics_have_the_names_that_dashboards_know(
    tmp_path: Path, provider: ProviderServer, settings: Settings
) -> None:
    with DaemonProcess(tmp_path, **settings | {"METRICS_ADDRESS": "127.0.0.1:0"}) as daemon:
        with front_door(daemon.address) as stub:
            track_batch(stub, 50)
        provider.wait_until(lambda: provider.event_count == 50)
        daemon.wait_for_log("batch flushed successfully")
        page = _scrape(daemon)

    assert 'spoold_events_accepted_total{type="track"} 50.0' in page
    assert 'spoold_events_delivered_total{lane="mixpanel"} 50.0' in page
    assert 'spoold_lane_state{lane="mixpanel",state="idle"} 1.0' in page
    families = set(re.findall(r"^# TYPE (\w+) ", page, re.MULTILINE))
    assert families >= {
        "spoold_events_refused_total", "spoold_events_duplicate_total", "spoold_events_dead_total",
        "spoold_events_purged_total", "spoold_pending_events", "spoold_dead_events", "spoold_oldest_pending_seconds",
        "spoold_flushes_total", "spoold_flush_seconds", "spoold_retries_total", "spoold_commit_seconds",
        "spoold_commit_events", "spoold_spool_bytes", "spoold_spool_max_bytes", "spoold_dead_bytes", "spoold_wal_bytes",
        "spoold_disk_free_bytes", "spoold_damaged_records_total", "spoold_build_info",
    }  # fmt: skip


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool comes with Debian's prometheus package")
def test_the_metrics_pass_promtool(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path, METRICS_ADDRESS="127.0.0.1:0") as daemon:
        page = _scrape(daemon)

    run = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout + run.stderr) == (0, "")


def _health(daemon: DaemonProcess) -> int:
    with grpc.insecure_channel(daemon.address) as channel:
        reply: health_pb2.HealthCheckResponse = health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(service="analytics.v1.AnalyticsService")
        )
        return int(reply.status)


def _scrape(daemon: DaemonProcess) -> str:
    address = daemon.wait_for_log("metrics listening")["address"]
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as page:
        text: str = page.read().decode()
    return text
