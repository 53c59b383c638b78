"""A spool with every fate in it, and what a lane does with a replay."""

from typing import Any

from spoold.spool.values import Replay, ReplayStep, Selection
from tests.support.clock import START_MS, FakeClock
from tests.support.events import make_draft
from tests.support.spools import OpenSpool
from tests.unit.spool.moves import move, terms

LANE = "l"
#: In ``mixed``: what the lane had, what it missed, and what was there before it.
AHEAD, DEFERRED, DEAD = {10, 13}, {7}, {6}
ALL = set(range(1, 14))
TO_SEND = ALL - AHEAD - DEFERRED - DEAD
COUNTED = (1, 1, 1, 1, 1, 3)


def fill(spool: OpenSpool, clock: FakeClock) -> None:
    def append(count: int) -> None:
        for _ in range(count):
            seq = spool.store.state.spool.last_seq + 1
            event_id = bytes([seq]) * 16 if seq % 2 else None
            spool.append([make_draft("Odd" if seq % 2 else "Even", event_id=event_id, user_id=f"u-{seq % 3}")])
            clock.advance(10)

    append(4)
    spool.spool.open_lane(LANE, "webhook", "latest")
    append(5)
    move(spool, LANE, 9, delivered=1, dead=[6], deferred=[7], filtered=1, purged=1)
    append(1)
    spool.spool.close_lane(LANE)
    append(2)
    spool.spool.open_lane(LANE, "webhook", "latest")
    append(1)
    assert terms(spool, LANE) == COUNTED


def at(seq: int) -> int:
    """When the event of ``mixed`` was received."""
    return START_MS + (seq - 1) * 10_000


def ids(spool: OpenSpool, *seqs: int) -> tuple[bytes, ...]:
    """The ids of these."""
    return tuple(spool.rows("SELECT substr(data, 3, 16) FROM queue_journal WHERE _id = ?", seq)[0][0] for seq in seqs)


def start(spool: OpenSpool, **conditions: Any) -> Replay:
    return spool.spool.start_replay(Selection(**{"lane": LANE, **conditions}))


def state(spool: OpenSpool, number: int) -> Replay:
    return next(replay for replay in spool.spool.replays() if replay.id == number)


def step(spool: OpenSpool, number: int, max_events: int = 1000) -> tuple[list[int], list[int]]:
    """What a lane does: read a page, send it, settle. What was sent, and what was revived."""
    page = spool.spool.read_replay(number, max_events=max_events)
    assert len(page.events) + len(page.revived) <= max_events
    done = ReplayStep(number, page.upto, len(page.events), 0, tuple(page.revived), page.is_end)
    move(spool, state(spool, number).selection.lane, replay=done, outcome="replay")
    return [event.seq for event in page.events], page.revived


def run(spool: OpenSpool, number: int, max_events: int = 1000) -> tuple[list[int], list[int]]:
    """All pages."""
    sent, revived, progress = list[int](), list[int](), 0.0
    while state(spool, number).state == "running":
        more_sent, more_revived = step(spool, number, max_events)
        sent, revived = sent + more_sent, revived + more_revived
        now = state(spool, number).progress
        assert progress <= now <= 1
        progress = now
    ended = state(spool, number)
    assert (ended.state, ended.progress, ended.sent, ended.revived) == ("done", 1, len(sent), len(revived))
    return sent, revived
