"""An operator's words are stored with the lane, and wake it."""

from pathlib import Path
from typing import Any, get_args

import pytest

from spoold.errors import LaneClosedError, UnknownLaneError
from spoold.spool.values import Command, LaneState, RetryState, Selection
from tests.support.clock import START_MS
from tests.support.events import make_drafts
from tests.support.spools import OpenSpool, open_spool, running_spool
from tests.unit.spool.moves import everything, move, terms

COMMANDS: tuple[Command, ...] = get_args(Command)
STOPPED = RetryState(3, is_stopped=True, wait_ms=9, not_before_ms=START_MS, last_error="401", last_error_at_ms=START_MS)

#: Words, one after the other → is_paused, accepts_dead, flushes.
WORDS: dict[tuple[Command, ...], tuple[bool, bool, int]] = {
    (): (False, False, 0),
    ("pause",): (True, False, 0),
    ("pause", "pause"): (True, False, 0),
    ("pause", "resume"): (False, False, 1),
    ("resume",): (False, False, 1),
    ("flush",): (False, False, 1),
    ("flush", "flush"): (False, False, 2),
    ("pause", "flush"): (True, False, 1),
    ("accept_dead",): (False, True, 1),
    ("pause", "accept_dead"): (False, True, 1),
    ("accept_dead", "pause"): (True, True, 1),
    ("accept_dead", "pause", "resume", "flush"): (False, True, 3),
}


def words(state: LaneState) -> tuple[bool, bool, int]:
    return state.is_paused, state.accepts_dead, state.flushes


@pytest.mark.parametrize("said", WORDS, ids=lambda said: " ".join(said) or "nothing")
def test_what_was_said_holds_after_a_restart(state_dir: Path, said: tuple[Command, ...]) -> None:
    with open_spool(state_dir) as opened:
        for name in ("a", "b"):
            opened.spool.open_lane(name, "webhook", "earliest")
        answers = [opened.spool.command("a", word) for word in said]
        state = opened.lane("a")
        assert words(state) == WORDS[said]
        assert not answers or answers[-1] == state
    with open_spool(state_dir) as opened:
        assert opened.lane("a") == state
        assert words(opened.lane("b")) == WORDS[()], "the others heard nothing"


@pytest.mark.parametrize("word", COMMANDS)
def test_a_word_moves_no_event_and_leaves_the_attempts_as_they_stand(
    spool: OpenSpool, lane: str, word: Command
) -> None:
    spool.append(make_drafts(5))
    before = move(spool, lane, 3, delivered=1, dead=[1], deferred=[2], retry=STOPPED, batches=(4,))
    tables = everything(spool)

    state = spool.spool.command(lane, word)

    assert (state.retry, state.cursor, state.epoch, state.batches) == (STOPPED, 3, before.epoch, (4,))
    assert (everything(spool), terms(spool, lane)) == (tables, (1, 1, 0, 0, 1, 3))


def test_a_word_neither_fences_the_owner_nor_is_lost_in_its_next_settlement(spool: OpenSpool, lane: str) -> None:
    spool.append(make_drafts(3))
    lease = spool.spool.claim(lane)
    for word in COMMANDS:
        spool.spool.command(lane, word)
    spool.spool.command(lane, "pause")

    spool.settle(lease, 1, delivered=0, dead=[1])

    assert words(spool.lane(lane)) == (True, True, 3)


@pytest.mark.parametrize(
    ("settled", "accepts"),
    [({"delivered": 1}, False), ({"filtered": 1}, True), ({"dead": [1]}, True), ({"deferred": [1]}, True),
     ({"purged": 1}, True)],
)  # fmt: skip
def test_refusals_are_accepted_until_something_is_delivered(
    spool: OpenSpool, lane: str, settled: dict[str, Any], *, accepts: bool
) -> None:
    spool.append(make_drafts(2))
    spool.spool.command(lane, "accept_dead")

    assert move(spool, lane, 1, **settled).accepts_dead == accepts


@pytest.mark.parametrize("word", COMMANDS)
def test_a_closed_lane_takes_no_word(spool: OpenSpool, lane: str, word: Command) -> None:
    spool.spool.command(lane, "pause")
    closed = spool.spool.close_lane(lane)

    with pytest.raises(LaneClosedError, match=f"lane {lane} is closed: it is not in the configuration"):
        spool.spool.command(lane, word)
    assert spool.lane(lane) == closed
    assert spool.spool.open_lane(lane, "mixpanel", "latest").is_paused, "it reopens as it was"


@pytest.mark.parametrize("word", COMMANDS)
def test_an_unknown_lane_takes_no_word(spool: OpenSpool, lane: str, word: Command) -> None:
    with pytest.raises(UnknownLaneError, match=f"no lane is named 'nobody'; there are: {lane}"):
        spool.spool.command("nobody", word)


@pytest.mark.parametrize("word", COMMANDS)
def test_a_word_ends_the_wait_of_its_lane(state_dir: Path, word: Command) -> None:
    with running_spool(state_dir) as opened:
        for name in ("a", "b"):
            opened.spool.open_lane(name, "webhook", "earliest")

        opened.spool.command("a", word)

        # What was said before a wait ends it as well.
        assert opened.spool._waits["a"].signal.wait(0)
        assert words(opened.lane("a")) == WORDS[word,]
        assert not opened.spool._waits["b"].signal.wait(0), "the other one sleeps on"


def test_a_replay_ends_the_wait_of_its_lane(state_dir: Path) -> None:
    with running_spool(state_dir) as opened:
        opened.spool.append(make_drafts(2)).result(timeout=30)
        opened.spool.open_lane("a", "webhook", "latest")

        opened.spool.start_replay(Selection("a"))

        assert opened.spool._waits["a"].signal.wait(0)
        assert opened.spool.next_replay("a") is not None
