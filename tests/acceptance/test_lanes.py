"""Several providers: each on its own, and none in the callers' way."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon_process import DaemonProcess
from tests.support.front_door import front_door, track
from tests.support.provider_server import Action, Hang, ProviderServer, Reply

Status = Callable[[DaemonProcess], dict[str, Any]]

_FAULTS = [Reply(503), Reply(401), Hang(threading.Event())]


@pytest.fixture
def second() -> Iterator[ProviderServer]:
    with ProviderServer("second-token") as server:
        yield server


def _two_lanes(home: Path, first: ProviderServer, second: ProviderServer) -> str:
    config = home / "spoold.toml"
    lanes = [("first", first), ("second", second)]
    tables = [
        f'[providers.{name}]\nkind = "mixpanel"\napi_key = "{server.token}"\nendpoint = "{server.url}"\n'
        for name, server in lanes
    ]
    config.write_text('test_mode = false\n[batch]\ninterval = "1s"\n' + "".join(tables))
    config.chmod(0o600)
    return str(config)


@pytest.mark.parametrize("fault", _FAULTS)
def test_the_trouble_of_one_provider_holds_nothing_back_from_the_other(
    tmp_path: Path, provider: ProviderServer, second: ProviderServer, status: Status, fault: Action
) -> None:
    """I5."""
    provider.always(fault)
    config = _two_lanes(tmp_path, provider, second)
    with DaemonProcess(tmp_path, "--config", config, TEST_MODE="") as daemon, front_door(daemon.address) as stub:
        track(stub, count=100)
        second.wait_until(lambda: second.event_count == 100)
        lanes = {lane["name"]: lane for lane in status(daemon)["lanes"]}

    assert (lanes["first"]["accepted"], lanes["first"]["pending"]) == (100, 100)
    assert lanes["second"]["accepted"] == 100


def test_no_caller_waits_for_a_provider(tmp_path: Path, provider: ProviderServer, settings: dict[str, str]) -> None:
    """I6: the call would end in DEADLINE_EXCEEDED after 10 s, the provider hangs for 30."""
    provider.always(Hang(threading.Event()))
    with DaemonProcess(tmp_path, **settings) as daemon, front_door(daemon.address) as stub:
        track(stub, count=50)
        provider.wait_until(lambda: provider.arrived_count == 1)
        ids = track(stub, count=200)
        assert provider.request_count == 0

    assert len(set(ids)) == 200


def test_a_lane_that_leaves_the_configuration_keeps_what_it_has(
    tmp_path: Path, provider: ProviderServer, second: ProviderServer, status: Status
) -> None:
    provider.always(Reply(503))
    config = _two_lanes(tmp_path, provider, second)
    with DaemonProcess(tmp_path, "--config", config, TEST_MODE="") as daemon, front_door(daemon.address) as stub:
        track(stub, count=50)
        second.wait_until(lambda: second.event_count == 50)
        daemon.stop()
    only = {"ANALYTICS_PROVIDER": "second", "TEST_MODE": ""}
    with DaemonProcess(tmp_path, "--config", config, **only) as daemon:
        lanes = {lane["name"]: lane for lane in status(daemon)["lanes"]}

    assert (lanes["first"]["state"], lanes["first"]["pending"]) == ("closed", 50)
    assert lanes["second"]["pending"] == 0
