"""A lane against a model that decides nothing and remembers what was sent and answered: random lives and answers."""

import sys
import tempfile
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from spoold.delivery import judge, supply
from spoold.delivery.batch import Call
from spoold.delivery.blame import MAX_LONE_FAILURES
from spoold.delivery.filter import EventFilter
from spoold.delivery.lane import Done, LaneSettings, Send, Wait
from spoold.providers.base import Delivered, Outcome, Retry, Split, Stop
from spoold.spool.values import LaneState, Selection
from tests.support.clock import FakeClock, FakeEntropy
from tests.support.lane_model import (
    ANYTHING,
    CHOKES,
    DRAFTS,
    MAX_RETRY_AFTER_SECONDS,
    RETRY,
    ROUNDED_SECONDS,
    SETUPS,
    STOPPED_SECONDS,
    Answer,
    Known,
    ModelProvider,
    Setup,
    outcome_of,
    shared_memory,
)
from tests.support.lanes import LaneRig, seqs

#: How the tables show an event: before the cursor and not set aside it is "settled".
AHEAD, DEFERRED, DEAD, SETTLED = "ahead", "deferred", "dead", "settled"


class LaneMachine(RuleBasedStateMachine):
    """Drives a real lane on a real spool, and the model beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.clock = FakeClock()
        self.known: dict[int, Known] = {}
        self.flying: list[tuple[Call, bool]] = []
        self.wait_until = 0.0
        self.delivered = 0
        self.status: dict[int, str] = {}
        self.targets: dict[int, set[int]] = {}
        self.replayed: Counter[int] = Counter()
        self.is_hurried = False

    @initialize(setup=SETUPS)
    def start(self, setup: Setup) -> None:
        self.setup = setup
        patch = self.stack.enter_context(pytest.MonkeyPatch.context())
        for module in (judge, supply):
            patch.setattr(module, "MAX_DEFERRED", setup.most_aside)
        directory = self.stack.enter_context(tempfile.TemporaryDirectory(dir=shared_memory()))
        lane_settings = LaneSettings(
            batch_size=setup.batch_size,
            interval_seconds=10.0,
            timeout_seconds=30.0,
            retry=RETRY,
            in_flight=setup.in_flight,
            event_filter=EventFilter(exclude=("hidden",)),
        )
        self.rig = LaneRig(Path(directory), self.clock, FakeEntropy(), ModelProvider(setup), lane_settings)
        self.rig.start()

    @rule(letters=st.text("tttttti2uh", min_size=1, max_size=12))
    def append(self, letters: str) -> None:
        for letter, seq in zip(letters, self.rig.append([DRAFTS[letter] for letter in letters]), strict=True):
            route = self.setup.profiles if letter == "i" else "events"
            self.known[seq] = Known(route, letter == "i", letter not in "uh", letter == "h", refused=letter == "u")

    @rule()
    def step(self) -> None:
        self.turn()

    @rule(chosen=st.lists(st.tuples(st.integers(0, 9), ANYTHING), min_size=1, max_size=12))
    def work(self, chosen: list[tuple[int, Answer]]) -> None:
        """Turns, with an answer to any of the calls under way between them."""
        for index, answer in chosen:
            self.turn()
            if self.flying and index < 8:
                self.reply(index, answer)

    @rule(every=st.sampled_from([1, 3, 7]), turns=st.integers(5, 60))
    def choke(self, every: int, turns: int) -> None:
        """Time at a provider that chokes on some events, or on all."""
        for _ in range(turns):
            action = self.turn()
            if self.flying:
                is_bad = any(seq % every == 0 for seq in seqs(self.flying[0][0]))
                self.reply(0, CHOKES if is_bad else "o")
            elif isinstance(action, Wait) and action.seconds is not None:
                self.pass_time(action.seconds)

    @rule(index=st.integers(0, 9), answer=ANYTHING)
    @precondition(lambda self: self.flying)
    def reply(self, index: int, answer: Answer) -> None:
        call, is_replay = self.flying.pop(index % len(self.flying))
        outcome = outcome_of(call, answer)
        is_repeated = isinstance(outcome, Split) and call.refusals < outcome.retries
        self.note(call, Retry("again") if is_repeated else outcome, is_replay=is_replay)
        self.rig.reply(call, outcome)
        if isinstance(outcome, Split) and "were refused alike" in self.state.retry.last_error:
            self.take_back()
        else:
            self.note_revived()

    @rule(seconds=st.sampled_from([0.5, 2.0, 4.0, 10.0, 21.0, 61.0, 301.0]))
    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule()
    def wait(self) -> None:
        """Wait as long as the lane wants, if it wants."""
        action = self.turn()
        if isinstance(action, Wait) and action.seconds is not None:
            self.pass_time(action.seconds)

    @rule(word=st.sampled_from(["pause", "resume", "resume", "flush", "accept_dead"]))
    def say(self, word: str) -> None:
        self.rig.opened.spool.command("mixpanel", word)  # type: ignore[arg-type]
        self.is_hurried |= word != "pause"

    @rule(is_dead=st.booleans())
    def replay(self, is_dead: bool) -> None:  # noqa: FBT001
        replay = self.rig.opened.spool.start_replay(Selection("mixpanel", is_dead=is_dead))
        # Who stands aside now may be settled when the replay comes to it.
        self.targets[replay.id] = set() if is_dead else {seq for seq in self.known if seq <= self.state.cursor}

    @rule()
    def cancel(self) -> None:
        running = [replay.id for replay in self.rig.opened.spool.replays() if replay.state == "running"]
        for number in running[:1]:
            self.rig.opened.spool.cancel_replay(number)

    @rule(seconds=st.sampled_from([0.0, 0.0, 3.0]))
    def die(self, seconds: float) -> None:
        """The process ends with whatever is under way."""
        self.forget()
        self.rig.restart(after_seconds=seconds)

    @rule()
    def change_owner(self) -> None:
        """The lane's thread died, and another takes over."""
        self.forget()
        self.rig.lane = self.rig.take_lane()

    @rule(chosen=st.lists(ANYTHING, min_size=1, max_size=9))
    def stop_and_start(self, chosen: list[Answer]) -> None:
        """A final flush, then the next start."""
        self.rig.lane.request_stop(self.clock.monotonic() + 25)
        for number in range(1_000):
            action = self.turn()
            if isinstance(action, Done):
                break
            if isinstance(action, Wait):
                if self.flying:
                    self.reply(0, chosen[number % len(chosen)])
                else:
                    assert action.seconds is not None
                    self.pass_time(action.seconds)
        else:
            raise AssertionError("the final flush does not end")
        self.die(0.0)

    def turn(self) -> Send | Wait | Done:
        """One step, and what may be said of it."""
        if self.is_hurried:
            self.hurry()
        action = self.rig.step()
        self.note_revived()
        if isinstance(action, Send):
            self.check_send(action.call)
        elif isinstance(action, Wait):
            self.check_wait(action)
        return action

    @property
    def state(self) -> LaneState:
        return self.rig.state

    def look(self) -> dict[int, str]:
        """How the tables show each event."""
        aside = dict(self.rig.opened.rows("SELECT seq, kind FROM set_aside"))
        cursor = self.state.cursor
        return {seq: aside.get(seq, SETTLED if seq <= cursor else AHEAD) for seq in self.known}

    def note_revived(self) -> None:
        """Dead letters that a replay made pending again, perhaps as they died once more, begin anew."""
        status = self.look()
        for seq, event in self.known.items():
            was_dead = self.status.get(seq) == DEAD or (event.fate == DEAD and self.targets)
            if status[seq] == DEFERRED and was_dead:
                event.fate, event.lone_failures, event.not_before = "", 0, 0.0
        self.status = status

    @invariant()
    def the_tables_tell_what_was_answered(self) -> None:
        """I2 and I4: each event is in one place, the counters say so, and it got there by an answer."""
        state, status = self.state, self.look()
        count = Counter(status.values())
        hidden = sum(kind == SETTLED and self.known[seq].is_hidden for seq, kind in status.items())
        assert (state.accepted, state.dead, state.deferred) == (len(status), count[DEAD], count[DEFERRED])
        assert (state.filtered, state.delivered) == (hidden, count[SETTLED] - hidden)
        assert state.pending == count[AHEAD] + count[DEFERRED]
        for seq, reason, _, attempts in self.rig.dead():
            event = self.known[seq]
            assert attempts <= event.sent
            if status[seq] == DEAD and "(alone" in reason:
                assert event.lone_failures >= MAX_LONE_FAILURES
            elif status[seq] == DEAD:
                assert event.refused
        for seq, kind in status.items():
            assert kind != SETTLED or self.known[seq].is_hidden or self.known[seq].confirmed

    def check_send(self, call: Call) -> None:
        state, status, now = self.state, self.look(), self.clock.monotonic()
        carried = seqs(call)
        is_replay = status[carried[0]] == SETTLED
        assert not state.is_paused
        assert now >= self.wait_until - ROUNDED_SECONDS
        assert carried == sorted(set(carried))
        under_way = {seq for other, _ in self.flying for seq in seqs(other)}
        assert not under_way & set(carried)
        self.flying.append((call, is_replay))
        assert len(self.flying) <= self.setup.in_flight
        for seq in carried:
            event = self.known[seq]
            event.sent += 1
            assert event.is_sendable
            assert call.route == event.route
            assert now >= event.not_before - ROUNDED_SECONDS
            if is_replay:
                assert status[seq] == SETTLED
                assert self.replayed[seq] < sum(seq in targets for targets in self.targets.values())
            else:
                assert status[seq] in (AHEAD, DEFERRED)
                assert not event.fate, f"{seq} is {event.fate}"
        if all(status[seq] == AHEAD for seq in carried):
            self.check_place(carried, status)
            self.check_kept(carried)

    def check_place(self, carried: list[int], status: dict[int, str]) -> None:
        """What keeps its place overtakes nothing on its route, and nothing overtakes it."""
        for seq in carried:
            event = self.known[seq]
            unknown = [
                before
                for number, before in self.known.items()
                if number < seq and number not in carried and before.route == event.route
                if status[number] == AHEAD and before.is_sendable and not (before.fate or before.may_be_aside)
            ]
            # Where nothing else is left to find out whether the head itself is the trouble, one goes ahead: an event,
            # or a batch that is kept.
            is_small = len(carried) == 1 or self.setup.keeps_batches
            is_trial = is_small and any(before.is_blamed for before in unknown)
            keeps_place = is_trial or not any(event.in_order or before.in_order for before in unknown)
            assert keeps_place, f"{seq} of {carried} overtakes"

    def check_kept(self, carried: list[int]) -> None:
        request = tuple(carried)
        for event in (self.known[seq] for seq in carried):
            if self.setup.keeps_batches and not event.is_cut:
                assert event.request in ((), request)
                event.request = request

    def check_wait(self, wait: Wait) -> None:
        """A wait without an end has a reason, and one that ends at once has none."""
        state = self.state
        assert wait.seconds is None or wait.seconds > 0
        assert wait.min_pending > state.pending - state.deferred
        if wait.seconds is None and not self.flying and not state.is_paused:
            assert state.pending == 0
            assert self.rig.opened.spool.next_replay("mixpanel") is None

    def note(self, call: Call, outcome: Outcome, *, is_replay: bool) -> None:
        """What this answer says."""
        events = [self.known[seq] for seq in seqs(call)]
        is_blaming = isinstance(outcome, Retry) and outcome.blames_content and outcome.after_seconds is None
        for event in events:
            event.is_blamed |= is_blaming
            if not (isinstance(outcome, Stop) or (isinstance(outcome, Retry) and not is_blaming)):
                event.is_cut = True
        now = self.clock.monotonic()
        match outcome:
            case Delivered():
                self.note_parts(call, outcome, is_replay=is_replay)
            case Retry(after_seconds=after) if after is not None:
                self.wait_until = max(self.wait_until, now + min(after, MAX_RETRY_AFTER_SECONDS))
            case Retry() if is_blaming:
                self.note_blame(events)
            case Split() if len(events) == 1 and self.state.retry.is_stopped:
                # Of one that was under way when the lane stopped it says nothing yet.
                events[0].refused = True
            case Split() if len(events) == 1:
                self.note_fate(seqs(call)[0], DEAD, is_replay=is_replay)
            case Stop():
                self.wait_until = max(self.wait_until, now + STOPPED_SECONDS)

    def note_parts(self, call: Call, outcome: Delivered, *, is_replay: bool) -> None:
        owners = [item.seq for item in call.owners()]
        dead = {owners[part.index] for part in outcome.dead}
        waits: dict[int, float] = {}
        for part in outcome.deferred:
            seq = owners[part.index]
            waits[seq] = max(waits.get(seq, 0.0), part.after_seconds)
        for seq in seqs(call):
            if seq in dead:
                self.note_fate(seq, DEAD, is_replay=is_replay)
            elif seq in waits:
                self.known[seq].not_before = self.clock.monotonic() + waits[seq]
                self.known[seq].may_be_aside |= waits[seq] > 0
            else:
                self.note_fate(seq, "delivered", is_replay=is_replay)
                self.delivered += 1

    def note_blame(self, events: list[Known]) -> None:
        for event in events:
            if len(events) == 1 and event.failed_at is not None and self.delivered > event.failed_at:
                event.lone_failures += 1
            event.failed_at = self.delivered
            event.may_be_aside |= len(events) == 1

    def note_fate(self, seq: int, fate: str, *, is_replay: bool) -> None:
        event = self.known[seq]
        if is_replay:
            self.replayed[seq] += 1
            return
        event.fate = fate
        event.confirmed |= fate == "delivered"
        event.refused |= fate == DEAD

    def hurry(self) -> None:
        """An operator said so: nobody waits any more."""
        self.is_hurried = False
        self.wait_until = 0.0
        for event in self.known.values():
            event.not_before = 0.0

    def take_back(self) -> None:
        """Refusals alike stopped the lane: it may ask once more."""
        for event in self.known.values():
            event.fate = "" if event.fate == DEAD else event.fate
        self.replayed.clear()
        self.status = self.look()

    def forget(self) -> None:
        """A new owner knows what is on disk."""
        self.flying.clear()
        self.replayed.clear()
        self.is_hurried = False
        retry = self.state.retry
        for seq, kind in self.look().items():
            event = self.known[seq]
            event.fate = ""
            event.may_be_aside = event.is_blamed = False
            if kind != DEFERRED:
                event.not_before = 0.0
        if not retry.failures or retry.is_stopped:
            self.wait_until = 0.0

    def drain(self) -> None:
        """The provider is well, and time passes: everything goes out."""
        self.say("resume")
        for _ in range(2_000):
            action = self.turn()
            if self.flying:
                self.reply(0, "o")
            elif isinstance(action, Wait) and action.seconds is None:
                break
            elif isinstance(action, Wait) and action.seconds is not None:
                self.pass_time(action.seconds)
        assert (self.state.pending, self.flying, self.rig.opened.spool.next_replay("mixpanel")) == (0, [], None)
        assert set(self.look().values()) <= {SETTLED, DEAD}
        self.the_tables_tell_what_was_answered()

    def teardown(self) -> None:
        with self.stack:
            self.stack.callback(self.rig.close)
            if sys.exception() is None:
                self.drain()


TestLane = LaneMachine.TestCase
TestLane.settings = settings(
    max_examples=70, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
