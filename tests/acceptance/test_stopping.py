"""How a daemon ends: in order, cut short, or killed; and what the next one finds."""

import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from tests.support.daemon_process import DaemonProcess
from tests.support.front_door import Stub, front_door, track
from tests.support.provider_server import Hang, ProviderServer

Settings = dict[str, str]

_CALLERS = 16
_KILLS = (20, 130, 400)


def test_sigterm_flushes_what_is_pending_and_ends_with_0(
    tmp_path: Path, provider: ProviderServer, settings: Settings
) -> None:
    with DaemonProcess(tmp_path, **settings | {"FLUSH_INTERVAL_SECONDS": "300"}) as daemon:
        with front_door(daemon.address) as stub:
            track(stub, count=7)
        code = daemon.stop()

    assert code == 0
    assert provider.event_count == 7
    events = [log["event"] for log in daemon.logs]
    assert events.index("Shutdown signal received") < events.index("final flush completed") < events.index("stopped")


def test_a_provider_that_hangs_holds_the_end_up_for_no_longer_than_the_timeout(
    tmp_path: Path, provider: ProviderServer, settings: Settings
) -> None:
    config = tmp_path / "spoold.toml"
    config.write_text('shutdown_timeout = "1s"\n')
    provider.always(Hang(threading.Event()))
    with DaemonProcess(tmp_path, "--config", str(config), **settings) as daemon:
        with front_door(daemon.address) as stub:
            ids = track(stub, count=50)
        provider.wait_until(lambda: provider.arrived_count == 1)
        assert daemon.stop() == 0

    provider.recover()
    with DaemonProcess(tmp_path, **settings):
        provider.wait_until(lambda: provider.event_count == 50)
    assert provider.events_by_insert_id.keys() == set(ids)


def test_a_second_signal_cuts_the_final_flush_short(
    tmp_path: Path, provider: ProviderServer, settings: Settings
) -> None:
    provider.always(Hang(threading.Event()))
    with DaemonProcess(tmp_path, **settings) as daemon:
        with front_door(daemon.address) as stub:
            track(stub, count=50)
        provider.wait_until(lambda: provider.arrived_count == 1)
        daemon.process.send_signal(signal.SIGTERM)
        daemon.wait_for_log("Shutdown signal received")

        # Else it would wait for shutdown_timeout, 25 s, and this would end in a DaemonError.
        assert daemon.end(signal.SIGTERM, timeout_seconds=10) == 0


@pytest.mark.parametrize("after", _KILLS)
def test_sigkill_under_load_loses_nothing_that_was_acknowledged(
    tmp_path: Path, provider: ProviderServer, settings: Settings, after: int
) -> None:
    acknowledged: list[str] = []
    with DaemonProcess(tmp_path, **settings) as daemon, front_door(daemon.address) as stub:
        with ThreadPoolExecutor(_CALLERS) as callers:
            for answer in [callers.submit(_try_to_track, stub) for _ in range(600)]:
                acknowledged += answer.result()
                if len(acknowledged) == after:
                    daemon.process.kill()
        daemon.end()

    with DaemonProcess(tmp_path, **settings) as daemon:
        provider.wait_until(lambda: set(acknowledged) <= provider.events_by_insert_id.keys())
        assert daemon.stop() == 0

    assert len(acknowledged) >= after
    assert not provider.changed


def test_no_event_is_sent_again_after_an_orderly_restart(
    tmp_path: Path, provider: ProviderServer, settings: Settings
) -> None:
    for _ in range(3):
        with DaemonProcess(tmp_path, **settings) as daemon:
            with front_door(daemon.address) as stub:
                track(stub, count=60)
            assert daemon.stop() == 0

    assert provider.event_count == 180
    assert provider.duplicate_count == 0


def test_nothing_is_accepted_while_stopping(tmp_path: Path, provider: ProviderServer, settings: Settings) -> None:
    provider.always(Hang(threading.Event()))
    with DaemonProcess(tmp_path, **settings) as daemon, front_door(daemon.address) as stub:
        track(stub, count=50)
        provider.wait_until(lambda: provider.arrived_count == 1)
        daemon.process.send_signal(signal.SIGTERM)
        daemon.wait_for_log("Shutdown signal received")

        with pytest.raises(grpc.RpcError) as refused:
            track(stub, count=1_000_000)
        daemon.end(signal.SIGTERM)

    assert refused.value.code() == grpc.StatusCode.UNAVAILABLE


def _try_to_track(stub: Stub) -> list[str]:
    try:
        return track(stub)
    except grpc.RpcError:
        return []
