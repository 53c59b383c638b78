"""An audit asked of the daemon, and of a spool whose daemon is down: they say the same."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from spoolctl.client import Admin, Target

from spoold.api.spoold.admin.v1 import admin_pb2
from spoold.door_hours import DoorHour
from spoold.errors import SpoolUnreadableError
from spoold.spool.balance import Audit, Imbalance
from spoold.spool.offline import open_offline
from tests.integration.admin.conftest import Desk
from tests.support.clock import START_MS, FakeClock
from tests.support.events import make_draft, make_drafts
from tests.support.spools import open_spool
from tests.unit.spool.replaying import fill

_SPOOLCTL = str(Path(sys.executable).with_name("spoolctl"))
WELL = {
    "name": "l", "accepted": 7, "delivered": 1, "dead": 1, "filtered": 1, "purged": 1, "pending": 3, "balance": 0,
}  # fmt: skip


def ask(socket: Path, spool: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [_SPOOLCTL, "--socket", str(socket), "--spool", str(spool), "audit", *arguments]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in run.stderr
    return run


def told(run: "subprocess.CompletedProcess[str]") -> Any:
    return json.loads(run.stdout)


@pytest.fixture
def at_rest(state_dir: Path, clock: FakeClock) -> Path:
    """A spool with a lane that knows every fate; nobody has it open."""
    with open_spool(state_dir, clock=clock) as opened:
        fill(opened, clock)
    return state_dir


def test_a_spool_whose_daemon_is_down_is_audited(at_rest: Path, tmp_path: Path) -> None:
    run = ask(tmp_path / "no.sock", at_rest, "--json")

    assert run.returncode == 0, run.stderr
    assert "spoold is not running" in run.stderr
    assert told(run) == {"ok": True, "lanes": [WELL]}
    assert ask(tmp_path / "no.sock", at_rest).stdout.split()[-8:] == ["l", "7", "1", "1", "1", "1", "3", "0"]


def test_what_does_not_balance_is_named_with_what_to_do(at_rest: Path, tmp_path: Path) -> None:
    connection = sqlite3.connect(at_rest / "spool.db")
    connection.execute("DELETE FROM set_aside WHERE kind = 'dead'")
    connection.commit()
    connection.close()

    run = ask(tmp_path / "no.sock", at_rest, "--json")

    assert run.returncode == 1
    assert told(run) == {"ok": False, "lanes": [WELL | {"dead": 0, "balance": 1}]}
    assert "error: lane l: dead is 1 by its counter, and 0 by what is in the set-aside" in run.stderr
    assert "try: copy the spool's directory" in run.stderr


def test_one_lane_can_be_asked_for(at_rest: Path, tmp_path: Path) -> None:
    with open_spool(at_rest) as opened:
        opened.spool.open_lane("other", "mixpanel", "latest")
    connection = sqlite3.connect(at_rest / "spool.db")
    connection.execute("UPDATE lane SET purged = 5 WHERE name = 'other'")
    connection.commit()
    connection.close()
    socket = tmp_path / "no.sock"

    assert told(ask(socket, at_rest, "--json", "--lane", "l")) == {"ok": True, "lanes": [WELL]}
    assert ask(socket, at_rest, "--lane", "other").returncode == 1
    unknown = ask(socket, at_rest, "--lane", "nope")
    assert (unknown.returncode, "'nope'" in unknown.stderr) == (4, True)
    assert ask(socket, at_rest, "--lane", "").returncode == 2


def test_the_daemon_and_its_spool_at_rest_say_the_same(desk: Desk, state_dir: Path) -> None:
    desk.opened.spool.append(make_drafts(2_500)).result(timeout=20)
    desk.opened.settle(desk.opened.spool.claim("mixpanel"), 1_700, dead=range(1, 1_201), delivered=500)
    progress = [done for done, _ in Admin(desk.path, desk.stub).audit()]
    online = ask(desk.path, state_dir, "--json")
    desk.opened.commit()

    offline = ask(desk.path.with_name("no.sock"), state_dir, "--json")

    assert (online.returncode, offline.returncode) == (0, 0), (online.stderr, offline.stderr)
    assert online.stdout == offline.stdout
    assert told(online)["lanes"][0]["dead"] == 1200
    assert progress == sorted(progress)
    assert (len(progress), progress[-1]) == (6, 1)


def test_the_status_says_what_the_last_audit_found(desk: Desk) -> None:
    with Target(desk.path, Path("/nowhere")).admin() as admin:
        assert not admin.status().spool.imbalances
        desk.audit = Audit((), (Imbalance("mixpanel", "dead", 3, 1, "ledger"),))

        (found,) = admin.status().spool.imbalances

    assert found == admin_pb2.Imbalance(lane="mixpanel", term="dead", counter=3, counted=1, place="ledger")


def test_a_spool_that_is_written_meanwhile_is_for_its_daemon_to_audit(desk: Desk, state_dir: Path) -> None:
    with open_offline(state_dir) as offline:
        audit = offline.audit()
        next(audit)
        desk.opened.spool.append(make_drafts(1)).result(timeout=20)

        with pytest.raises(SpoolUnreadableError, match="a daemon writes it"):
            list(audit)


def rows(run: "subprocess.CompletedProcess[str]") -> list[dict[str, Any]]:
    assert run.returncode == 0, run.stderr
    return [json.loads(line) for line in run.stdout.splitlines()]


def test_what_was_accepted_is_counted_by_hour_and_name(at_rest: Path, tmp_path: Path) -> None:
    socket, hour_ms = tmp_path / "no.sock", START_MS - START_MS % 3_600_000

    by_name = rows(ask(socket, at_rest, "--by", "name", "--json"))
    by_both = rows(ask(socket, at_rest, "--by", "name", "--by", "hour", "--json"))
    (by_hour,) = rows(ask(socket, at_rest, "--by", "hour", "--json"))

    assert by_name == [
        {"type": "track", "event_name": "Even", "accepted": 6},
        {"type": "track", "event_name": "Odd", "accepted": 7},
    ]
    assert by_both == [{"hour_ms": hour_ms, **row} for row in by_name]
    assert by_hour == {"hour_ms": hour_ms, "accepted": 13, "duplicates": None, "refused": None}
    assert ask(socket, at_rest, "--by", "name").stdout.split() == [
        "type", "event", "name", "accepted", "track", "Even", "6", "track", "Odd", "7",
    ]  # fmt: skip


def test_the_daemon_tells_what_came_twice_and_what_it_refused(desk: Desk, state_dir: Path) -> None:
    desk.opened.spool.append([make_draft("Paid")] * 450).result(timeout=20)
    hours = {one["hour_ms"] for one in rows(ask(desk.path, state_dir, "--by", "hour", "--json"))}
    desk.hours = (DoorHour(0, 0, 7), DoorHour(3_600_000, 0, 0), *(DoorHour(hour, 3, 2) for hour in sorted(hours)))

    told_rows = rows(ask(desk.path, state_dir, "--by", "hour", "--json"))

    assert told_rows[0] == {"hour_ms": 0, "accepted": 0, "duplicates": 0, "refused": 7}
    assert [(row["duplicates"], row["refused"]) for row in told_rows[1:]] == [(3, 2)] * len(hours)
    assert sum(row["accepted"] for row in told_rows) == 450
    assert all(row["accepted"] for row in rows(ask(desk.path, state_dir, "--by", "hour", "--since", "2h", "--json")))


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--by", "day"), 2, "'day'"),
        (("--since", "2h"), 2, "need --by"),
        (("--by", "hour", "--lane", "l"), 2, "--lane"),
        (("--by", "hour", "--until", "soon"), 2, "--until: 'soon' is no time"),
        (("--by", "hour", "--until", "2001-09-09T12:00"), 4, "nothing was accepted in that time"),
    ],
)
def test_a_mistake_gets_a_sentence(
    at_rest: Path, tmp_path: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    run = ask(tmp_path / "no.sock", at_rest, *arguments)

    assert (run.returncode, words in run.stderr) == (code, True), run.stderr
