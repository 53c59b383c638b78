"""A spool whose daemon is down tells what the daemon would."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spoold.clock import SystemClock
from spoold.record import format_uuid
from spoold.spool.journal import JournalQueue
from spoold.spool.schema import migrate, shipped_migrations
from spoold.spool.values import DeadLetter, Deferred, RetryState, Selection
from tests.support.clock import START_MS, FakeClock
from tests.support.events import make_drafts
from tests.support.spools import OpenSpool, open_spool

_NOBODYS_ID = "0199c2f0-7a00-7000-8000-00000000002a"
_SPOOLCTL = str(Path(sys.executable).with_name("spoolctl"))

Ctl = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def ctl(state_dir: Path, tmp_path: Path) -> Ctl:
    """Run spoolctl on the spool; nobody answers on the socket."""
    target = ["--socket", str(tmp_path / "admin.sock"), "--spool", str(state_dir)]

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run([_SPOOLCTL, *target, *arguments], capture_output=True, text=True, timeout=60, check=False)
        assert "Traceback" not in done.stderr
        return done

    return run


def objects(run: "subprocess.CompletedProcess[str]") -> list[dict[str, Any]]:
    assert run.returncode == 0, run.stderr
    assert "spoold is not running" in run.stderr
    return [json.loads(line) for line in run.stdout.splitlines()]


def settle(opened: OpenSpool, lane: str, upto: int, **overrides: object) -> None:
    opened.settle(opened.spool.claim(lane), upto, **overrides)


def test_a_lane_is_what_the_spool_says_it_is(state_dir: Path, ctl: Ctl) -> None:
    words = ("idle", "backoff", "stopped", "paused", "closed")
    with open_spool(state_dir) as opened:
        for name in words:
            opened.spool.open_lane(name, "mixpanel", "earliest")
        opened.append(make_drafts(1))
        settle(opened, "backoff", 0, delivered=0, outcome="retry", retry=RetryState(failures=7, last_error="503 busy"))
        retry = RetryState(failures=1, is_stopped=True, last_error="bad key")
        for name in ("stopped", "paused", "closed"):
            settle(opened, name, 0, delivered=0, outcome="stop", retry=retry)
        opened.spool.command("paused", "pause")
        opened.spool.close_lane("closed")

    lanes = objects(ctl("lanes", "list", "--json"))

    assert {lane["name"]: lane["state"] for lane in lanes} == {word: word for word in words}
    assert "stopped: bad key" in ctl("lanes", "list").stdout


def test_dead_letters_are_told(state_dir: Path, ctl: Ctl) -> None:
    with open_spool(state_dir) as opened:
        opened.spool.open_lane("mixpanel", "mixpanel", "earliest")
        receipts = opened.append(make_drafts(3))
        settle(opened, "mixpanel", 2, dead=[DeadLetter(2, "too old", 400, 3)])
    event_id = format_uuid(receipts[1].event_id)

    (letter,) = objects(ctl("dead", "list", "--json"))

    assert (letter["seq"], letter["event_id"], letter["lane"], letter["reason"]) == (2, event_id, "mixpanel", "too old")
    assert objects(ctl("dead", "list", "--lane", "mixpanel", "--json")) == [letter]
    assert objects(ctl("dead", "show", event_id, "--json")) == [letter]
    assert ctl("dead", "show", _NOBODYS_ID).returncode == 4
    unknown = ctl("dead", "list", "--lane", "nope")
    assert (unknown.returncode, "'nope'" in unknown.stderr) == (4, True)


def test_dead_letters_are_read_page_by_page(state_dir: Path, ctl: Ctl) -> None:
    with open_spool(state_dir) as opened:
        opened.spool.open_lane("mixpanel", "mixpanel", "earliest")
        opened.append(make_drafts(450))
        settle(opened, "mixpanel", 450, dead=range(1, 451))

    assert [letter["seq"] for letter in objects(ctl("dead", "list", "--json"))] == list(range(1, 451))


def test_replays_are_told(state_dir: Path, ctl: Ctl) -> None:
    with open_spool(state_dir) as opened:
        opened.spool.open_lane("mixpanel", "mixpanel", "earliest")
        opened.append(make_drafts(3))
        settle(opened, "mixpanel", 3)
        opened.spool.start_replay(Selection("mixpanel", since_ms=0, event_names=("Order Paid 1",)))
        opened.spool.cancel_replay(opened.spool.start_replay(Selection("mixpanel", user_id="u-81")).id)

    second, first = objects(ctl("replays", "list", "--json"))

    assert (first["id"], first["state"], first["since_ms"], first["event_names"]) == (1, "running", 0, ["Order Paid 1"])
    assert (second["id"], second["state"], second["user_id"], second["finished_at_ms"]) == (
        2, "cancelled", "u-81", START_MS,
    )  # fmt: skip


def test_what_stands_aside_is_pending_and_has_its_age(state_dir: Path, ctl: Ctl) -> None:
    clock = FakeClock(SystemClock().wall_ms() - 7_200_000)
    with open_spool(state_dir, clock=clock) as opened:
        opened.spool.open_lane("mixpanel", "mixpanel", "earliest")
        opened.append(make_drafts(1))
        clock.advance(3600)
        opened.append(make_drafts(1))
        aside = Deferred(1, wait_ms=1, not_before_ms=1, attempts=1, failures=0, reason="throttled", status=429)
        settle(opened, "mixpanel", 1, delivered=0, deferred=(aside,))

    (status,) = objects(ctl("status", "--json"))

    (lane,) = status["lanes"]
    assert (lane["pending"], lane["deferred"], status["spool"]["pending"]) == (2, 1, 2)
    assert lane["oldest_pending_seconds"] == status["spool"]["oldest_pending_seconds"] == pytest.approx(7200, abs=60)


def test_a_spool_of_an_older_format_is_for_the_daemon_to_read(state_dir: Path, ctl: Ctl) -> None:
    queue = JournalQueue(state_dir, "fsync")
    migrate(queue.connection, {1: shipped_migrations()[1]})
    queue.close()

    run = ctl("status")

    assert run.returncode == 3
    assert "the daemon's next start brings it up to date" in run.stderr
