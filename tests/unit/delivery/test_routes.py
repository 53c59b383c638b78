"""A flush that needs two endpoints is settled when both are known, and sends nothing twice."""

import pytest

from spoold.providers.base import Delivered, Outcome, Rejected, Retry, Split, Stop
from spoold.record import Draft
from tests.support.clock import FakeClock
from tests.support.events import make_draft, make_identify_draft
from tests.support.lanes import LaneRig, seqs


def mixed(pattern: str) -> list[Draft]:
    """A track event for each t, an identify event for each i."""
    return [make_draft() if letter == "t" else make_identify_draft() for letter in pattern]


@pytest.fixture
def mixed_rig(rig: LaneRig, clock: FakeClock) -> LaneRig:
    """A lane with t i t i t pending and due."""
    rig.append(mixed("titit"))
    clock.advance(10)
    return rig


def test_each_endpoint_gets_its_events_in_order(mixed_rig: LaneRig) -> None:
    calls = mixed_rig.run()

    assert [(call.route, seqs(call)) for call in calls] == [("events", [1, 3, 5]), ("profiles", [2, 4])]
    assert (mixed_rig.state.delivered, mixed_rig.state.pending) == (5, 0)


def test_nothing_is_settled_before_both_are_known(mixed_rig: LaneRig) -> None:
    mixed_rig.send()
    assert (mixed_rig.state.cursor, mixed_rig.state.delivered) == (0, 0)

    mixed_rig.send()
    assert (mixed_rig.state.cursor, mixed_rig.state.delivered) == (5, 5)
    assert mixed_rig.outcomes() == ["delivered"]


@pytest.mark.parametrize("trouble", [Retry("HTTP 503"), Stop("HTTP 401")])
def test_an_endpoint_that_fails_does_not_repeat_the_other(mixed_rig: LaneRig, trouble: Outcome) -> None:
    mixed_rig.send()
    mixed_rig.fail(trouble, 3)
    mixed_rig.run()

    by_route = [(call.route, seqs(call)) for call in mixed_rig.calls]
    assert [route for route, _ in by_route].count("events") == 1
    assert (mixed_rig.state.delivered, mixed_rig.state.pending) == (5, 0)


def test_what_is_known_up_to_the_first_unknown_is_settled_with_a_failure(mixed_rig: LaneRig) -> None:
    mixed_rig.send()
    mixed_rig.fail(Retry("HTTP 503"), 1)

    assert (mixed_rig.state.cursor, mixed_rig.state.delivered, mixed_rig.state.pending) == (1, 1, 4)


def test_dead_letters_of_both_endpoints_are_settled_together(mixed_rig: LaneRig) -> None:
    mixed_rig.send(Delivered(dead=(Rejected(1, "bad event"),)), 400)
    mixed_rig.send(Split("bad profiles"), 400)
    mixed_rig.run(lambda call: Split("bad profile") if seqs(call) == [4] else Delivered(), 400)

    assert [(seq, reason) for seq, reason, *_ in mixed_rig.dead()] == [(3, "bad event"), (4, "bad profile")]
    assert (mixed_rig.state.delivered, mixed_rig.state.dead, mixed_rig.state.pending) == (3, 2, 0)


def test_after_a_restart_only_what_was_not_settled_is_sent_again(mixed_rig: LaneRig) -> None:
    mixed_rig.send()
    mixed_rig.fail(Retry("HTTP 503"), 1)
    mixed_rig.restart(after_seconds=60)

    assert [(call.route, seqs(call)) for call in mixed_rig.run()] == [("events", [3, 5]), ("profiles", [2, 4])]
    assert (mixed_rig.state.delivered, mixed_rig.state.pending) == (5, 0)


@pytest.mark.parametrize("pattern", ["t" * 50, "i" * 50, "ti" * 25, "t" * 25 + "i" * 25, "i" + "t" * 49])
def test_any_mixture_is_delivered_once(rig: LaneRig, pattern: str) -> None:
    rig.append(mixed(pattern))
    calls = rig.run()

    assert sorted(seq for call in calls for seq in seqs(call)) == [*range(1, 51)]
    assert len(calls) == len(set(pattern))
    assert rig.state.delivered == 50
