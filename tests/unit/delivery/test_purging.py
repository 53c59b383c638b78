"""A lane whose owner would rather lose its oldest events than refuse new ones."""

from pathlib import Path

import pytest

from spoold.errors import SpoolFullError
from spoold.providers.base import Delivered, Retry
from tests.support.events import make_big_drafts
from tests.support.lanes import OK, LaneRig, running_lane, seqs
from tests.support.spools import MIB

MAX_BYTES = 16 * MIB


def fill(rig: LaneRig) -> int:
    """Append until there is no room; how many went in."""
    count = 0
    while True:
        try:
            rig.append(make_big_drafts(5))
        except SpoolFullError:
            return count
        count += 5


def test_it_gives_up_its_oldest_and_there_is_room_again(state_dir: Path) -> None:
    with running_lane(state_dir, max_bytes=MAX_BYTES, when_full="purge") as rig:
        accepted = fill(rig)
        call = rig.call()
        assert rig.state.purged > 0
        assert rig.state.purged + rig.state.pending == accepted
        assert rig.count("events_purged_total") == rig.state.purged
        assert "purged" in rig.outcomes()
        while rig.opened.spool.trim(500):
            pass

        rig.append(make_big_drafts(5))
        rig.clock.advance(10)
        rig.reply(call, OK)
        sent = [seq for call in (call, *rig.run()) for seq in seqs(call)]
        assert sent == [*range(rig.state.purged + 1, accepted + 6)]


def test_a_lane_that_refuses_keeps_everything(state_dir: Path) -> None:
    with running_lane(state_dir, max_bytes=MAX_BYTES) as rig:
        accepted = fill(rig)
        rig.call()

        assert (rig.state.purged, rig.state.pending) == (0, accepted)


def test_nothing_under_way_is_given_up(state_dir: Path) -> None:
    with running_lane(state_dir, max_bytes=MAX_BYTES, when_full="purge", in_flight=1) as rig:
        rig.append(make_big_drafts(50))
        call = rig.call()
        accepted = 50 + fill(rig)
        rig.step()
        assert rig.state.purged == 0
        rig.reply(call, OK)
        rig.step()

        # What it held is settled, and trimmed first.
        assert rig.state.purged + rig.state.delivered + rig.state.pending == accepted
        assert rig.state.delivered == 50


def test_what_is_known_was_not_lost(state_dir: Path) -> None:
    with running_lane(state_dir, max_bytes=MAX_BYTES, when_full="purge", in_flight=2) as rig:
        rig.append(make_big_drafts(100))
        first, second = rig.call(), rig.call()
        rig.reply(first, Retry("HTTP 503"), 503)
        rig.reply(second, Delivered())
        fill(rig)
        rig.step()

        assert rig.state.purged > 0
        assert rig.state.delivered == 50
        assert rig.state.purged + rig.state.delivered + rig.state.pending == rig.state.accepted


@pytest.mark.parametrize("paused", [True, False])
def test_a_paused_lane_gives_up_too(state_dir: Path, paused: bool) -> None:  # noqa: FBT001 - both ways
    with running_lane(state_dir, max_bytes=MAX_BYTES, when_full="purge") as rig:
        if paused:
            rig.opened.spool.command("mixpanel", "pause")
        fill(rig)
        rig.step()

        assert rig.state.purged > 0
        assert rig.wait_seconds() <= 1.0 if paused else True
