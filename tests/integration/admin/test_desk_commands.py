"""spoolctl's lanes, dead, replay and replays: a real process, the real admin server, a spool without a sender."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spoold.record import format_uuid
from spoold.spool.values import DeadLetter, ReplayStep, RetryState
from tests.integration.admin.conftest import Desk, LaneSight
from tests.support.events import make_draft, make_drafts

_NOBODYS_ID = "0199c2f0-7a00-7000-8000-00000000002a"
_SPOOLCTL = str(Path(sys.executable).with_name("spoolctl"))

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def spoolctl(*arguments: str) -> "subprocess.CompletedProcess[str]":
    run = subprocess.run([_SPOOLCTL, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in run.stderr
    return run


@pytest.fixture
def ctl(desk: Desk) -> Run:
    """Run spoolctl on the desk."""
    return lambda *arguments: spoolctl("--socket", str(desk.path), "--spool", "/nowhere", *arguments)


def append(desk: Desk, count: int, *, dead: list[DeadLetter] | None = None) -> list[str]:
    """Events that the lane has settled, some of them as dead letters; returns their ids."""
    receipts = desk.opened.spool.append(make_drafts(count)).result(timeout=20)
    desk.opened.settle(desk.opened.spool.claim("mixpanel"), receipts[-1].seq, dead=dead or [])
    return [format_uuid(one.event_id) for one in receipts]


def objects(run: "subprocess.CompletedProcess[str]") -> list[dict[str, Any]]:
    assert run.returncode == 0, run.stderr
    return [json.loads(line) for line in run.stdout.splitlines()]


def test_lanes_are_listed_as_the_status_has_them(desk: Desk, ctl: Run) -> None:
    append(desk, 3, dead=[DeadLetter(2, "refused", 400, 1)])

    (lane,) = objects(ctl("lanes", "list", "--json"))
    table = ctl("lanes", "list")

    assert [lane] == objects(ctl("status", "--json"))[0]["lanes"]
    assert (lane["name"], lane["state"], lane["dead"], lane["pending"]) == ("mixpanel", "idle", 1, 0)
    assert table.stdout.splitlines()[1].split()[:2] == ["mixpanel", "idle"]


def test_a_lane_is_paused_flushed_and_resumed(desk: Desk, ctl: Run) -> None:
    desk.lanes["mixpanel"] = LaneSight("backoff", None)

    paused = ctl("lanes", "pause", "mixpanel")
    assert (paused.returncode, paused.stdout) == (0, "mixpanel is paused with 0 events pending\n")
    assert objects(ctl("lanes", "list", "--json"))[0]["state"] == "paused"
    flushed = ctl("lanes", "flush")
    assert flushed.returncode == 0
    assert "spoolctl lanes resume mixpanel" in flushed.stderr
    resumed = ctl("lanes", "resume", "mixpanel", "--accept-dead")
    assert resumed.returncode == 0

    assert desk.opened.lane("mixpanel").accepts_dead
    assert objects(ctl("lanes", "list", "--json"))[0]["state"] == "backoff"


def test_flush_without_a_name_means_every_lane_that_is_open(desk: Desk, ctl: Run) -> None:
    desk.opened.spool.open_lane("second", "mixpanel", "earliest")
    desk.opened.spool.open_lane("old", "mixpanel", "earliest")
    desk.opened.spool.close_lane("old")

    run = ctl("lanes", "flush")

    assert run.returncode == 0, run.stderr
    assert [line.split()[0] for line in run.stdout.splitlines()] == ["mixpanel", "second"]
    assert [desk.opened.lane(name).flushes > 0 for name in ("mixpanel", "second", "old")] == [True, True, False]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["lanes", "pause", "nope"], 4, "'nope'"),
        (["lanes", "resume", "nope"], 4, "'nope'"),
        (["lanes", "flush", ""], 4, "''"),
        (["lanes", "pause", "old"], 5, "old"),
        (["lanes", "flush", "old"], 5, "old"),
        (["lanes", "pause"], 2, "LANE"),
        (["dead", "list", "--lane", "nope"], 4, "'nope'"),
        (["dead", "list", "--lane", ""], 2, "--lane"),
        (["dead", "show", _NOBODYS_ID], 4, _NOBODYS_ID),
        (["dead", "show", "order-17"], 2, "'order-17' is no event id"),
        (["replay", "--lane", "mixpanel"], 2, "--dead, --since, --until, --id, --event or --user is missing"),
        (["replay", "--dead"], 2, "--lane"),
        (["replay", "--lane", "", "--dead"], 2, "--lane: is empty"),
        (["replay", "--lane", "mixpanel", "--user", ""], 2, "--user: is empty"),
        (["replay", "--lane", "mixpanel", "--event", ""], 2, "--event: is empty"),
        (["replay", "--lane", "mixpanel", "--event", "\udcff"], 2, "UTF-8"),
        (["replay", "--lane", "mixpanel", "--id", "order-17"], 2, "--id: 'order-17' is no event id"),
        (["replay", "--lane", "mixpanel", "--since", "yesterday"], 2, "--since: 'yesterday' is no time"),
        (["replay", "--lane", "mixpanel", "--since", "1h", "--until", "2h"], 2, "--until: '2h' is not after --since"),
        (["replay", "--lane", "nope", "--dead"], 4, "'nope'"),
        (["replay", "--lane", "mixpanel", "--dead"], 4, "nothing matches"),
        (["replay", "--lane", "mixpanel", "--id", _NOBODYS_ID, "--dry-run"], 4, "nothing matches"),
        (["replay", "--lane", "old", "--since", "0"], 5, "old"),
        (["replays", "cancel", "7"], 4, "7"),
        (["replays", "cancel", "first"], 2, "'ID'"),
        (["replays", "cancel", "99999999999999999999"], 2, "'ID'"),
    ],
)
def test_what_cant_be_done_ends_with_its_code_and_a_sentence(
    desk: Desk, ctl: Run, arguments: list[str], code: int, said: str
) -> None:
    append(desk, 1)
    desk.opened.spool.open_lane("old", "mixpanel", "latest")
    desk.opened.spool.close_lane("old")

    run = ctl(*arguments)

    assert run.returncode == code, run.stderr
    assert said in run.stderr
    assert run.stdout == ""
    assert run.stderr.startswith("error: ")


@pytest.mark.parametrize(
    "arguments",
    [["lanes", "pause", "x"], ["lanes", "flush"], ["replay", "--lane", "x", "--dead"], ["replays", "cancel", "1"]],
)
def test_what_needs_a_daemon_says_that_it_is_down(tmp_path: Path, arguments: list[str]) -> None:
    run = spoolctl("--socket", str(tmp_path / "admin.sock"), "--spool", str(tmp_path), *arguments)

    assert run.returncode == 3
    assert "is not reachable" in run.stderr


def test_dead_letters_are_grouped_by_reason(desk: Desk, ctl: Run) -> None:
    letters = [DeadLetter(seq, "too old", 400, 1) for seq in (1, 2, 3)]
    ids = append(desk, 5, dead=[*letters, DeadLetter(4, "unsendable: \x1b[31mno id", None, 0)])

    run = ctl("dead", "list")

    assert run.returncode == 0
    title, *lines = [line.split() for line in run.stdout.splitlines()]
    assert title[:4] == ["lane", "events", "status", "reason,"]
    assert lines[0] == ["mixpanel", "3", "400", "too", "old"]
    assert lines[2] == [ids[0]]
    assert lines[3][:4] == ["mixpanel", "1", "-", "unsendable:"]
    assert lines[5] == [ids[3]]
    assert "\x1b" not in run.stdout


def test_a_script_gets_each_dead_letter_with_the_fields_of_the_contract(desk: Desk, ctl: Run) -> None:
    ids = append(desk, 2, dead=[DeadLetter(1, "too old", 400, 3)])

    (letter,) = objects(ctl("dead", "list", "--lane", "mixpanel", "--json"))

    dead_at_ms, timestamp_ms, received_at_ms = (
        letter.pop(name) for name in ("dead_at_ms", "timestamp_ms", "received_at_ms")
    )
    assert dead_at_ms >= received_at_ms >= timestamp_ms > 0
    assert letter == {
        "seq": 1, "event_id": ids[0], "type": "track", "event_name": "Order Paid 0", "user_id": "u-81",
        "anonymous_id": "", "properties": {}, "lane": "mixpanel", "status": 400, "reason": "too old", "attempts": 3,
    }  # fmt: skip
    assert objects(ctl("dead", "show", ids[0].upper(), "--json"))[0]["event_id"] == ids[0]
    shown = [" ".join(line.split()) for line in ctl("dead", "show", ids[0]).stdout.splitlines()]
    assert {"lane mixpanel", "status 400", "reason too old", "attempts 3", "properties {}"} <= set(shown)


def test_an_empty_list_is_an_answer(ctl: Run) -> None:
    for noun, said in (("dead", "there are no dead letters\n"), ("replays", "there are no replays\n")):
        run = ctl(noun, "list")
        assert (run.returncode, run.stdout) == (0, said)
        assert ctl(noun, "list", "--json").stdout == ""


def test_a_dry_run_counts_and_starts_nothing(desk: Desk, ctl: Run) -> None:
    append(desk, 3)

    run = ctl("replay", "--lane", "mixpanel", "--since", "1h", "--dry-run")

    assert (run.returncode, run.stdout) == (0, "3 events would be sent to mixpanel; nothing was sent\n")
    assert objects(ctl("replay", "--lane", "mixpanel", "--event", "Order Paid 1", "--dry-run", "--json")) == [
        {"lane": "mixpanel", "matched": 1}
    ]
    assert desk.opened.spool.replays() == []


def test_a_replay_is_started_listed_and_cancelled(desk: Desk, ctl: Run) -> None:
    desk.opened.spool.append([make_draft("Order Paid", user_id="u-1")]).result(20)
    ids = append(desk, 3)

    by_user = ctl("replay", "--lane", "mixpanel", "--user", "u-1")
    by_id = objects(ctl("replay", "--lane", "mixpanel", "--id", ids[0], "--id", ids[1], "--json"))[0]
    listed = objects(ctl("replays", "list", "--json"))
    cancelled = ctl("replays", "cancel", "1")

    assert by_user.stdout == "replay 1 started: 1 event to mixpanel\n"
    assert "spoolctl replays cancel 1" in by_user.stderr
    assert (by_id["id"], by_id["matched"], by_id["state"], by_id["event_ids"]) == (2, 2, "running", ids[:2])
    assert [(one["id"], one["user_id"], one["dead"], one["progress"]) for one in listed] == [
        (2, None, False, 0.0),
        (1, "u-1", False, 0.0),
    ]
    assert (cancelled.returncode, cancelled.stdout) == (0, "replay 1 cancelled: 0 sent, 0 refused\n")
    lines = ctl("replays", "list").stdout.splitlines()
    assert lines[1].split()[:4] == ["2", "mixpanel", "running", "0%"]
    assert lines[3].split() == ["1", "mixpanel", "cancelled", "0%", "0", "0", "0", "user", "u-1"]


@pytest.mark.parametrize("state", ["paused", "down", "stopped"])
def test_a_replay_that_must_wait_says_for_what(desk: Desk, ctl: Run, state: str) -> None:
    append(desk, 1)
    desk.lanes["mixpanel"] = LaneSight(state)

    run = ctl("replay", "--lane", "mixpanel", "--since", "0")

    assert f"mixpanel is {state}: the replay waits" in run.stderr


@pytest.mark.parametrize(("failed", "code"), [(0, 0), (1, 1)])
def test_watching_a_replay_ends_with_it_and_says_how_it_went(desk: Desk, ctl: Run, failed: int, code: int) -> None:
    append(desk, 3)
    done = threading.Thread(target=_finish, args=(desk, failed))
    done.start()

    run = ctl("replay", "--lane", "mixpanel", "--since", "0", "--watch", "--json")
    done.join()

    looks = [json.loads(line) for line in run.stdout.splitlines()]
    assert run.returncode == code
    assert (looks[0]["state"], looks[0]["matched"]) == ("running", 3)
    assert (looks[-1]["state"], looks[-1]["sent"], looks[-1]["failed"]) == ("done", 3 - failed, failed)
    assert ("replay 1 done: 2 sent, 1 refused" in run.stderr) == bool(failed)


def test_watching_all_replays_ends_when_none_runs(desk: Desk, ctl: Run) -> None:
    append(desk, 1)
    ctl("replay", "--lane", "mixpanel", "--since", "0")
    ctl("replays", "cancel", "1")

    run = ctl("replays", "list", "--watch", "--json")

    assert [one["state"] for one in objects(run)] == ["cancelled"]


def test_a_replay_that_is_done_cant_be_cancelled(desk: Desk, ctl: Run) -> None:
    append(desk, 1)
    ctl("replay", "--lane", "mixpanel", "--since", "0")
    _finish(desk, 0)

    run = ctl("replays", "cancel", "1")

    assert run.returncode == 5
    assert "replay 1 was done before" in run.stderr


def _finish(desk: Desk, failed: int) -> None:
    """What the lane does: it settles the replay's last step as soon as there is one."""
    spool = desk.opened.spool
    while (replay := spool.next_replay("mixpanel")) is None:
        spool.wait("mixpanel", 2**62, 10)
    page = spool.read_replay(replay.id, max_events=100)
    step = ReplayStep(replay.id, page.upto, len(page.events) - failed, failed, (), page.is_end)
    cursor = desk.opened.lane("mixpanel").cursor
    lease = spool.claim("mixpanel")
    desk.opened.settle(lease, cursor, delivered=0, replay=step, outcome="replay", retry=RetryState())
