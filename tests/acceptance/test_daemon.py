"""How the daemon starts and what it says."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from spoold import __version__
from tests.support.daemon_process import DaemonProcess
from tests.support.front_door import front_door, track
from tests.support.mixpanel_rules import Refusal
from tests.support.provider_server import ProviderServer, Reply

Settings = dict[str, str]
Run = Callable[..., "subprocess.CompletedProcess[str]"]

_SPOOLD = Path(sys.executable).with_name("spoold")


def test_port_0_takes_a_free_port_and_the_log_tells_which(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path) as daemon, DaemonProcess(tmp_path / "other") as other:
        said = daemon.wait_for_log("listening")
        for running in (daemon, other):
            with front_door(running.address) as stub:
                track(stub)

    assert said["address"].startswith("127.0.0.1:")
    assert said["version"] == __version__
    assert daemon.address != other.address


def test_the_variables_of_the_service_that_it_replaces_work_as_they_are(
    tmp_path: Path, provider: ProviderServer, settings: Settings, spoolctl: Run
) -> None:
    old = {
        "ANALYTICS_PROVIDER": "mixpanel", "BATCH_SIZE": "7", "MAX_RETRY_ATTEMPTS": "3", "LOG_LEVEL": "DEBUG",
    }  # fmt: skip
    with DaemonProcess(tmp_path, **settings | old) as daemon, front_door(daemon.address) as stub:
        track(stub, count=7)
        provider.wait_until(lambda: provider.event_count == 7)
        lines = spoolctl("config", "--json", daemon=daemon).stdout.splitlines()
        queued = daemon.wait_for_log("event queued")

    values = {line["key"]: line["value"] for line in map(json.loads, lines)}
    assert [len(request.records) for request in provider.requests] == [7]
    assert values.items() >= {
        "batch.size": 7, "batch.interval": "1s", "retry.max_attempts": 3, "retry.initial_delay": "20ms",
        "retry.max_delay": "50ms", "test_mode": False, "ingest.host": "127.0.0.1", "ingest.port": 0,
        "log.level": "debug", "providers.mixpanel.endpoint": provider.url,
    }.items()  # fmt: skip
    assert queued["queue_size"] >= 0


def test_an_operator_finds_the_messages_of_the_service_that_it_replaces(
    tmp_path: Path, provider: ProviderServer, settings: Settings
) -> None:
    provider.script(Reply(503), Reply(503))
    with DaemonProcess(tmp_path, MAX_RETRY_ATTEMPTS="2", **settings) as daemon:
        with front_door(daemon.address) as stub:
            track(stub, count=50)
        daemon.wait_for_log("batch flushed successfully")
        assert daemon.stop() == 0

    said = [log["event"] for log in daemon.logs]
    ordered = [
        "batch worker started", "listening", "flushing batch", "batch send failed, retrying", "lane down",
        "lane recovered", "batch flushed successfully", "Shutdown signal received", "final flush completed", "stopped",
    ]  # fmt: skip
    assert sorted(ordered, key=said.index) == ordered
    assert daemon.wait_for_log("flushing batch")["event_count"] == 50
    assert daemon.wait_for_log("batch send failed, retrying")["attempt"] == 1


def test_a_dead_letter_is_told_with_its_reason_status_and_attempts(
    tmp_path: Path, provider: ProviderServer, settings: Settings
) -> None:
    provider.refuse = lambda _record: Refusal("event", "not on the list")
    with DaemonProcess(tmp_path, BATCH_SIZE="1", **settings) as daemon, front_door(daemon.address) as stub:
        track(stub)
        letter = daemon.wait_for_log("dead letter")

    assert "not on the list" in letter["reason"]
    assert (letter["lane"], letter["status"], letter["attempts"]) == ("mixpanel", 400, 1)


def test_the_console_format_is_for_people(tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path, LOG_FORMAT="console")
    try:
        said = daemon.wait_until(lambda log: "listening" in log.get("text", ""), "listening")["text"]
    finally:
        daemon.stop()

    assert "address=127.0.0.1:" in said
    assert "\x1b" not in said


def test_a_nearly_right_variable_is_pointed_out(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path, BATCHSIZE="7") as daemon:
        assert "BATCH_SIZE" in daemon.wait_for_log("configuration")["warning"]


@pytest.mark.parametrize("name", ["lock", "spool.db"])
def test_a_file_of_the_spool_that_cant_be_opened_ends_the_start_with_a_sentence(tmp_path: Path, name: str) -> None:
    (tmp_path / "spool" / "test" / name).mkdir(parents=True)
    daemon = DaemonProcess(tmp_path)

    assert daemon.end() == 1
    assert daemon.wait_for_log("spoold ended")["error"]
    assert not [log for log in daemon.logs if log["event"] == "unstructured"]


def test_a_file_where_the_admin_socket_should_be_stays(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    daemon = DaemonProcess(tmp_path, ADMIN_SOCKET=str(tmp_path / "precious"))

    assert daemon.end() == 1
    assert "no socket" in daemon.wait_for_log("spoold ended")["error"]
    assert (tmp_path / "precious").read_text() == "mine"


def test_a_missing_key_ends_with_2_and_names_the_variable(tmp_path: Path) -> None:
    run = subprocess.run(
        [_SPOOLD], env={"SPOOL_URL": f"sqlite://{tmp_path}"}, capture_output=True, text=True, timeout=30, check=False
    )

    assert run.returncode == 2
    assert "MIXPANEL_API_KEY" in run.stderr
    assert "Traceback" not in run.stderr
    assert not list(tmp_path.iterdir())


def test_the_version_is_told() -> None:
    run = subprocess.run([_SPOOLD, "--version"], capture_output=True, text=True, timeout=30, check=True)

    assert run.stdout == f"spoold {__version__}\n"


def test_checking_the_configuration_counts_what_waits_and_changes_nothing(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path) as daemon:
        with front_door(daemon.address) as stub:
            track(stub, count=3)
        daemon.kill()
    before = sorted((daemon.spool_dir / "test").iterdir())
    environment = {"TEST_MODE": "true", "SPOOL_URL": f"sqlite://{daemon.spool_dir}"}
    run = subprocess.run(
        [_SPOOLD, "--check-config"], env=environment, capture_output=True, text=True, timeout=30, check=False
    )

    assert run.returncode == 0
    assert "3 pending events" in run.stdout
    assert sorted((daemon.spool_dir / "test").iterdir()) == before
