"""A lane's thread, step by step; and that one lane's trouble is nobody else's (I5)."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from spoold.delivery.batch import Call
from spoold.delivery.flusher import Flusher
from spoold.delivery.lane import Lane
from spoold.delivery.report import LaneReport
from spoold.delivery.sender import Attempt, TestModeSender
from spoold.log import get_logger
from spoold.providers.base import Outcome, Retry, Stop
from tests.support.clock import FakeClock
from tests.support.lanes import OK, SETTINGS, LaneRig, PlainProvider, running_lane


class ScriptedSender:
    """Answers with ``outcome`` and notes what it is asked to do."""

    def __init__(self) -> None:
        self.outcome: Outcome = OK
        self.sent: list[Call] = []
        self.timeouts: list[float] = []
        self.ends: list[str] = []

    def send(self, call: Call, timeout_seconds: float) -> Attempt:
        self.sent.append(call)
        self.timeouts.append(timeout_seconds)
        return Attempt(self.outcome, 200, 0.0)

    def abort(self) -> None:
        self.ends.append("abort")

    def close(self) -> None:
        self.ends.append("close")


def at_once(work: Callable[[], None]) -> None:
    """The thread that carries a call, without a thread."""
    work()


@pytest.fixture
def sender() -> ScriptedSender:
    return ScriptedSender()


@pytest.fixture
def flusher(rig: LaneRig, sender: ScriptedSender, clock: FakeClock) -> Flusher:
    return Flusher(rig.lane, sender, rig.opened.spool, clock, at_once)


def step(flusher: Flusher, clock: FakeClock) -> float | None:
    return flusher.step(clock.monotonic())


def test_a_step_sends_and_comes_again_at_once(
    flusher: Flusher, rig: LaneRig, sender: ScriptedSender, clock: FakeClock
) -> None:
    rig.append(120)

    assert [step(flusher, clock) for _ in range(3)] == [0, 0, 10.0]
    assert ([len(call.items) for call in sender.sent], sender.timeouts) == ([50, 50], [30.0, 30.0])
    assert rig.state.delivered == 100


def test_a_step_with_nothing_to_do_waits_for_the_first_event(flusher: Flusher, rig: LaneRig, clock: FakeClock) -> None:
    assert step(flusher, clock) is None
    rig.append(1)
    flusher.wait(None)


def test_a_failure_is_waited_out_and_new_events_do_not_end_it(
    flusher: Flusher, rig: LaneRig, sender: ScriptedSender, clock: FakeClock
) -> None:
    sender.outcome = Retry("HTTP 503")
    rig.append(50)
    assert [step(flusher, clock), step(flusher, clock)] == [0, 1.0]
    rig.append(500)
    # Only its own time or a nudge ends this wait: here a nudge, before it begins.
    flusher.wake()
    flusher.wait(None)

    assert step(flusher, clock) == 1.0


def test_the_final_flush_is_reported_once_it_is_over(flusher: Flusher, rig: LaneRig, clock: FakeClock) -> None:
    ends: list[str] = []
    flusher.on_done = lambda: ends.append("done")
    rig.append(3)
    flusher.request_stop(clock.monotonic() + 25)
    flusher.wait(None)

    assert step(flusher, clock) == 0
    assert (ends, rig.state.pending) == ([], 3)
    assert step(flusher, clock) is None
    assert (ends, rig.state.pending) == (["done"], 0)


def test_abort_and_close_are_the_senders(flusher: Flusher, sender: ScriptedSender) -> None:
    flusher.abort()
    flusher.close()

    assert sender.ends == ["abort", "close"]


def test_test_mode_delivers_to_nobody(rig: LaneRig, clock: FakeClock, capsys: pytest.CaptureFixture[str]) -> None:
    flusher = Flusher(rig.lane, TestModeSender(get_logger("tests")), rig.opened.spool, clock, at_once)
    rig.append(50)
    step(flusher, clock)
    step(flusher, clock)

    assert rig.state.delivered == 50
    assert "TEST MODE: would send batch" in capsys.readouterr().out


@pytest.fixture
def neighbour(state_dir: Path, clock: FakeClock) -> Iterator[tuple[LaneRig, Lane]]:
    """A lane whose provider is in trouble, and a second lane on the same spool."""
    with running_lane(state_dir, clock=clock, jitter=1.0) as rig:
        rig.opened.spool.open_lane("other", "webhook", "earliest")
        report = LaneReport("other", get_logger("tests"), rig.metrics)
        yield (
            rig,
            Lane("other", rig.opened.spool, PlainProvider(), SETTINGS, report, clock=clock, entropy=rig.entropy),
        )


@pytest.mark.parametrize("trouble", [Retry("HTTP 503"), Stop("HTTP 401"), Retry("HTTP 429", after_seconds=3600.0)])
def test_one_providers_trouble_neither_delays_nor_loses_anothers_events(
    neighbour: tuple[LaneRig, Lane], clock: FakeClock, trouble: Outcome
) -> None:
    rig, other = neighbour
    flusher = Flusher(other, sender := ScriptedSender(), rig.opened.spool, clock, at_once)
    for _ in range(10):
        rig.append(50)
        rig.run(trouble, status=503)
        assert step(flusher, clock) == 0
        assert step(flusher, clock) is None

    assert sum(len(call.items) for call in sender.sent) == 500
    assert (rig.opened.lane("other").delivered, rig.state.delivered, rig.state.pending) == (500, 0, 500)
    clock.advance(3600)
    rig.run()
    assert rig.state.pending == 0


def test_what_one_provider_refuses_the_other_may_take(neighbour: tuple[LaneRig, Lane], clock: FakeClock) -> None:
    rig, other = neighbour
    flusher = Flusher(other, ScriptedSender(), rig.opened.spool, clock, at_once)
    rig.append(50)
    rig.run(Stop("HTTP 401"))
    step(flusher, clock)
    step(flusher, clock)

    assert (rig.state.pending, rig.opened.lane("other").delivered) == (50, 50)
    assert rig.opened.spool.stats().pending == 50


def test_a_mistake_in_a_provider_ends_the_step_and_loses_nothing(rig: LaneRig, clock: FakeClock) -> None:
    class Broken(ScriptedSender):
        def send(self, call: Call, timeout_seconds: float) -> Attempt:
            raise RuntimeError(f"a bug with {len(call.items)} events in {timeout_seconds} s")

    flusher = Flusher(rig.lane, Broken(), rig.opened.spool, clock, at_once)
    rig.append(50)
    assert step(flusher, clock) == 0

    with pytest.raises(RuntimeError, match="a bug"):
        step(flusher, clock)
    assert rig.state.pending == 50
