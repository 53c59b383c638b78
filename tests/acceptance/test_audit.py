"""The ledger of a running daemon: it balances at work, and what does not balance is told everywhere."""

import json
import sqlite3
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from spoold.api.analytics.v1 import service_pb2
from tests.support.daemon_process import DaemonProcess
from tests.support.front_door import front_door, track, track_batch
from tests.support.provider_server import ProviderServer
from tests.support.provider_taken import Refusal

Settings = dict[str, str]
Run = Callable[..., "subprocess.CompletedProcess[str]"]
Status = Callable[[DaemonProcess], dict[str, Any]]
_METRICS = {"METRICS_ADDRESS": "127.0.0.1:0"}


def imbalance(daemon: DaemonProcess) -> float:
    address = daemon.wait_for_log("metrics listening")["address"]
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=20) as reply:
        lines = reply.read().decode().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("spoold_ledger_imbalance ")))


def condition(daemon: DaemonProcess) -> str:
    with front_door(daemon.address) as stub:
        status: str = stub.HealthCheck(service_pb2.HealthCheckRequest(), timeout=10).status
        return status


def test_the_ledger_of_a_daemon_at_work_balances(
    tmp_path: Path, provider: ProviderServer, settings: Settings, spoolctl: Run
) -> None:
    provider.refuse = lambda record: Refusal("event", "not on the list") if record["event"] == "Bad" else None
    with DaemonProcess(tmp_path, **settings | _METRICS) as daemon, front_door(daemon.address) as stub:
        runs = []
        for _ in range(5):
            track(stub, "Bad", count=2)
            track_batch(stub, 300)
            runs.append(spoolctl("audit", "--json", daemon=daemon))
        daemon.wait_for_log("batch flushed successfully")

        last = json.loads(spoolctl("audit", "--json", daemon=daemon).stdout)

        assert [run.returncode for run in runs] == [0] * 5, runs[0].stderr
        assert (last["ok"], last["lanes"][0]["accepted"], last["lanes"][0]["balance"]) == (True, 1510, 0)
        assert (imbalance(daemon), condition(daemon)) == (0, "healthy")


def test_what_does_not_balance_is_told_everywhere(tmp_path: Path, spoolctl: Run, status: Status) -> None:
    with DaemonProcess(tmp_path, **_METRICS) as daemon, front_door(daemon.address) as stub:
        track(stub, count=20)
        daemon.stop()
    (database,) = tmp_path.rglob("spool.db")
    connection = sqlite3.connect(database)
    connection.execute("DELETE FROM queue_journal WHERE _id = 7")
    connection.commit()
    connection.close()

    with DaemonProcess(tmp_path, **_METRICS) as daemon:
        log = daemon.wait_for_log("ledger out of balance")

        assert log["level"] == "error"
        assert log["imbalances"] == ["the spool: stored is 20 by its counter, and 19 by what is in the journal"]
        assert (imbalance(daemon), condition(daemon)) == (1, "degraded")
        assert status(daemon)["spool"]["imbalances"] == log["imbalances"]
        run = spoolctl("audit", daemon=daemon)
        assert (run.returncode, log["imbalances"][0] in run.stderr) == (1, True)
