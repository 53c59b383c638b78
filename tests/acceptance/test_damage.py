"""A damaged spool: events are taken again at once, and what it held is delivered."""

import json
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.support.daemon_process import DaemonProcess
from tests.support.front_door import front_door, track
from tests.support.provider_server import ProviderServer, Reply

Settings = dict[str, str]
Spoolctl = Callable[..., "subprocess.CompletedProcess[str]"]
Status = Callable[[DaemonProcess], dict[str, Any]]

EVENTS = 500


@pytest.fixture
def pending(tmp_path: Path, provider: ProviderServer, settings: Settings) -> list[str]:
    """A spool of 500 events that nobody has taken, its daemon stopped in order."""
    provider.always(Reply(503))
    with DaemonProcess(tmp_path, **settings) as daemon, front_door(daemon.address) as stub:
        ids = track(stub, count=EVENTS)
        assert daemon.stop() == 0
    provider.recover()
    return ids


def overwrite(file: Path, start: int, data: bytes) -> None:
    content = bytearray(file.read_bytes())
    content[start : start + len(data)] = data
    file.write_bytes(content)


def database(tmp_path: Path) -> Path:
    return tmp_path / "spool" / "spool.db"


def test_a_damaged_spool_is_moved_aside_and_what_it_held_is_delivered(
    tmp_path: Path, provider: ProviderServer, settings: Settings, pending: list[str], status: Status
) -> None:
    overwrite(database(tmp_path), 0, b"\xa5" * 4096)
    damaged = database(tmp_path).read_bytes()

    with DaemonProcess(tmp_path, **settings) as daemon:
        moved = daemon.wait_for_log("spool quarantined")
        with front_door(daemon.address) as stub:
            fresh = track(stub, count=10)
        told = daemon.wait_for_log("spool salvaged")
        provider.wait_until(lambda: provider.event_count == EVENTS + 10)
        spool = status(daemon)["spool"]
        assert daemon.stop() == 0

    assert provider.events_by_insert_id.keys() == {*pending, *fresh}
    assert not provider.changed
    assert (moved["bytes"], "not a database" in moved["reason"]) == (len(damaged), True)
    assert (Path(moved["path"]) / "spool.db").read_bytes() == damaged
    assert (told["recovered"], told["lost"]) == (EVENTS, 0)
    assert [(one["recovered"], one["lost"], one["state"]) for one in spool["salvages"]] == [(EVENTS, 0, "done")]
    assert spool["accepted"] == EVENTS + 10


def test_damage_met_while_running_ends_in_order_and_the_next_start_mends_it(
    tmp_path: Path, provider: ProviderServer, settings: Settings, pending: list[str]
) -> None:
    file = database(tmp_path)
    # SQLite opens it without noticing, and stumbles over a page in its midst.
    overwrite(file, file.read_bytes().index(UUID(pending[300]).bytes) // 4096 * 4096, b"\xff" * 8)

    daemon = DaemonProcess(tmp_path, **settings)
    found = daemon.wait_for_log("spool damaged")
    assert daemon.end() == 1
    assert "malformed" in str(found["error"])
    assert daemon.logs[-1]["event"] == "spoold ended"
    with DaemonProcess(tmp_path, **settings) as daemon:
        assert "malformed" in str(daemon.wait_for_log("spool quarantined")["reason"])
        daemon.wait_for_log("spool salvaged")
        provider.wait_until(lambda: provider.event_count == EVENTS)
        assert daemon.stop() == 0

    assert provider.events_by_insert_id.keys() == set(pending)
    assert not provider.changed


def test_a_kill_in_the_midst_of_a_salvage_doubles_and_loses_nothing(
    tmp_path: Path, provider: ProviderServer, settings: Settings, pending: list[str], status: Status
) -> None:
    overwrite(database(tmp_path), 0, b"\xa5" * 4096)
    for _ in range(4):
        with DaemonProcess(tmp_path, **settings) as daemon:
            daemon.kill()
    with DaemonProcess(tmp_path, **settings) as daemon:
        provider.wait_until(lambda: provider.event_count == EVENTS)
        daemon.wait_until(lambda _: status(daemon)["spool"]["salvages"][0]["state"] == "done", "the end of it")
        spool = status(daemon)["spool"]
        assert daemon.stop() == 0

    assert provider.events_by_insert_id.keys() == set(pending)
    assert (spool["accepted"], len(spool["salvages"])) == (EVENTS, 1)


def test_another_programs_database_is_refused_and_left_alone(tmp_path: Path, settings: Settings) -> None:
    database(tmp_path).parent.mkdir()
    with sqlite3.connect(database(tmp_path)) as connection:
        connection.execute("CREATE TABLE invoices (id)")
    connection.close()
    before = database(tmp_path).read_bytes()

    daemon = DaemonProcess(tmp_path, **settings)
    said = daemon.wait_for_log("spoold ended")
    assert daemon.end() == 1

    assert "another program's database" in str(said["error"])
    assert "move it elsewhere" in str(said["error"])
    assert database(tmp_path).read_bytes() == before


def test_spoolctl_salvages_a_copy_into_a_running_daemon(
    tmp_path: Path, provider: ProviderServer, settings: Settings, pending: list[str], spoolctl: Spoolctl
) -> None:
    aside = (tmp_path / "spool").rename(tmp_path / "aside")
    with DaemonProcess(tmp_path, **settings) as daemon:
        plan = json.loads(spoolctl("salvage", str(aside), "--json", daemon=daemon).stdout)
        assert (plan["readable"], plan["lost"]) == (EVENTS, 0)
        assert provider.event_count == 0

        run = spoolctl("salvage", str(aside), "--apply", "--json", daemon=daemon)

        assert run.returncode == 0, run.stderr
        assert json.loads(run.stdout.splitlines()[-1])["recovered"] == EVENTS
        provider.wait_until(lambda: provider.event_count == EVENTS)
        assert daemon.stop() == 0
    assert provider.events_by_insert_id.keys() == set(pending)


def test_spoolctl_salvages_into_a_spool_whose_daemon_is_down(
    tmp_path: Path, provider: ProviderServer, settings: Settings, pending: list[str], spoolctl: Spoolctl
) -> None:
    aside = (tmp_path / "spool").rename(tmp_path / "aside")
    overwrite(aside / "spool.db", 0, b"\xa5" * 4096)
    before = (aside / "spool.db").read_bytes()
    offline = ("--socket", str(tmp_path / "nobody.sock"), "--spool", str(tmp_path / "spool"))
    with DaemonProcess(tmp_path, **settings) as daemon:
        assert daemon.stop() == 0

    for recovered in (EVENTS, EVENTS):
        run = spoolctl(*offline, "salvage", str(aside), "--apply")
        assert run.returncode == 0, run.stderr
        assert f"{recovered} events brought over" in run.stdout
        assert "is not running" in run.stderr
    with DaemonProcess(tmp_path, **settings) as daemon:
        provider.wait_until(lambda: provider.event_count == EVENTS)
        assert daemon.stop() == 0

    assert provider.events_by_insert_id.keys() == set(pending)
    assert (aside / "spool.db").read_bytes() == before
    assert [path.name for path in aside.iterdir() if path.name.startswith("spool.db")] == ["spool.db"]


def test_spoolctl_salvage_says_what_can_not_be(tmp_path: Path, settings: Settings, spoolctl: Spoolctl) -> None:
    """Exit codes 4 and 5."""
    (tmp_path / "empty").mkdir()
    with DaemonProcess(tmp_path, **settings) as daemon:
        for more in ((), ("--apply",)):
            nothing = spoolctl("salvage", str(tmp_path / "empty"), *more, daemon=daemon)
            assert (nothing.returncode, "there is no spool in" in nothing.stderr) == (4, True)

            in_use = spoolctl("salvage", str(daemon.spool_dir), *more, daemon=daemon)
            assert (in_use.returncode, f"is in use by process {daemon.pid}" in in_use.stderr) == (5, True)

        copy = tmp_path / "copy"
        copy.mkdir()
        shutil.copy(daemon.spool_dir / "spool.db", copy)
        offline = ("--socket", str(tmp_path / "nobody.sock"), "--spool", str(daemon.spool_dir))
        owned = spoolctl(*offline, "salvage", str(copy), "--apply")
        assert (owned.returncode, f"process {daemon.pid} owns the spool" in owned.stderr) == (5, True)
        assert daemon.stop() == 0
