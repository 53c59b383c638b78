"""The store against a model of a few dicts, over random lives: I2 and what a lane sees, after each step."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from spoold.record import Event
from spoold.spool.values import Lease
from tests.support.clock import FakeClock, FakeEntropy
from tests.support.events import make_draft
from tests.support.spools import MIB, OpenSpool, open_spool

LANES = ("a", "b", "c")
RETENTION_SECONDS = 20

lanes = st.sampled_from(LANES)


@dataclass
class ModelLane:
    """A lane as a reader of the manual would picture it.

    Attributes:
        wanted: Seqs that it accepted and has not settled.
        ledger: Settlements still in the ledger: the new cursor, delivered, dead, filtered.
    """

    is_closed: bool = False
    accepted: int = 0
    wanted: list[int] = field(default_factory=list)
    delivered: int = 0
    dead: int = 0
    filtered: int = 0
    lease: Lease | None = None


class SpoolMachine(RuleBasedStateMachine):
    """Drives a real spool and the model side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.directory = Path(self.stack.enter_context(tempfile.TemporaryDirectory(dir=shared_memory())))
        self.clock = FakeClock()
        self.entropy = FakeEntropy()
        self.journal: dict[int, tuple[bytes, int, str]] = {}
        self.lanes: dict[str, ModelLane] = {}
        self.accepted = 0
        self.duplicates = 0
        self.last_seq = 0
        self.dead: set[tuple[str, int]] = set()

    @initialize()
    def start(self) -> None:
        self.life = ExitStack()
        self.opened: OpenSpool = self.life.enter_context(
            open_spool(self.directory, clock=self.clock, entropy=self.entropy, retention_seconds=RETENTION_SECONDS)
        )

    @rule(chosen=st.lists(st.integers(0, 40) | st.none(), max_size=8))
    def append(self, chosen: list[int | None]) -> None:
        ids = [None if one is None else bytes([one]) * 16 for one in chosen]
        known = {event_id: seq for seq, (event_id, _, _) in self.journal.items()}
        names = [f"event {self.accepted + number}" for number in range(len(ids))]

        receipts = self.opened.append([make_draft(n, event_id=i) for n, i in zip(names, ids, strict=True)])

        for event_id, name, receipt in zip(ids, names, receipts, strict=True):
            assert receipt.duplicate == (event_id in known)
            if receipt.duplicate:
                assert event_id is not None
                assert receipt.seq == known[event_id]
                self.duplicates += 1
                continue
            self.last_seq += 1
            self.accepted += 1
            assert receipt.seq == self.last_seq
            known[receipt.event_id] = receipt.seq
            self.journal[receipt.seq] = (receipt.event_id, self.clock.wall_ms(), name)
            for lane in self.lanes.values():
                if not lane.is_closed:
                    lane.accepted += 1
                    lane.wanted.append(receipt.seq)

    @rule(name=lanes, earliest=st.booleans())
    def open_lane(self, name: str, earliest: bool) -> None:  # noqa: FBT001
        self.opened.spool.open_lane(name, "mixpanel", "earliest" if earliest else "latest")
        lane = self.lanes.get(name)
        if lane is None:
            wanted = sorted(self.journal) if earliest else []
            self.lanes[name] = ModelLane(accepted=len(wanted), wanted=wanted)
        else:
            lane.is_closed = False

    @rule(name=lanes)
    def close_lane(self, name: str) -> None:
        if name in self.lanes:
            self.opened.spool.close_lane(name)
            self.lanes[name].is_closed = True

    @rule(name=lanes, limit=st.integers(1, 9), dead_share=st.integers(0, 3), filter_share=st.integers(0, 3))
    def settle(self, name: str, limit: int, dead_share: int, filter_share: int) -> None:
        lane = self.lanes.get(name)
        if lane is None:
            return
        state = self.opened.lane(name)
        page = self.opened.spool.read(name, state.cursor, max_events=limit, max_bytes=MIB)
        seqs = [event.seq for event in page.events]
        assert seqs == lane.wanted[: len(seqs)]
        dead = seqs[: len(seqs) * dead_share // 4]
        filtered = (len(seqs) - len(dead)) * filter_share // 4
        lane.lease = lane.lease or self.opened.spool.claim(name)
        delivered = len(seqs) - len(dead) - filtered
        self.opened.settle(lane.lease, page.after, dead=dead, delivered=delivered, filtered=filtered)
        lane.wanted = lane.wanted[len(seqs) :]
        lane.delivered += delivered
        lane.filtered += filtered
        lane.dead += len(dead)
        self.dead |= {(name, seq) for seq in dead}

    @rule(limit=st.integers(1, 12))
    def trim(self, limit: int) -> None:
        trimmed = self.opened.spool.trim(limit)

        wanted = set().union(*(lane.wanted for lane in self.lanes.values()))
        before_ms = self.clock.wall_ms() - RETENTION_SECONDS * 1000
        gone: list[int] = []
        for seq in sorted(self.journal)[:limit]:
            if seq in wanted or self.journal[seq][1] >= before_ms:
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
        for lane in self.lanes.values():
            lane.lease = None
        self.start()

    @invariant()
    def every_lane_balances_and_sees_what_it_wants(self) -> None:
        for state in self.opened.spool.lanes():
            lane = self.lanes[state.name]
            assert (state.accepted, state.pending) == (lane.accepted, len(lane.wanted))
            assert (state.delivered, state.dead, state.filtered) == (lane.delivered, lane.dead, lane.filtered)
            assert state.accepted == state.delivered + state.dead + state.filtered + state.purged + state.pending
            assert state.is_closed == lane.is_closed
            assert self.seen(state.name) == [(seq, self.journal[seq][2]) for seq in lane.wanted]
            oldest = self.opened.spool.oldest_pending_at_ms(state.name)
            assert oldest == (self.journal[lane.wanted[0]][1] if lane.wanted else None)

    @invariant()
    def the_spool_counts_right(self) -> None:
        stats = self.opened.spool.stats()
        wanted = set().union(*(lane.wanted for lane in self.lanes.values()))
        assert (stats.accepted, stats.duplicates) == (self.accepted, self.duplicates)
        assert (stats.pending, stats.retained) == (len(wanted), len(self.journal) - len(wanted))
        assert stats.oldest_pending_at_ms == (self.journal[min(wanted)][1] if wanted else None)
        assert wanted <= self.journal.keys()

    @invariant()
    def the_tables_tell_the_same(self) -> None:
        rows = self.opened.rows
        assert [seq for (seq,) in rows("SELECT _id FROM queue_journal ORDER BY _id")] == sorted(self.journal)
        assert set(rows("SELECT lane, seq FROM set_aside")) == self.dead
        assert {seq for (seq,) in rows("SELECT seq FROM caller_id")} <= self.journal.keys()
        told = rows(
            "SELECT name, base_delivered + total(l.delivered), base_dead + total(l.dead),"
            " base_filtered + total(l.filtered) FROM lane LEFT JOIN ledger l ON l.lane = name GROUP BY name"
        )
        assert told == [(name, lane.delivered, lane.dead, lane.filtered) for name, lane in sorted(self.lanes.items())]

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
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
