"""The store against a model of a few dicts, over random lives: I2 and what a lane sees, after each step.

The model has each event of a lane in exactly one set; the store must count, list and tell the same.
"""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from spoold.errors import LaneClosedError
from spoold.record import Event
from spoold.spool.values import Command, DeadLetter, ReplayPage, ReplayStep, Selection
from tests.support.clock import FakeClock, FakeEntropy
from tests.support.events import make_draft
from tests.support.spools import MIB, OpenSpool, open_spool
from tests.unit.spool.moves import make_deferred, move, terms
from tests.unit.spool.sets import ModelLane

LANES = ("a", "b", "c")
RETENTION_SECONDS = 20
USERS = ("u-0", "u-1", "u-2")

#: A step that finds nothing to act on is a step wasted: it names the n-th of what there is.
nth = st.integers(0, 5)
#: What becomes of events ahead, of events that stand aside, and how many dead letters are pending again.
fates_ahead = st.lists(
    st.sampled_from(["delivered", "filtered", "purged", "dead", "dead", "deferred", "deferred"]), max_size=9
)
fates_aside = st.lists(st.sampled_from(["delivered", "filtered", "dead", "deferred", "deferred"]), max_size=4)


@dataclass
class ModelReplay:
    """A replay: where it stands, and what the lane had ahead when it began."""

    lane: str
    is_dead: bool
    user_id: str
    cursor: int
    upto: int
    left_out: set[int]
    state: str = "running"
    sent: int = 0
    failed: int = 0
    revived: int = 0


class SpoolMachine(RuleBasedStateMachine):
    """Drives a real spool and the model side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.directory = Path(self.stack.enter_context(tempfile.TemporaryDirectory(dir=shared_memory())))
        self.clock = FakeClock()
        self.entropy = FakeEntropy()
        #: What is in the journal, by seq: id and name.
        self.journal: dict[int, tuple[bytes, str]] = {}
        #: When each event was received, and whose it is; of those forgotten too.
        self.received: dict[int, int] = {}
        self.users: dict[int, str] = {}
        self.lanes: dict[str, ModelLane] = {}
        self.replays: dict[int, ModelReplay] = {}
        self.duplicates = 0

    def start(self) -> None:
        self.life = ExitStack()
        self.opened: OpenSpool = self.life.enter_context(
            open_spool(self.directory, clock=self.clock, entropy=self.entropy, retention_seconds=RETENTION_SECONDS)
        )

    @initialize()
    def begin(self) -> None:
        """Two lanes that began at different events."""
        self.start()
        self.open_lane(0, earliest=True)
        self.append([1, None, None])
        self.open_lane(1, earliest=False)
        self.append([None, None, 2, None])

    @rule(chosen=st.lists(st.integers(0, 40) | st.none(), max_size=8))
    def append(self, chosen: list[int | None]) -> None:
        ids = [None if one is None else bytes([one]) * 16 for one in chosen]
        known = {event_id: seq for seq, (event_id, _) in self.journal.items()}
        names = [f"event {number}" for number in range(len(ids))]
        drafts = [make_draft(n, event_id=i, user_id=u) for n, i, u in zip(names, ids, USERS * 3, strict=False)]

        receipts = self.opened.append(drafts)

        for name, user, receipt in zip(names, USERS * 3, receipts, strict=False):
            assert receipt.duplicate == (receipt.event_id in known)
            if receipt.duplicate:
                assert receipt.seq == known[receipt.event_id]
                self.duplicates += 1
                continue
            assert receipt.seq == len(self.received) + 1
            known[receipt.event_id] = receipt.seq
            self.journal[receipt.seq] = (receipt.event_id, name)
            self.received[receipt.seq] = self.clock.wall_ms()
            self.users[receipt.seq] = user
            for lane in self.lanes.values():
                if not lane.is_closed:
                    lane.wanted.add(receipt.seq)

    @rule(which=st.integers(0, len(LANES) - 1), earliest=st.booleans())
    def open_lane(self, which: int, earliest: bool) -> None:  # noqa: FBT001
        name = LANES[which]
        self.opened.spool.open_lane(name, "mixpanel", "earliest" if earliest else "latest")
        lane = self.lanes.setdefault(name, ModelLane(wanted=set(self.journal) if earliest else set()))
        lane.is_closed = False

    @rule(which=nth)
    def close_lane(self, which: int) -> None:
        name, lane = self.nth_lane(which)
        self.opened.spool.close_lane(name)
        lane.is_closed = True

    @rule(which=nth, ahead=fates_ahead, aside=fates_aside, back=st.integers(0, 2))
    def settle(self, which: int, ahead: list[str], aside: list[str], back: int) -> None:
        name, lane = self.nth_lane(which)
        page = self.opened.spool.read(name, self.opened.lane(name).cursor, max_events=len(ahead) or 1, max_bytes=MIB)
        seqs = [event.seq for event in page.events][: len(ahead)]
        assert seqs == sorted(lane.wanted)[: len(seqs)]
        upto = page.after if ahead else self.opened.lane(name).cursor
        on_the_way = dict(zip(seqs, ahead, strict=False))
        beside = dict(zip(sorted(lane.fates["deferred"]), aside, strict=False))
        revived = sorted(lane.fates["dead"])[-back:] if back else []

        self.settle_as(name, upto, on_the_way, beside, revived)

        for seq, fate in [*on_the_way.items(), *beside.items(), *((seq, "deferred") for seq in revived)]:
            lane.put(seq, fate)
        if "delivered" in [*on_the_way.values(), *beside.values()]:
            lane.accepts_dead = False

    def settle_as(
        self, name: str, upto: int, on_the_way: dict[int, str], beside: dict[int, str], revived: list[int]
    ) -> None:
        """One settlement that says all this."""

        def having(fates: dict[int, str], *wanted: str) -> list[int]:
            return [seq for seq, fate in fates.items() if fate in wanted]

        letters = [*having(on_the_way, "dead"), *having(beside, "dead")]
        move(
            self.opened,
            name,
            upto,
            delivered=len(having(on_the_way, "delivered")),
            filtered=len(having(on_the_way, "filtered")),
            purged=len(having(on_the_way, "purged")),
            dead=[DeadLetter(seq, f"refused {seq}", 400, 2) for seq in letters],
            deferred=[
                make_deferred(seq) for seq in [*having(on_the_way, "deferred"), *having(beside, "deferred"), *revived]
            ],
            released=tuple(having(beside, "delivered", "filtered")),
            released_filtered=len(having(beside, "filtered")),
        )

    @rule(which=nth, word=st.sampled_from(["pause", "resume", "flush", "accept_dead"]))
    def command(self, which: int, word: Command) -> None:
        name, lane = self.nth_lane(which)
        if lane.is_closed:
            with pytest.raises(LaneClosedError):
                self.opened.spool.command(name, word)
            return
        self.opened.spool.command(name, word)
        lane.is_paused = word == "pause" or (word == "flush" and lane.is_paused)
        lane.accepts_dead |= word == "accept_dead"
        lane.flushes += word != "pause"

    @rule(
        which=nth, is_dead=st.booleans(), user=st.sampled_from(["", "", *USERS]), since=st.none() | st.integers(0, 30)
    )
    def start_replay(self, which: int, is_dead: bool, user: str, since: int | None) -> None:  # noqa: FBT001
        name, lane = self.nth_lane(which)
        since_ms = None if since is None else self.clock.wall_ms() - since * 1000
        selection = Selection(name, is_dead=is_dead, user_id=user, since_ms=since_ms)
        if lane.is_closed:
            with pytest.raises(LaneClosedError):
                self.opened.spool.start_replay(selection)
            return
        told = [event.seq for event in self.matching(selection)]
        replay = self.opened.spool.start_replay(selection)

        where = sorted(lane.fates["dead"] if is_dead else self.journal)
        first = next((seq for seq in where if is_dead or self.received[seq] >= (since_ms or 0)), None)
        upto = where[-1] if where else 0
        # What is dead and too young is passed over, event by event.
        left_out = set(lane.wanted) | {seq for seq in where if self.received[seq] < (since_ms or 0)}
        model = ModelReplay(name, is_dead, user, first - 1 if first else upto, upto, left_out)
        model.state = "running" if first else "done"
        self.replays[replay.id] = model
        assert replay.state == model.state
        sent, revived, _, _ = self.expected_page(model, 10**6)
        assert told == sorted([*sent, *revived])

    @precondition(lambda self: self.running)
    @rule(which=nth, limit=st.integers(1, 9), failed=st.integers(0, 2))
    def step_replay(self, which: int, limit: int, failed: int) -> None:
        number = self.running[which % len(self.running)]
        page = self.check_page(number, limit)
        self.advance(number, page, min(failed, len(page.events)))

    @precondition(lambda self: self.running)
    @rule(which=nth, is_under_way=st.booleans())
    def cancel_replay(self, which: int, is_under_way: bool) -> None:  # noqa: FBT001
        number = self.running[which % len(self.running)]
        page = self.opened.spool.read_replay(number, max_events=9)
        assert self.opened.spool.cancel_replay(number).state == "cancelled"
        self.replays[number].state = "cancelled"
        if is_under_way:
            self.advance(number, page, 0)

    @precondition(lambda self: len(self.running) < len(self.replays))
    @rule(which=nth)
    def cancel_one_that_ended(self, which: int) -> None:
        ended = [number for number in self.replays if number not in self.running]
        number = ended[which % len(ended)]
        assert self.opened.spool.cancel_replay(number).state == self.replays[number].state

    def check_page(self, number: int, limit: int) -> ReplayPage:
        page = self.opened.spool.read_replay(number, max_events=limit)
        sent, revived, upto, is_end = self.expected_page(self.replays[number], limit)
        assert [event.seq for event in page.events] == sent
        assert (page.revived, page.upto, page.is_end) == (revived, upto, is_end)
        return page

    def expected_page(self, model: ModelReplay, limit: int) -> tuple[list[int], list[int], int, bool]:
        lane = self.lanes[model.lane]
        where = lane.fates["dead"] if model.is_dead else self.journal
        seqs = [seq for seq in sorted(where) if model.cursor < seq <= model.upto][:limit]
        upto = seqs[-1] if len(seqs) == limit else model.upto
        meant = [seq for seq in seqs if seq not in model.left_out and model.user_id in {"", self.users[seq]}]
        revived = [seq for seq in meant if seq in lane.fates["dead"]]
        sent = [seq for seq in meant if seq not in lane.fates["dead"] and seq not in lane.fates["deferred"]]
        return sent, revived, upto, upto >= model.upto

    def advance(self, number: int, page: ReplayPage, failed: int) -> None:
        model = self.replays[number]
        step = ReplayStep(number, page.upto, len(page.events) - failed, failed, tuple(page.revived), page.is_end)
        move(self.opened, model.lane, replay=step, outcome="replay")
        model.cursor = page.upto
        model.sent += step.sent
        model.failed += failed
        if model.state == "running":
            for seq in page.revived:
                self.lanes[model.lane].put(seq, "deferred")
            model.revived += len(page.revived)
            model.state = "done" if page.is_end else "running"

    @rule(limit=st.integers(1, 12))
    def trim(self, limit: int) -> None:
        trimmed = self.opened.spool.trim(limit)

        before_ms = self.clock.wall_ms() - RETENTION_SECONDS * 1000
        running = [one.cursor for one in self.replays.values() if one.state == "running" and not one.is_dead]
        gone: list[int] = []
        for seq in sorted(self.journal)[:limit]:
            if seq in self.ahead or self.received[seq] >= before_ms or seq > min(running, default=seq):
                break
            gone.append(seq)
        assert trimmed == len(gone)
        for seq in gone:
            del self.journal[seq]

    @rule(seconds=st.sampled_from([1, RETENTION_SECONDS, RETENTION_SECONDS + 1]))
    def wait(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @rule()
    def restart(self) -> None:
        self.life.close()
        self.start()

    @invariant()
    def every_lane_balances_and_sees_what_it_wants(self) -> None:
        spool = self.opened.spool
        assert [state.name for state in spool.lanes()] == sorted(self.lanes)
        for state in spool.lanes():
            lane = self.lanes[state.name]
            assert terms(self.opened, state.name) == lane.terms
            assert (state.is_closed, state.is_paused) == (lane.is_closed, lane.is_paused)
            assert (state.accepts_dead, state.flushes) == (lane.accepts_dead, lane.flushes)
            assert self.seen(state.name) == [(seq, self.journal[seq][1]) for seq in sorted(lane.wanted)]
            deferred = sorted(lane.fates["deferred"])
            assert [one.seq for one in spool.deferred(state.name)] == deferred
            assert [event.seq for event in spool.read_deferred(state.name, deferred)] == deferred
            letters = spool.dead(state.name, after=0, max_events=1000)
            assert [letter.event.seq for letter in letters] == sorted(lane.fates["dead"])
            assert spool.oldest_pending_at_ms(state.name) == self.oldest(lane.wanted | lane.fates["deferred"])

    @invariant()
    def the_spool_counts_right(self) -> None:
        stats = self.opened.spool.stats()
        pending = self.ahead.union(*(lane.fates["deferred"] for lane in self.lanes.values()))
        assert (stats.accepted, stats.duplicates) == (len(self.received), self.duplicates)
        assert (stats.pending, stats.retained) == (len(pending), len(self.journal.keys() - self.ahead))
        assert stats.oldest_pending_at_ms == self.oldest(pending)
        assert self.ahead <= self.journal.keys()

    @invariant()
    def the_tables_tell_the_same(self) -> None:
        rows = self.opened.rows
        assert [seq for (seq,) in rows("SELECT _id FROM queue_journal ORDER BY _id")] == sorted(self.journal)
        assert {seq for (seq,) in rows("SELECT seq FROM caller_id")} <= self.journal.keys()
        for seq in (min(self.journal, default=None), max(self.journal, default=None)):
            if seq is not None:
                story = self.opened.spool.find(self.journal[seq][0])
                assert story is not None
                told = {fate.lane: fate.fate for fate in story.lanes}
                assert told == {name: lane.fate(seq) for name, lane in self.lanes.items()}

    @invariant()
    def every_replay_is_where_it_should_be(self) -> None:
        told = [
            (replay.id, replay.selection.lane, replay.state, replay.sent, replay.failed, replay.revived)
            for replay in reversed(self.opened.spool.replays())
        ]
        assert told == [
            (number, model.lane, model.state, model.sent, model.failed, model.revived)
            for number, model in self.replays.items()
        ]
        for name in self.lanes:
            following = self.opened.spool.next_replay(name)
            expected = [number for number in self.running if self.replays[number].lane == name]
            assert (following and following.id) == min(expected, default=None)

    @property
    def running(self) -> list[int]:
        """The replays that are not over."""
        return [number for number, model in self.replays.items() if model.state == "running"]

    def nth_lane(self, which: int) -> tuple[str, ModelLane]:
        return sorted(self.lanes.items())[which % len(self.lanes)]

    @property
    def ahead(self) -> set[int]:
        """What some lane has ahead."""
        return set().union(*(lane.wanted for lane in self.lanes.values()))

    def oldest(self, seqs: Iterable[int]) -> int | None:
        return min((self.received[seq] for seq in seqs), default=None)

    def matching(self, selection: Selection) -> Iterator[Event]:
        after, is_end = None, False
        while not is_end:
            matches = self.opened.spool.matches(selection, after, max_events=4)
            yield from (event for event in matches.events if isinstance(event, Event))
            after, is_end = matches.after, matches.is_end

    def seen(self, name: str) -> list[tuple[int, str]]:
        return [(event.seq, event.event_name) for event in self.way(name)]

    def way(self, name: str) -> Iterator[Event]:
        after, is_end = self.opened.lane(name).cursor, False
        while not is_end:
            page = self.opened.spool.read(name, after, max_events=5, max_bytes=MIB)
            yield from (event for event in page.events if isinstance(event, Event))
            after, is_end = page.after, page.is_end

    def teardown(self) -> None:
        self.life.close()
        self.stack.close()


def shared_memory() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


TestSpool = SpoolMachine.TestCase
TestSpool.settings = settings(
    max_examples=80, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
