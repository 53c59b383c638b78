"""What the daemon tells the service manager that started it: sd_notify(3)."""

import os
import signal
from pathlib import Path

import pytest

from tests.support.daemon_process import DaemonProcess
from tests.support.front_door import front_door, track
from tests.support.provider_server import ProviderServer, Reply
from tests.support.service_manager import ListeningManager

Settings = dict[str, str]


def start(home: Path, manager: ListeningManager, **environment: str) -> DaemonProcess:
    return DaemonProcess(home, NOTIFY_SOCKET=manager.address, **environment)


def test_it_is_ready_when_it_listens_and_says_when_it_stops(tmp_path: Path) -> None:
    with ListeningManager() as manager, start(tmp_path, manager, GRPC_PORT="0") as daemon:
        manager.wait_until("READY=1")
        assert manager.heard[0].startswith("EXTEND_TIMEOUT_USEC=")
        with front_door(daemon.address) as stub:
            track(stub, count=1)
        assert daemon.stop() == 0
        manager.wait_until("STOPPING=1")

    assert manager.heard.count("READY=1") == 1


def test_it_is_not_ready_when_it_can_not_listen(tmp_path: Path) -> None:
    with ListeningManager() as manager, start(tmp_path / "first", manager) as first:
        manager.wait_until("READY=1")
        manager.heard.clear()
        second = start(tmp_path / "second", manager, GRPC_PORT=first.address.rpartition(":")[2])
        assert second.end() == 1
        first.stop()
        manager.wait_until("STOPPING=1")

    assert "READY=1" not in manager.heard


def test_the_status_says_what_waits_and_which_lane_is_out(
    tmp_path: Path, settings: Settings, provider: ProviderServer
) -> None:
    provider.always(Reply(401))
    with ListeningManager() as manager, start(tmp_path, manager, **settings) as daemon:
        with front_door(daemon.address) as stub:
            track(stub, count=3)
        manager.wait_until("STATUS=degraded, 3 events pending; mixpanel stopped")
        provider.recover()
        assert daemon.stop() == 0


def test_a_reload_is_announced_and_its_end_too(tmp_path: Path) -> None:
    with ListeningManager() as manager, start(tmp_path, manager) as daemon:
        manager.wait_until("READY=1")
        os.kill(daemon.pid, signal.SIGHUP)
        manager.wait_until("RELOADING=1")
        manager.wait_until("READY=1")


def test_a_bad_configuration_ends_a_reload_too(tmp_path: Path) -> None:
    config = tmp_path / "spoold.toml"
    config.write_text("")
    with (
        ListeningManager() as manager,
        DaemonProcess(tmp_path, "--config", str(config), NOTIFY_SOCKET=manager.address) as daemon,
    ):
        manager.wait_until("READY=1")
        config.write_text("spol = 1\n")
        os.kill(daemon.pid, signal.SIGHUP)
        manager.wait_until("RELOADING=1")
        manager.wait_until("READY=1")


def test_the_watchdog_hears_of_it_while_it_serves(tmp_path: Path) -> None:
    with ListeningManager() as manager, start(tmp_path, manager, WATCHDOG_USEC="60000"):
        manager.wait_until("READY=1")
        for _ in range(5):
            manager.wait_until("WATCHDOG=1")


def test_a_process_that_stands_still_is_not_heard_of(tmp_path: Path) -> None:
    with ListeningManager(timeout_seconds=1.0) as manager, start(tmp_path, manager, WATCHDOG_USEC="30000") as daemon:
        manager.wait_until("WATCHDOG=1")
        os.kill(daemon.pid, signal.SIGSTOP)
        try:
            with pytest.raises(TimeoutError):
                manager.wait_until("nothing more")
        finally:
            os.kill(daemon.pid, signal.SIGCONT)


def test_it_runs_without_a_manager_and_with_one_that_is_gone(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path, NOTIFY_SOCKET=str(tmp_path / "nobody"), WATCHDOG_USEC="30000") as daemon:
        with front_door(daemon.address) as stub:
            track(stub, count=1)
        assert daemon.stop() == 0
