"""An audit whose pages lie at different commits is exact: in seeded storms it never sees an imbalance.

Lanes lag, close and come back, dead letters are buried and revived, and trimming is never far behind.
"""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from spoold.spool.balance import Audit, AuditPosition
from spoold.spool.values import ReplayStep, Selection
from tests.support.clock import FakeClock
from tests.support.events import make_drafts
from tests.support.spools import MIB, OpenSpool, open_spool
from tests.unit.spool.moves import make_deferred, move, terms

LANES = ("brisk", "lame", "lazy")
STEPS = 1_500


class Storm:
    """What happens to a spool between two pages, by a seed."""

    def __init__(self, opened: OpenSpool, seed: int) -> None:
        self.opened = opened
        self.rng = random.Random(seed)
        self.acts: list[Callable[[], None]] = [
            *[self.append] * 3, *[self.settle] * 6, *[self.trim] * 3, *[self.attend] * 2, self.reopen, self.replay,
        ]  # fmt: skip

    def act(self) -> None:
        self.rng.choice(self.acts)()

    def lane(self) -> str:
        # The first is busy, the last seldom.
        return self.rng.choices(LANES, (8, 3, 2))[0]

    def append(self) -> None:
        self.opened.append(make_drafts(self.rng.randrange(1, 7)))

    def settle(self) -> None:
        name = self.lane()
        page = self.opened.spool.read(
            name, self.opened.lane(name).cursor, max_events=self.rng.randrange(1, 24), max_bytes=MIB
        )
        seqs: dict[str, list[int]] = {fate: [] for fate in ("delivered", "filtered", "purged", "dead", "deferred")}
        for event in page.events:
            seqs[self.rng.choices(list(seqs), (6, 1, 1, 2, 2))[0]].append(event.seq)
        # What moves nothing is in the ledger too.
        upto = page.after if page.events or self.rng.random() < 0.5 else self.opened.lane(name).cursor
        counts = {fate: len(seqs[fate]) for fate in ("delivered", "filtered", "purged")}
        move(self.opened, name, upto, dead=seqs["dead"], deferred=seqs["deferred"], **counts)

    def attend(self) -> None:
        """Some that stand aside are taken, some given up, some put off anew; and a dead letter comes back."""
        name = self.lane()
        fates: dict[str, list[int]] = {"released": [], "dead": [], "deferred": []}
        for one in self.opened.spool.deferred(name)[: self.rng.randrange(1, 12)]:
            self.rng.choice(list(fates.values())).append(one.seq)
        dead = self.opened.spool.dead(name, after=self.rng.randrange(1 + self.opened.lane(name).cursor), max_events=2)
        back = [make_deferred(seq) for seq in [*fates["deferred"], *(letter.event.seq for letter in dead)]]
        move(self.opened, name, dead=fates["dead"], deferred=back, released=tuple(fates["released"]))

    def reopen(self) -> None:
        name = self.lane()
        if self.opened.lane(name).is_closed:
            self.opened.spool.open_lane(name, "mixpanel", "latest")
        else:
            self.opened.spool.close_lane(name)

    def replay(self) -> None:
        name = self.lane()
        if self.opened.lane(name).is_closed:
            return
        replay = self.opened.spool.start_replay(Selection(name, is_dead=self.rng.random() < 0.7))
        while replay.state == "running" and self.rng.random() < 0.8:
            page = self.opened.spool.read_replay(replay.id, max_events=5)
            step = ReplayStep(replay.id, page.upto, len(page.events), 0, tuple(page.revived), page.is_end)
            move(self.opened, name, replay=step, outcome="replay")
            if page.is_end:
                return
        self.opened.spool.cancel_replay(replay.id)

    def trim(self) -> None:
        self.opened.spool.trim(self.rng.choice([1, 3, 9, 30]))


def ride_out(opened: OpenSpool, clock: FakeClock, seed: int) -> list[Audit]:
    """One storm; returns the audits that came to their ends in it."""
    storm, audits, position = Storm(opened, seed), list[Audit](), None
    for name in LANES:
        opened.spool.open_lane(name, "mixpanel", "latest")
    opened.append(make_drafts(30))
    max_rows = storm.rng.choice([2, 5, 11])
    for _ in range(STEPS):
        position = page(opened, position, max_rows, audits)
        for _ in range(storm.rng.choice([0, 0, 1, 3])):
            storm.act()
            clock.advance(0.25)
    return audits


def page(opened: OpenSpool, position: AuditPosition | None, max_rows: int, audits: list[Audit]) -> AuditPosition | None:
    position, _, audit = opened.spool.audit(position, max_rows=max_rows)
    if audit is not None:
        audits.append(audit)
        assert audit.is_ok, [str(one) for one in audit.imbalances]
        for lane in audit.lanes:
            delivered, dead, filtered, purged, _, pending = terms(opened, lane.name)
            assert lane[2:] == (delivered, dead, filtered, purged, pending)
            assert lane.balance == 0
    return position


@pytest.mark.parametrize("seed", range(8))
def test_no_imbalance_is_seen_in_a_storm(state_dir: Path, clock: FakeClock, seed: int) -> None:
    retention_seconds = [0, 5, 20, 60][seed % 4]
    with open_spool(state_dir, clock=clock, retention_seconds=retention_seconds) as opened:
        audits = ride_out(opened, clock, seed)

    assert len(audits) > 5
