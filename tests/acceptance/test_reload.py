"""SIGHUP: another configuration without a lost connection."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from tests.support.daemon_process import DaemonProcess
from tests.support.front_door import front_door, track
from tests.support.provider_server import ProviderServer

Status = Callable[[DaemonProcess], dict[str, Any]]
Run = Callable[..., "CompletedProcess[str]"]


class Owner:
    """Somebody with an editor: the daemon's configuration file, and a key file beside it."""

    def __init__(self, home: Path, provider: ProviderServer) -> None:
        self.file = home / "spoold.toml"
        self.key_file = home / "mixpanel.key"
        self._endpoint = provider.url
        self.set_key(provider.token)
        self.write()

    def set_key(self, key: str) -> None:
        self.key_file.write_text(key)
        self.key_file.chmod(0o640)

    def write(self, *, top: str = "", lane: str = "", more: str = "") -> None:
        retry = '[retry]\ninitial_delay = "20ms"\nmax_delay = "50ms"\n'
        keys = f'endpoint = "{self._endpoint}"\napi_key_file = "{self.key_file}"\n{lane}\n'
        self.file.write_text(f'{top}\n[batch]\ninterval = "1s"\n{retry}[providers.mixpanel]\n{keys}{more}')


@pytest.fixture
def owner(tmp_path: Path, provider: ProviderServer) -> Owner:
    return Owner(tmp_path, provider)


def start(home: Path, owner: Owner) -> DaemonProcess:
    return DaemonProcess(home, "--config", str(owner.file), TEST_MODE="false")


def reload(daemon: DaemonProcess, event: str = "configuration reloaded") -> dict[str, Any]:
    """SIGHUP, and what the daemon makes of it."""
    before = len(daemon.logs)
    os.kill(daemon.pid, signal.SIGHUP)
    return daemon.wait_until(lambda log: log in daemon.logs[before:] and log.get("event") == event, event)


def test_a_key_that_was_wrong_is_mended_and_everything_is_delivered_in_order(
    tmp_path: Path, owner: Owner, provider: ProviderServer, status: Status
) -> None:
    owner.set_key("a-wrong-token")
    with start(tmp_path, owner) as daemon, front_door(daemon.address) as stub:
        ids = track(stub, count=120)
        daemon.wait_for_log("lane down")
        (lane,) = status(daemon)["lanes"]
        assert (lane["state"], lane["pending"]) == ("stopped", 120)
        assert "Invalid credentials" in lane["last_error"]
        provider.requests.clear()

        owner.set_key(provider.token)
        said = reload(daemon)
        assert said["lanes_changed"] == ["mixpanel"]
        # The same connection, before, while and after.
        ids += track(stub, count=30)
        provider.wait_until(lambda: provider.event_count == 150)
        arrived = [record["properties"]["$insert_id"] for request in provider.requests for record in request.records]

    assert sorted(arrived) == sorted(ids)
    assert provider.duplicate_count == 0


def test_a_bad_file_keeps_the_old_configuration(tmp_path: Path, owner: Owner, provider: ProviderServer) -> None:
    with start(tmp_path, owner) as daemon, front_door(daemon.address) as stub:
        owner.write(lane="in_flight = 99")
        said = reload(daemon, "configuration kept: the new one can't be used")
        assert "providers.mixpanel.in_flight = 99" in said["error"]
        track(stub, count=50)
        provider.wait_until(lambda: provider.event_count == 50)
        owner.write()

        assert reload(daemon)["lanes_changed"] == []


def test_a_lane_comes_and_goes(
    tmp_path: Path, owner: Owner, provider: ProviderServer, status: Status, spoolctl: Run
) -> None:
    with (
        ProviderServer("second-token") as second,
        start(tmp_path, owner) as daemon,
        front_door(daemon.address) as stub,
    ):
        early = track(stub, count=50)
        provider.wait_until(lambda: provider.event_count == 50)
        owner.write(more=f'[providers.eu]\nkind = "mixpanel"\nendpoint = "{second.url}"\napi_key = "second-token"\n')
        assert reload(daemon)["lanes_added"] == ["eu"]
        late = track(stub, count=50)
        second.wait_until(lambda: second.event_count == 50)
        assert second.events_by_insert_id.keys() == set(late)

        # What it never had, on request.
        sent = spoolctl("replay", "--lane", "eu", "--since", "1h", "--watch", daemon=daemon)
        assert sent.returncode == 0, sent.stderr
        second.wait_until(lambda: second.events_by_insert_id.keys() == set(early + late))

        owner.write()
        assert reload(daemon)["lanes_removed"] == ["eu"]
        track(stub, count=50)
        provider.wait_until(lambda: provider.event_count == 150)
        states = {lane["name"]: lane["state"] for lane in status(daemon)["lanes"]}
        assert states["eu"] == "closed"
        assert second.event_count == 100


def test_limits_and_the_log_level_change(tmp_path: Path, owner: Owner) -> None:
    with start(tmp_path, owner) as daemon, front_door(daemon.address) as stub:
        spool = '[spool]\nmax_bytes = "1MiB"\ndurability = "os"'
        owner.write(top=f'[log]\nlevel = "debug"\n[ingest]\nmax_event_bytes = 1000\n{spool}')
        said = reload(daemon)
        assert {"log.level", "ingest.max_event_bytes", "spool.max_bytes"} <= set(said["changed"])
        warnings = [str(log["warning"]) for log in daemon.logs if log["event"] == "configuration"]
        assert any('spool.durability = "os"' in said and "needs a restart" in said for said in warnings)
        track(stub)
        daemon.wait_for_log("event queued")

        with pytest.raises(Exception, match="1000"):
            track(stub, "x" * 1000)


def test_a_key_from_the_environment_is_said_to_need_a_restart(
    tmp_path: Path, owner: Owner, provider: ProviderServer
) -> None:
    keys = {"MIXPANEL_API_KEY": provider.token, "TEST_MODE": "false"}
    with DaemonProcess(tmp_path, "--config", str(owner.file), **keys) as daemon:
        reload(daemon)

        assert any("MIXPANEL_API_KEY" in str(log.get("warning")) for log in daemon.logs)
        assert provider.token not in str(daemon.logs)


def test_many_in_a_row_and_a_stop_among_them_end_in_order(
    tmp_path: Path, owner: Owner, provider: ProviderServer
) -> None:
    with start(tmp_path, owner) as daemon:
        with front_door(daemon.address) as stub:
            track(stub, count=70)
            for number in range(1, 8):
                owner.write(lane=f"in_flight = {number}")
                os.kill(daemon.pid, signal.SIGHUP)
            assert daemon.stop() == 0

        assert provider.event_count == 70
        assert provider.duplicate_count == 0
