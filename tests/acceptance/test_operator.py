"""spoolctl and the daemon's own options, as an operator types them."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spoold.spool.offline import open_offline
from tests.support.daemon_process import DaemonProcess
from tests.support.front_door import front_door, track
from tests.support.mixpanel_rules import Refusal
from tests.support.nobody import holds_for_nobody
from tests.support.provider_server import ProviderServer, Reply

Settings = dict[str, str]
Run = Callable[..., "subprocess.CompletedProcess[str]"]
Status = Callable[[DaemonProcess], dict[str, Any]]

_BIN = Path(sys.executable).parent


def spoold(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [_BIN / "spoold", *arguments],
        env=inherited | environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_the_status_has_the_fields_that_scripts_rely_on(
    tmp_path: Path, provider: ProviderServer, settings: Settings, status: Status
) -> None:
    with DaemonProcess(tmp_path, **settings | {"FLUSH_INTERVAL_SECONDS": "300"}) as daemon:
        with front_door(daemon.address) as stub:
            track(stub, count=70)
        provider.wait_until(lambda: provider.event_count == 50)
        daemon.wait_for_log("batch flushed successfully")
        found = status(daemon)

    assert found["daemon"].items() >= {"state": "serving", "pid": daemon.pid, "address": daemon.address}.items()
    spool = {key: found["spool"][key] for key in ("accepted", "pending", "retained", "max_bytes")}
    assert spool == {"accepted": 70, "pending": 20, "retained": 50, "max_bytes": 10 * 2**30}
    assert found["spool"]["oldest_pending_seconds"] >= 0
    lane = found["lanes"][0]
    assert (lane["name"], lane["kind"], lane["state"]) == ("mixpanel", "mixpanel", "idle")
    terms = [lane[key] for key in ("accepted", "pending", "delivered", "dead", "filtered", "purged", "failures")]
    assert terms == [70, 20, 50, 0, 0, 0, 0]
    assert lane["next_attempt_seconds"] is None
    assert lane["last_error"] is None


def test_the_status_of_a_killed_daemon_is_read_from_its_spool_and_changes_nothing(
    tmp_path: Path, settings: Settings, spoolctl: Run
) -> None:
    out = settings | {"MIXPANEL_ENDPOINT": "http://127.0.0.1:1"}
    with DaemonProcess(tmp_path, **out) as daemon, front_door(daemon.address) as stub:
        track(stub, count=7)
        daemon.kill()
    before = _digests(daemon.spool_dir)

    run = spoolctl("--spool", str(daemon.spool_dir), "status", "--json", daemon=daemon)

    found = json.loads(run.stdout)
    assert (found["daemon"]["state"], found["daemon"]["pid"]) == ("offline", None)
    assert (found["spool"]["accepted"], found["lanes"][0]["pending"]) == (7, 7)
    assert "not running" in run.stderr
    assert _digests(daemon.spool_dir) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_somebody_who_may_only_read_sees_the_status_too(tmp_path: Path, settings: Settings) -> None:
    with DaemonProcess(tmp_path, **settings) as daemon, front_door(daemon.address) as stub:
        track(stub, count=3)
        daemon.kill()
    # A folder that anybody may reach: pytest's own are closed.
    public = Path("/tmp") / f"spoold-public-{daemon.pid}"
    shutil.copytree(daemon.spool_dir, public)
    (public / "spool.db-shm").unlink()
    for path in (public, *public.iterdir()):
        path.chmod(0o755 if path.is_dir() else 0o644)
    try:
        holds = holds_for_nobody(lambda: _accepted(public) == 3)
        left = {path.name for path in public.iterdir()}
    finally:
        shutil.rmtree(public)

    assert holds
    assert "spool.db-shm" not in left


def test_send_waits_until_every_lane_has_delivered(
    tmp_path: Path, provider: ProviderServer, settings: Settings, spoolctl: Run
) -> None:
    with DaemonProcess(tmp_path, **settings) as daemon:
        run = spoolctl("send", "Order Paid", "--user", "u-81", "--prop", "amount=12.5", "--wait", daemon=daemon)

    assert run.returncode == 0, run.stderr
    properties = provider.events_by_insert_id[run.stdout.strip()]["properties"]
    assert (properties["distinct_id"], properties["amount"]) == ("u-81", 12.5)


def test_send_tells_that_an_event_was_set_aside(
    tmp_path: Path, provider: ProviderServer, settings: Settings, spoolctl: Run
) -> None:

    provider.refuse = lambda _record: Refusal("event", "not on the list")
    with DaemonProcess(tmp_path, **settings) as daemon:
        run = spoolctl("send", "Bad", "--wait", daemon=daemon)

    assert run.returncode == 1
    assert "not on the list" in run.stderr


def test_identify_sets_and_removes(tmp_path: Path, provider: ProviderServer, settings: Settings, spoolctl: Run) -> None:
    with DaemonProcess(tmp_path, **settings) as daemon:
        run = spoolctl("identify", "u-81", "--prop", "plan=pro", "--prop", "old=null", "--wait", daemon=daemon)

    assert run.returncode == 0, run.stderr
    assert provider.profiles["u-81"] == {"plan": "pro"}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["send", "x", "--prop", "nonsense"], 2, "nonsense"),
        (["send", "x", "--timeout", "soon"], 2, "--timeout"),
        (["sned"], 2, "sned"),
        (["send", "   "], 5, "event_name"),
        (["send", "x", "--address", "127.0.0.1:1"], 3, "127.0.0.1:1"),
        (["--socket", "/nowhere", "--spool", "/nowhere", "status"], 3, "/nowhere"),
        (["--socket", "/nowhere", "config"], 3, "/nowhere"),
    ],
)
def test_a_command_that_fails_says_why_and_ends_with_its_code(
    tmp_path: Path, spoolctl: Run, arguments: list[str], code: int, said: str
) -> None:
    with DaemonProcess(tmp_path) as daemon:
        run = spoolctl(*arguments, daemon=daemon)

    assert run.returncode == code, run.stderr
    assert said in run.stderr
    assert "Traceback" not in run.stderr


def test_watching_ends_with_ctrl_c(tmp_path: Path, settings: Settings) -> None:
    with DaemonProcess(tmp_path, **settings) as daemon:
        command = [str(_BIN / "spoolctl"), "--socket", str(daemon.admin_socket), "status", "--watch"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watch:
            assert watch.stdout is not None
            assert "serving" in watch.stdout.readline()
            watch.send_signal(signal.SIGINT)
            watch.wait(timeout=20)

    assert watch.returncode == 0


def test_no_secret_is_told_anywhere(
    tmp_path: Path, provider: ProviderServer, settings: Settings, spoolctl: Run
) -> None:
    """I10: the provider even echoes the key."""

    secret = "the-key-that-nobody-may-see"
    provider.always(Reply(401, {"code": 401, "error": f"bad token {secret}", "status": "Unauthorized"}))
    loud = settings | {"MIXPANEL_API_KEY": secret, "LOG_LEVEL": "debug"}
    with DaemonProcess(tmp_path, **loud) as daemon:
        with front_door(daemon.address) as stub:
            track(stub, count=50)
        daemon.wait_for_log("lane down")
        told = [spoolctl(*command, daemon=daemon) for command in (["status"], ["status", "--json"], ["config"])]
        daemon.stop()

    assert secret not in json.dumps(daemon.logs)
    assert all(secret not in run.stdout + run.stderr for run in told)
    assert "bad token" in told[1].stdout
    assert secret not in spoold("--check-config", **loud).stdout


def test_a_second_daemon_on_the_same_spool_is_refused_with_the_firsts_pid(tmp_path: Path, settings: Settings) -> None:
    with DaemonProcess(tmp_path, **settings) as first:
        second = DaemonProcess(tmp_path, **settings)
        said = second.wait_for_log("spoold ended")
        code = second.end()
        assert first.admin_socket.exists()

    assert code == 1
    assert f"process {first.pid} owns the spool" in said["error"]


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"GRPC_PORT": "{port}"}, "{port}"),
        ({"METRICS_ADDRESS": "127.0.0.1:{port}"}, "METRICS_ADDRESS"),
        ({"ADMIN_SOCKET": "/proc/nowhere/admin.sock"}, "ADMIN_SOCKET"),
        ({"SPOOL_URL": "sqlite:///proc/nowhere"}, "SPOOL_URL"),
    ],
)
def test_what_cant_be_had_at_the_start_is_told_in_a_sentence(
    tmp_path: Path, provider: ProviderServer, settings: Settings, environment: Settings, said: str
) -> None:
    wanted = {name: value.format(port=provider.port) for name, value in environment.items()}
    daemon = DaemonProcess(tmp_path, **settings | wanted)
    error = daemon.wait_for_log("spoold ended")["error"]

    assert daemon.end() == 1
    assert said.format(port=provider.port) in error
    assert "Traceback" not in json.dumps(daemon.logs)


def test_mistakes_in_the_configuration_are_told_at_once_and_end_with_2() -> None:
    run = spoold(BATCH_SIZE="many", GRPC_PORT="99999", SPOOL_URL="sqlite:///tmp/spool")

    assert run.returncode == 2
    assert all(name in run.stderr for name in ("BATCH_SIZE", "many", "GRPC_PORT", "MIXPANEL_API_KEY"))
    assert "Traceback" not in run.stderr


def test_the_configuration_can_be_checked_without_starting(tmp_path: Path) -> None:
    run = spoold("--check-config", TEST_MODE="true", SPOOL_URL=f"sqlite://{tmp_path}")

    assert run.returncode == 0
    assert "batch.size = 50  # default" in run.stdout


def _accepted(directory: Path) -> int:
    with open_offline(directory) as spool:
        assert spool.is_copy
        return spool.state.spool.accepted


def _digests(directory: Path) -> dict[str, str]:
    return {name: hashlib.sha256((directory / name).read_bytes()).hexdigest() for name in ("spool.db", "spool.db-wal")}
