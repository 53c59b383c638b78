"""The doctor on the spool: its database, its lock, its lanes, what is damaged in it, and who answers for it."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from spoolctl.doctor.daemon import check_daemon
from spoolctl.doctor.damage import check_damage, check_ledger
from spoolctl.doctor.database import check_database
from spoolctl.doctor.directory import check_lock
from spoolctl.doctor.findings import Finding, Level
from spoolctl.doctor.lanes import check_lanes
from spoolctl.doctor.service import Words
from spoolctl.doctor.subject import Settings

from spoold.api.spoold.admin.v1 import admin_pb2
from spoold.spool.lock import DirectoryLock
from spoold.spool.quarantine import mark_damaged, quarantine
from tests.support.clock import START_MS
from tests.support.doctor import SETTINGS, make_status, make_subject, told
from tests.support.events import make_drafts
from tests.support.spools import open_spool


@pytest.fixture
def stopped(state_dir: Path) -> Path:
    """A spool with some events, its daemon stopped in order."""
    with open_spool(state_dir) as opened:
        opened.append(make_drafts(20))
    return state_dir


def execute(directory: Path, *statements: str) -> None:
    """As another program would, which knows nothing of spoold."""
    connection = sqlite3.connect(directory / "spool.db", isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


def database(directory: Path, **overrides: Any) -> Finding:
    """The worst that is said of the database."""
    findings = list(check_database(make_subject(directory, **overrides)))
    return next((finding for finding in findings if finding.is_bad), findings[0])


def test_a_database_as_the_daemon_makes_it_is_fine(stopped: Path) -> None:
    finding = database(stopped)

    assert finding.level is Level.OK
    assert all(word in finding.found for word in ("format 3", "journal_mode wal", "auto_vacuum incremental", "FULL"))


def test_a_database_that_is_not_there_yet_is_a_note(state_dir: Path) -> None:
    assert database(state_dir).level is Level.NOTE


def test_a_journal_mode_that_another_program_set_is_a_warning_until_the_next_start(stopped: Path) -> None:
    execute(stopped, "PRAGMA journal_mode=DELETE")
    finding = database(stopped)
    with open_spool(stopped):
        pass

    assert (finding.level, finding.fix) == (Level.WARNING, "spoold")
    assert database(stopped).level is Level.OK


def test_a_file_that_another_program_rewrote_can_be_brought_over(stopped: Path) -> None:
    execute(stopped, "PRAGMA journal_mode=DELETE", "PRAGMA auto_vacuum=NONE", "VACUUM")
    finding = database(stopped)

    assert finding.level is Level.PROBLEM
    assert finding.fix == f"spool.url: a new directory, start spoold, then: spoolctl salvage {stopped} --apply"


def test_durability_that_a_power_cut_breaks_is_a_warning(stopped: Path) -> None:
    finding = database(stopped, settings=Settings({**SETTINGS.values, "spool.durability": "os"}))

    assert (finding.level, finding.fix) == (Level.WARNING, 'spool.durability = "fsync"')


def test_a_newer_format_is_a_problem(stopped: Path) -> None:
    execute(stopped, "UPDATE schema SET version = 99, min_reader = 99")

    assert (database(stopped).level, "install the newer version" in database(stopped).fix) == (Level.PROBLEM, True)


def test_an_older_format_is_brought_up_to_date_by_the_next_start(stopped: Path) -> None:
    execute(stopped, "UPDATE schema SET version = 2")

    assert (database(stopped).level, database(stopped).fix) == (Level.NOTE, "spoold")


def test_a_file_that_is_no_database_is_a_problem(stopped: Path) -> None:
    (stopped / "spool.db").write_bytes(b"\xa5" * 8192)
    finding = database(stopped)

    assert (finding.level, f"spoolctl salvage {stopped}" in finding.fix) == (Level.PROBLEM, True)


def test_looking_changes_nothing(stopped: Path) -> None:
    before = {file.name: (file.stat().st_mtime_ns, file.read_bytes()) for file in stopped.iterdir()}
    for check in (check_database, check_damage, check_lock):
        list(check(make_subject(stopped)))

    assert {file.name: (file.stat().st_mtime_ns, file.read_bytes()) for file in stopped.iterdir()} == before


def test_a_lock_is_held_against_who_answers(state_dir: Path) -> None:
    free = told(check_lock(make_subject(state_dir)))
    with DirectoryLock(state_dir):
        owner = int((state_dir / "lock").read_text())
        (silent,) = check_lock(make_subject(state_dir))
        (ours,) = check_lock(make_subject(state_dir, running=make_status(pid=owner)))
        (other,) = check_lock(make_subject(state_dir, running=make_status(pid=1)))

    assert free == [("ok", "")]
    assert (silent.level, f"process {owner} owns" in silent.found) == (Level.PROBLEM, True)
    assert "--socket" in silent.fix
    assert (ours.level, other.level) == (Level.OK, Level.WARNING)
    assert ("--config" in other.fix, "process 1 that answers" in other.found) == (True, True)


def running(**spool: Any) -> admin_pb2.GetStatusReply:
    return make_status(pid=1, **spool)


def test_damage_is_told_from_the_mark_to_what_was_brought_over(stopped: Path) -> None:
    def levels(**overrides: Any) -> list[tuple[str, str]]:
        return told(check_damage(make_subject(stopped, **overrides)))

    whole = levels()
    mark_damaged(stopped, "database disk image is malformed")
    marked = levels()
    moved = quarantine(stopped, "database disk image is malformed", START_MS)
    assert moved is not None
    aside = levels()
    source = str(moved.folder.relative_to(stopped))
    done = admin_pb2.Salvage(source=source, reason="malformed", state="done", recovered=20)
    holed = admin_pb2.Salvage(source=source, reason="malformed", state="done", recovered=18, lost=2, holes="4-5")
    at_it = admin_pb2.Salvage(source=source, reason="malformed", state="running", recovered=5)

    assert whole == [("ok", "")]
    assert marked == [("problem", "spoold")]
    assert aside == [("warning", f"spoolctl salvage {moved.folder}")]
    assert [level for level, _ in levels(running=running(salvages=[done]))] == ["note"]
    assert [level for level, _ in levels(running=running(salvages=[holed]))] == ["warning"]
    assert levels(running=running(salvages=[at_it])) == [("note", "spoolctl status --watch")]
    assert [level for level, _ in levels(running=running(salvages=[done], damaged=3))] == ["note", "warning"]


def test_nobody_is_ever_told_to_delete_anything(stopped: Path) -> None:
    mark_damaged(stopped, "malformed")
    quarantine(stopped, "malformed", START_MS)
    salvage = admin_pb2.Salvage(source="x", reason="r", state="done", lost=1)
    lanes = [admin_pb2.LaneStatus(name="a", state=state, pending=1, dead=1) for state in ("stopped", "down", "closed")]
    subject = make_subject(stopped, running=make_status(*lanes, salvages=[salvage], damaged=1, refusing="max_bytes"))
    findings = [
        finding
        for check in (check_damage, check_database, check_lanes, check_lock, check_daemon)
        for finding in check(subject)
    ]

    words = json.dumps(findings).lower()
    assert not [word for word in ("delete", "remove", "rm ", "unlink", "purge") if word in words]


def test_an_imbalance_is_a_problem(stopped: Path) -> None:
    one = admin_pb2.Imbalance(lane="a", term="delivered", counter=5, counted=4, place="ledger")
    (broken,) = check_ledger(make_subject(stopped, running=running(imbalances=[one])))
    (fine,) = check_ledger(make_subject(stopped, running=running()))
    (resting,) = check_ledger(make_subject(stopped, resting=make_status()))

    assert (broken.level, broken.fix, "a" in broken.found) == (Level.PROBLEM, "spoolctl audit", True)
    assert (fine.level, resting.level) == (Level.OK, Level.NOTE)


def lane(state: str, **fields: Any) -> admin_pb2.LaneStatus:
    return admin_pb2.LaneStatus(name="crm", kind="webhook", state=state, **fields)


@pytest.mark.parametrize(
    ("found", "level", "fix"),
    [
        (lane("idle"), Level.OK, ""),
        (lane("sending", pending=9, oldest_pending_seconds=2.0), Level.OK, ""),
        (lane("sending", pending=9, oldest_pending_seconds=700.0), Level.WARNING, "spoolctl lanes flush crm"),
        (lane("backoff", pending=9, last_error="503", next_attempt_seconds=3.0), Level.NOTE, ""),
        (lane("down", pending=9, last_error="503 busy"), Level.WARNING, "spoolctl lanes flush crm"),
        (lane("stopped", pending=9, last_error="401"), Level.PROBLEM, "spoolctl lanes resume crm"),
        (lane("paused", pending=9), Level.WARNING, "spoolctl lanes resume crm"),
        (lane("paused"), Level.NOTE, "spoolctl lanes resume crm"),
        (lane("closed", pending=9), Level.WARNING, "[providers.crm]"),
        (lane("closed"), Level.NOTE, ""),
    ],
)
def test_a_lane_is_judged_by_its_state(tmp_path: Path, found: admin_pb2.LaneStatus, level: Level, fix: str) -> None:
    (finding,) = check_lanes(make_subject(tmp_path, running=make_status(found)))

    assert (finding.check, finding.level, fix in finding.fix, bool(finding.fix)) == ("lane crm", level, True, bool(fix))
    assert found.last_error in finding.found


def test_dead_letters_are_a_warning_beside_the_lanes_state(tmp_path: Path) -> None:
    findings = told(check_lanes(make_subject(tmp_path, running=make_status(lane("idle", dead=3)))))

    assert findings == [
        ("ok", ""),
        ("warning", "spoolctl dead list --lane crm, then: spoolctl replay --lane crm --dead"),
    ]


def test_a_lane_at_rest_is_judged_by_its_tables(tmp_path: Path) -> None:
    subject = make_subject(tmp_path, resting=make_status(lane("backoff", pending=9)))

    assert told(check_lanes(subject)) == [("note", "spoold")]


def test_a_daemon_that_does_not_answer_is_a_warning_where_events_wait(tmp_path: Path) -> None:
    def of(**overrides: Any) -> list[tuple[str, str]]:
        return told(check_daemon(make_subject(tmp_path, **overrides)))

    unit = Words(None, (), (), None, is_unit=True)

    assert of() == [("note", "spoold")]
    assert of(resting=make_status(pending=3)) == [("warning", "spoold")]
    assert of(resting=make_status(pending=3), words=unit) == [("warning", "systemctl start spoold")]
    assert of(silence="this user may not open it") == [("warning", "sudo spoolctl doctor")]


@pytest.mark.parametrize(("state", "level"), [("serving", "ok"), ("full", "problem"), ("draining", "note")])
def test_a_daemon_is_judged_by_its_state(tmp_path: Path, state: str, level: str) -> None:
    status = running()
    status.daemon.state = state

    assert [found for found, _ in told(check_daemon(make_subject(tmp_path, running=status)))] == [level]


def test_fixes_name_the_socket_and_the_configuration_that_were_said(tmp_path: Path) -> None:
    words = Words(tmp_path / "a b.toml", ("--socket", "/s"), ("--socket", "/s"), 71, is_unit=False)

    assert words.spoolctl("audit") == "spoolctl --socket /s audit"
    assert words.doctor("--drill") == f"spoolctl --socket /s doctor --config '{tmp_path}/a b.toml' --drill"
    assert words.start() == f"spoold --config '{tmp_path}/a b.toml'"
    assert (words.reload(), words.restart()) == ("kill -HUP 71", f"kill -TERM 71, then: {words.start()}")
