"""The operator's desk on a running daemon: lanes held and released, dead letters read and sent again, backfill."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon_process import DaemonProcess
from tests.support.front_door import front_door, track, track_batch
from tests.support.provider_server import ProviderServer, Reply
from tests.support.provider_taken import Refusal

Settings = dict[str, str]
Run = Callable[..., "subprocess.CompletedProcess[str]"]
Status = Callable[[DaemonProcess], dict[str, Any]]

_SPOOLCTL = str(Path(sys.executable).with_name("spoolctl"))
_SECONDS = 30.0


@pytest.fixture
def second() -> Iterator[ProviderServer]:
    with ProviderServer("second-token") as server:
        yield server


def configured(home: Path, **lanes: ProviderServer) -> list[str]:
    """Arguments for a daemon with these lanes, which flushes after a second and comes back soon."""
    config = home / "spoold.toml"
    tables = [
        f'[providers.{name}]\nkind = "mixpanel"\napi_key = "{server.token}"\nendpoint = "{server.url}"\n'
        for name, server in lanes.items()
    ]
    retry = '[retry]\ninitial_delay = "20ms"\nmax_delay = "50ms"\n'
    config.write_text('test_mode = false\n[batch]\ninterval = "1s"\n' + retry + "".join(tables))
    config.chmod(0o600)
    return ["--config", str(config)]


def lane_of(status: dict[str, Any], name: str = "mixpanel") -> dict[str, Any]:
    found: dict[str, Any] = next(lane for lane in status["lanes"] if lane["name"] == name)
    return found


def told(run: "subprocess.CompletedProcess[str]") -> list[dict[str, Any]]:
    assert run.returncode == 0, run.stderr
    return [json.loads(line) for line in run.stdout.splitlines()]


def test_a_poisoned_event_is_listed_shown_and_when_it_is_mended_sent_again(
    tmp_path: Path, provider: ProviderServer, settings: Settings, spoolctl: Run, status: Status
) -> None:
    provider.refuse = lambda record: Refusal("event", "not on the list") if record["event"] == "Bad" else None
    with DaemonProcess(tmp_path, **settings) as daemon, front_door(daemon.address) as stub:
        track(stub, count=20)
        (bad,) = track(stub, "Bad")
        track(stub, count=29)
        daemon.wait_for_log("dead letter")
        provider.wait_until(lambda: provider.event_count == 49)

        (letter,) = told(spoolctl("dead", "list", "--json", daemon=daemon))
        assert "not on the list" in spoolctl("dead", "show", bad, daemon=daemon).stdout
        provider.refuse = None
        run = spoolctl("replay", "--lane", "mixpanel", "--dead", "--watch", daemon=daemon)
        provider.wait_until(lambda: provider.event_count == 50)
        daemon.wait_until(lambda log: log.get("event_count") == 1 and log.get("pending") == 0, "the mended event")
        lane = lane_of(status(daemon))

    assert (letter["event_id"], letter["event_name"], letter["lane"], letter["status"]) == (bad, "Bad", "mixpanel", 400)
    assert "not on the list" in letter["reason"]
    assert run.returncode == 0, run.stderr
    assert "1 dead letter pending again" in run.stdout
    assert bad in provider.events_by_insert_id
    assert (lane["dead"], lane["delivered"], lane["pending"]) == (0, 50, 0)


def test_a_spool_whose_daemon_was_killed_tells_its_dead_letters(
    tmp_path: Path, provider: ProviderServer, settings: Settings, spoolctl: Run
) -> None:
    provider.refuse = lambda record: Refusal("event", "not on the list") if record["event"] == "Bad" else None
    with DaemonProcess(tmp_path, **settings) as daemon:
        with front_door(daemon.address) as stub:
            (bad,) = track(stub, "Bad")
        daemon.wait_for_log("dead letter")
        daemon.kill()
        run = spoolctl("--spool", str(daemon.spool_dir), "dead", "list", "--json", daemon=daemon)

    assert [letter["event_id"] for letter in told(run)] == [bad]
    assert "spoold is not running" in run.stderr


def test_a_lane_that_was_added_later_gets_what_is_kept(
    tmp_path: Path, provider: ProviderServer, second: ProviderServer, spoolctl: Run, status: Status
) -> None:
    with DaemonProcess(tmp_path, *configured(tmp_path, first=provider), TEST_MODE="") as daemon:
        with front_door(daemon.address) as stub:
            ids = track_batch(stub, 120)
            provider.wait_until(lambda: provider.event_count == 120)
        daemon.stop()
    arguments = configured(tmp_path, first=provider, second=second)
    with DaemonProcess(tmp_path, *arguments, TEST_MODE="") as daemon, front_door(daemon.address) as stub:
        counted = told(spoolctl("replay", "--lane", "second", "--since", "1h", "--dry-run", "--json", daemon=daemon))
        run = spoolctl("replay", "--lane", "second", "--since", "1h", "--watch", "--json", daemon=daemon)
        fresh = track(stub, count=50)
        second.wait_until(lambda: second.event_count == 170)
        provider.wait_until(lambda: provider.event_count == 170)
        replay = told(spoolctl("replays", "list", "--json", daemon=daemon))[0]
        lane = lane_of(status(daemon), "second")

    assert counted == [{"lane": "second", "matched": 120}]
    assert (told(run)[-1]["state"], told(run)[-1]["sent"], told(run)[-1]["failed"]) == ("done", 120, 0)
    assert (replay["state"], replay["progress"]) == ("done", 1.0)
    assert second.events_by_insert_id.keys() == {*ids, *fresh}
    assert provider.duplicate_count == second.duplicate_count == 0
    # What was accepted before the lane was there is none of its own: the replay counts it.
    assert lane["accepted"] == 50


def test_a_replay_goes_on_after_a_kill(
    tmp_path: Path, provider: ProviderServer, second: ProviderServer, spoolctl: Run
) -> None:
    arguments = configured(tmp_path, first=provider, second=second)
    with DaemonProcess(tmp_path, *arguments, TEST_MODE="") as daemon, front_door(daemon.address) as stub:
        ids = track_batch(stub, 60)
        provider.wait_until(lambda: provider.event_count == 60)
        second.wait_until(lambda: second.event_count == 60)
        second.always(Reply(503))
        assert spoolctl("replay", "--lane", "second", "--since", "0", daemon=daemon).returncode == 0
        arrived = second.request_count
        second.wait_until(lambda: second.request_count > arrived)
        daemon.kill()
    second.recover()
    with DaemonProcess(tmp_path, *arguments, TEST_MODE="") as daemon:
        second.wait_until(lambda: second.duplicate_count == 60)
        run = spoolctl("replays", "list", "--watch", "--json", daemon=daemon)

    last = told(run)[-1]
    assert (last["state"], last["sent"]) == ("done", 60)
    assert second.events_by_insert_id.keys() == set(ids)
    assert not second.changed
    assert provider.duplicate_count == 0


def test_one_event_is_sent_again_by_its_id_and_no_other(
    tmp_path: Path, provider: ProviderServer, settings: Settings, spoolctl: Run
) -> None:
    with DaemonProcess(tmp_path, **settings) as daemon, front_door(daemon.address) as stub:
        ids = track(stub, count=50)
        provider.wait_until(lambda: provider.event_count == 50)
        provider.requests.clear()
        run = spoolctl("replay", "--lane", "mixpanel", "--id", ids[7], "--watch", daemon=daemon)

    assert run.returncode == 0, run.stderr
    assert "1 sent, 0 refused" in run.stdout
    assert [record["properties"]["$insert_id"] for one in provider.requests for record in one.records] == [ids[7]]


def test_a_replay_that_nobody_watches_any_more_goes_on_and_can_be_cancelled(
    tmp_path: Path, provider: ProviderServer, settings: Settings, spoolctl: Run
) -> None:
    with DaemonProcess(tmp_path, **settings) as daemon, front_door(daemon.address) as stub:
        track(stub, count=50)
        provider.wait_until(lambda: provider.event_count == 50)
        assert spoolctl("lanes", "pause", "mixpanel", daemon=daemon).returncode == 0
        command = [_SPOOLCTL, "--socket", str(daemon.admin_socket), "replay", "--lane", "mixpanel", "--since", "0"]
        command += ["--watch", "--json"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watch:
            assert watch.stdout is not None
            assert watch.stderr is not None
            # The first line is the start, the second the first look at it.
            first, _ = json.loads(watch.stdout.readline()), watch.stdout.readline()
            watch.send_signal(signal.SIGINT)
            watch.wait(_SECONDS)
            said = watch.stderr.read()
        (replay,) = told(spoolctl("replays", "list", "--json", daemon=daemon))
        cancelled = spoolctl("replays", "cancel", str(first["id"]), daemon=daemon)
        spoolctl("lanes", "resume", "mixpanel", daemon=daemon)
        track(stub, count=50)
        provider.wait_until(lambda: provider.event_count == 100)

    assert watch.returncode == 0
    assert f"replay {first['id']} goes on" in said
    assert (replay["id"], replay["state"]) == (first["id"], "running")
    assert cancelled.returncode == 0, cancelled.stderr
    assert provider.duplicate_count == 0


def test_a_paused_lane_sends_nothing_over_a_restart_until_it_is_resumed(
    tmp_path: Path, provider: ProviderServer, second: ProviderServer, spoolctl: Run, status: Status
) -> None:
    arguments = configured(tmp_path, first=provider, second=second)
    with DaemonProcess(tmp_path, *arguments, TEST_MODE="") as daemon, front_door(daemon.address) as stub:
        assert spoolctl("lanes", "pause", "first", daemon=daemon).returncode == 0
        track(stub, count=60)
        second.wait_until(lambda: second.event_count == 60)
        daemon.stop()
    with DaemonProcess(tmp_path, *arguments, TEST_MODE="") as daemon, front_door(daemon.address) as stub:
        track(stub, count=50)
        second.wait_until(lambda: second.event_count == 110)
        paused = lane_of(status(daemon), "first")
        assert provider.request_count == 0
        assert spoolctl("lanes", "resume", "first", daemon=daemon).returncode == 0
        provider.wait_until(lambda: provider.event_count == 110)

    assert (paused["state"], paused["pending"]) == ("paused", 110)
    assert provider.events_by_insert_id.keys() == second.events_by_insert_id.keys()


def test_a_flush_waits_for_no_interval(
    tmp_path: Path, provider: ProviderServer, settings: Settings, spoolctl: Run
) -> None:
    with DaemonProcess(tmp_path, **settings | {"FLUSH_INTERVAL_SECONDS": "300"}) as daemon:
        with front_door(daemon.address) as stub:
            track(stub)
        assert provider.request_count == 0
        run = spoolctl("lanes", "flush", daemon=daemon)
        provider.wait_until(lambda: provider.event_count == 1)

    assert run.returncode == 0, run.stderr


def test_a_stopped_lane_that_is_resumed_tries_at_once(
    tmp_path: Path, provider: ProviderServer, settings: Settings, spoolctl: Run
) -> None:
    provider.always(Reply(401, {"error": "no such project"}))
    with DaemonProcess(tmp_path, **settings) as daemon, front_door(daemon.address) as stub:
        track(stub, count=50)
        daemon.wait_for_log("lane down")
        provider.recover()
        run = spoolctl("lanes", "resume", "mixpanel", daemon=daemon)
        # By itself it would probe after five minutes.
        provider.wait_until(lambda: provider.event_count == 50)

    assert run.returncode == 0, run.stderr


def test_refusals_alike_stop_a_lane_until_an_operator_accepts_them(
    tmp_path: Path, provider: ProviderServer, settings: Settings, spoolctl: Run, status: Status
) -> None:
    # Without saying which: each is found to be refused by itself.
    provider.always(Reply(400, {"code": 400, "error": "not on the list"}))
    with DaemonProcess(tmp_path, **settings) as daemon, front_door(daemon.address) as stub:
        track(stub, count=30)
        daemon.wait_for_log("lane down")
        stopped = lane_of(status(daemon))
        run = spoolctl("lanes", "resume", "mixpanel", "--accept-dead", daemon=daemon)
        daemon.wait_until(
            lambda _: sum(log.get("event") == "dead letter" for log in daemon.logs) == 30, "30 dead letters"
        )
        accepted = lane_of(status(daemon))

    assert (stopped["state"], stopped["pending"], stopped["dead"]) == ("stopped", 30, 0)
    assert run.returncode == 0, run.stderr
    assert (accepted["pending"], accepted["dead"]) == (0, 30)
