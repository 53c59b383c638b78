"""``spoolctl doctor`` on real daemons in trouble, and its fixes done as they are told."""

import json
import os
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from spoolctl.client import DEFAULT_TARGET
from spoolctl.doctor.configuration import read_configuration
from spoolctl.doctor.database import check_database
from spoolctl.doctor.examination import Asked, examine, find_subject
from spoolctl.doctor.findings import Finding, Level

from tests.support.daemon_process import DaemonProcess
from tests.support.doctor import follow, make_subject, told
from tests.support.front_door import front_door, track
from tests.support.nobody import holds_for_nobody
from tests.support.provider_server import ProviderServer, Reply
from tests.support.provider_taken import Refusal
from tests.support.services import Services, lanes, services, start, table

_BIN = Path(sys.executable).parent
_KEY = "a-key-that-nobody-may-see"
#: A daemon that has everything from its file.
_FROM_FILE = {"TEST_MODE": "", "HOST": "", "GRPC_PORT": "", "SPOOL_URL": "", "ADMIN_SOCKET": ""}

Examined = dict[str, list[Finding]]
Shell = Callable[..., Examined]


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> Shell:
    """The doctor's findings by check, in a shell that has these variables."""

    def examined(
        *, file: Path | None = None, socket: Path | None = None, environ: dict[str, str] | None = None
    ) -> Examined:
        for name, value in (environ or {}).items():
            monkeypatch.setenv(name, value)
        subject, reading = find_subject(Asked(file, socket, None), DEFAULT_TARGET)
        found: Examined = {}
        for finding in examine(subject, reading):
            assert bool(finding.fix) or not finding.is_bad
            found.setdefault(finding.check, []).append(finding)
        return found

    return examined


def run_spoolctl(
    *arguments: str, prefix: tuple[str, ...] = (), environ: dict[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """As from a shell that has these variables and no others."""
    return subprocess.run(
        [*prefix, _BIN / "spoolctl", *arguments],
        env={"PATH": os.environ["PATH"], **(environ or {})}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def trouble(found: Examined) -> list[str]:
    """What is bad, apart from how fast this machine's disk is today: that is not for a test to say."""
    return [name for name, findings in found.items() if name != "disk" and any(one.is_bad for one in findings)]


def keyless(home: Path) -> Path:
    """The configuration of somebody who just begins."""
    tables = [
        table("spool", url=f"sqlite://{home}/spool"),
        table("ingest", host="127.0.0.1", port=0),
        table("admin", socket=f"{home}/admin.sock"),
        table("metrics", address=""),
        table("providers.mixpanel", endpoint="http://127.0.0.1:9"),
    ]
    path = home / "spoold.toml"
    path.write_text("".join(tables))
    path.chmod(0o600)
    return path


def test_from_nothing_to_a_running_daemon_by_what_the_doctor_says(tmp_path: Path, shell: Shell) -> None:
    file = keyless(tmp_path)
    begun = run_spoolctl("doctor", "--config", str(file))
    assert begun.returncode == 1
    assert "problem  configuration   providers.mixpanel.api_key: is missing" in begun.stdout
    assert begun.stdout.splitlines()[-1] == (
        f"next: providers.mixpanel.api_key_file in {file}, then: spoold --config {file} --check-config, "
        f"then: spoold --config {file}, then look again: spoolctl doctor --config {file}"
    )

    key_file = tmp_path / "mixpanel.key"
    key_file.write_text(_KEY)
    key_file.chmod(0o644)
    file.write_text(f'{file.read_text()}api_key_file = "{key_file}"\n')
    exposed = next(one for one in shell(file=file)["configuration"] if one.is_bad)
    follow(exposed.fix)

    with DaemonProcess(tmp_path, "--config", str(file), **_FROM_FILE) as daemon:
        running = run_spoolctl("doctor", "--config", str(file), "--json")
        assert daemon.stop() == 0

    found = [Finding(**one) for one in json.loads(running.stdout)]
    assert [one.check for one in found if one.is_bad and one.check != "disk"] == []
    assert running.returncode == (1 if any(one.is_bad for one in found) else 0)
    assert any(one.check == "daemon" and f"serving, pid {daemon.pid}" in one.found for one in found)
    assert _KEY not in begun.stdout + running.stdout + running.stderr


@pytest.fixture
def servers() -> Iterator[Services]:
    with services(("mixpanel", "amplitude", "segment")) as there:
        yield there


def test_lanes_in_trouble_are_named_and_freed_by_the_fixes(tmp_path: Path, servers: Services, shell: Shell) -> None:
    servers["mixpanel"].always(Reply(401, {"error": "no such project"}))
    servers["amplitude"].always(Reply(503))
    with start(tmp_path, lanes(servers), MAX_RETRY_ATTEMPTS="1") as daemon:
        asked = {"file": tmp_path / "spoold.toml", "socket": daemon.admin_socket}
        follow(f"spoolctl --socket {daemon.admin_socket} lanes pause segment")
        with front_door(daemon.address) as stub:
            ids = track(stub, count=50)
        for lane in ("mixpanel", "amplitude"):
            daemon.wait_for_lane(lane, "lane down")
        found = shell(**asked)
        for server in servers.values():
            server.recover()
        fixes = {name: found[f"lane {name}"][0].fix for name in servers}
        follow(fixes["segment"])
        follow(fixes["mixpanel"].rpartition(", ")[2])
        follow(fixes["amplitude"].partition(" when ")[0])
        for server in servers.values():
            server.wait_until(lambda server=server: server.event_count == 50)  # type: ignore[misc]
        well = shell(**asked)
        assert daemon.stop() == 0

    levels = {name: (found[f"lane {name}"][0].level, found[f"lane {name}"][0].found.split(",")[0]) for name in servers}
    assert levels == {
        "mixpanel": (Level.PROBLEM, "stopped"),
        "amplitude": (Level.WARNING, "down"),
        "segment": (Level.WARNING, "paused"),
    }
    assert "no such project" in found["lane mixpanel"][0].found
    assert all(server.events_by_insert_id.keys() == set(ids) for server in servers.values())
    assert trouble(well) == []


def test_dead_letters_and_what_a_lane_left_behind_are_named(
    tmp_path: Path, provider: ProviderServer, settings: dict[str, str], shell: Shell
) -> None:
    provider.refuse = lambda _record: Refusal("event", "not on the list")
    with DaemonProcess(tmp_path, BATCH_SIZE="1", **settings) as daemon:
        with front_door(daemon.address) as stub:
            track(stub)
            daemon.wait_for_log("dead letter")
            letters = next(one for one in shell(socket=daemon.admin_socket)["lane mixpanel"] if one.is_bad)
            provider.refuse = None
            for command in letters.fix.split(", then: "):
                follow(command)
            provider.wait_until(lambda: provider.event_count == 1)
            provider.always(Reply(503))
            track(stub)
        assert daemon.stop() == 0
    others = {**settings, "ANALYTICS_PROVIDER": "amplitude", "AMPLITUDE_API_KEY": "k"}
    with DaemonProcess(tmp_path, **others) as daemon:
        (left,) = shell(socket=daemon.admin_socket)["lane mixpanel"]
        assert daemon.stop() == 0

    assert (letters.level, "1 dead letter" in letters.found) == (Level.WARNING, True)
    assert (left.level, "[providers.mixpanel]" in left.fix) == (Level.WARNING, True)


def test_events_that_nobody_sends_are_told_and_the_spool_is_left_alone(tmp_path: Path, shell: Shell) -> None:
    with DaemonProcess(tmp_path) as daemon:
        with front_door(daemon.address) as stub:
            track(stub, count=3)
        daemon.kill()
        files = list((daemon.spool_dir / "test").iterdir())
        before = [(file.stat().st_mtime_ns, file.read_bytes()) for file in files]
        environ = {"TEST_MODE": "true", "SPOOL_URL": f"sqlite://{daemon.spool_dir}"}
        found = shell(socket=daemon.admin_socket, environ=environ)

    assert list((daemon.spool_dir / "test").iterdir()) == files
    assert [(file.stat().st_mtime_ns, file.read_bytes()) for file in files] == before
    (silent,) = found["daemon"]
    assert (silent.level, "3 events wait" in silent.found, silent.fix) == (Level.WARNING, True, "spoold")
    assert found["lock"] == [Finding("lock", Level.OK, "nobody owns the spool")]


def test_what_is_in_the_file_and_not_in_force_is_told_until_it_is_reloaded(
    tmp_path: Path, servers: Services, shell: Shell
) -> None:
    with start(tmp_path, lanes(servers)) as daemon:
        file = tmp_path / "spoold.toml"
        asked = {"file": file, "socket": daemon.admin_socket}
        fine = file.read_text()
        file.write_text(fine.replace('interval = "1s"', 'interval = "2s"'))
        changed = next(one for one in shell(**asked)["configuration"] if one.level is Level.NOTE)
        follow(changed.fix)
        daemon.wait_for_log("configuration reloaded")
        quiet = shell(**asked)["configuration"]
        file.write_text(fine.replace('interval = "1s"', 'interval = "2 weeks"'))
        broken = shell(**asked)["configuration"]
        assert daemon.stop() == 0

    assert (changed.fix, "batch.interval" in changed.found) == (f"kill -HUP {daemon.pid}", True)
    assert [one.level for one in quiet] == [Level.OK]
    # The daemon has its address from a variable that this shell has not, so the file alone decides nothing.
    assert [(one.level, '"2 weeks"' in one.found) for one in broken] == [(Level.NOTE, True)]


def test_an_unusable_file_is_told_in_the_daemons_own_words(tmp_path: Path, shell: Shell) -> None:
    file = keyless(tmp_path)
    file.write_text(f'[batch]\nsize = 0\nnope = 1\n[providers.mixpanel]\napi_key = "{_KEY}"\n')
    said = subprocess.run(
        [_BIN / "spoold", "--check-config", "--config", file], env={}, capture_output=True, text=True, check=False
    ).stderr.splitlines()[1:]

    found = [one for one in shell(file=file)["configuration"] if one.level is Level.PROBLEM]

    assert [one.found for one in found] == said
    assert sorted(one.fix.partition(" ")[0] for one in found) == ["batch.nope", "batch.size"]


def test_a_spool_that_another_program_rewrote_is_brought_over_by_the_fix(tmp_path: Path, shell: Shell) -> None:
    file = keyless(tmp_path)
    file.write_text(f'{file.read_text()}api_key = "{_KEY}"\n')
    with DaemonProcess(tmp_path, "--config", str(file), **_FROM_FILE) as daemon:
        with front_door(daemon.address) as stub:
            track(stub, count=3)
        assert daemon.stop() == 0
    connection = sqlite3.connect(tmp_path / "spool" / "spool.db", isolation_level=None)
    for statement in ("PRAGMA journal_mode=DELETE", "PRAGMA auto_vacuum=NONE", "VACUUM"):
        connection.execute(statement)
    connection.close()
    rewritten = next(one for one in shell(file=file)["database"] if one.is_bad)

    file.write_text(file.read_text().replace(f"{tmp_path}/spool", f"{tmp_path}/fresh"))
    with DaemonProcess(tmp_path, "--config", str(file), **_FROM_FILE) as daemon:
        salvage = shlex.split(rewritten.fix.partition("then: ")[2])
        run = run_spoolctl("--socket", str(daemon.admin_socket), *salvage[salvage.index("salvage") :])
        assert daemon.stop() == 0

    assert (run.returncode, "3 events brought over" in run.stdout) == (0, True), run.stderr


def test_a_newer_spool_does_not_keep_the_configuration_from_being_checked(tmp_path: Path, shell: Shell) -> None:
    with DaemonProcess(tmp_path) as daemon:
        assert daemon.stop() == 0
    with sqlite3.connect(daemon.spool_dir / "test" / "spool.db") as connection:
        connection.execute("UPDATE schema SET version = 99, min_reader = 99")
    connection.close()
    environ = {"TEST_MODE": "true", "SPOOL_URL": f"sqlite://{daemon.spool_dir}"}
    run = subprocess.run([_BIN / "spoold", "--check-config"], env=environ, capture_output=True, text=True, check=False)
    found = shell(environ=environ)

    assert (run.returncode, "has format 99" in run.stderr) == (1, True)
    assert "batch.size = 50  # default" in run.stdout
    assert found["configuration"][0].level is Level.OK
    assert "install the newer version" in found["database"][0].fix


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace to slow the disk down")
def test_a_slow_disk_is_found(tmp_path: Path) -> None:
    delayed = ("strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync")
    delay = ("-e", "inject=fdatasync:delay_enter=50000")
    environ = {"TEST_MODE": "true", "SPOOL_URL": f"sqlite://{tmp_path}/spool"}
    run = run_spoolctl("doctor", "--json", prefix=(*delayed, *delay), environ=environ)
    disk = next(Finding(**one) for one in json.loads(run.stdout) if one["check"] == "disk")

    assert run.returncode == 1
    assert (disk.level, "slow" in disk.found, "TrackBatch" in disk.fix) == (Level.WARNING, True, True)
    middle = re.search(r"p50 (\d+) ms", disk.found)
    assert middle is not None
    assert int(middle[1]) >= 50
    assert not list(tmp_path.iterdir())


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that everybody can enter, which is not so of pytest's own."""
    with tempfile.TemporaryDirectory(prefix="spoold-test-") as path:
        Path(path).chmod(0o711)
        yield Path(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_who_may_not_look_is_told_who_may(home: Path) -> None:
    file = keyless(home)
    with DaemonProcess(home) as daemon:
        assert daemon.stop() == 0
    spool = daemon.spool_dir / "test"
    for folder in (daemon.spool_dir, spool):
        folder.chmod(0o711)

    def look() -> bool:
        reading = read_configuration(_BIN / "spoold", file)
        (database,) = told(check_database(make_subject(spool)))
        return reading.warnings == [f"this user may not read {file}"] and database == (
            "warning",
            "sudo spoolctl doctor",
        )

    assert holds_for_nobody(look)


def test_options_of_the_drill_need_it() -> None:
    run = run_spoolctl("doctor", "--kills", "3")

    assert (run.returncode, "need --drill" in run.stderr) == (2, True)
