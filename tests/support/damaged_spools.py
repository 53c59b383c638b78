"""A spool with known events, damaged in some way, and the oracles over what a daemon makes of it."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spoold.errors import (
    SpoolCorruptError,
    SpoolError,
    SpoolFailedError,
    SpoolUnreadableError,
    SpoolVersionError,
)
from spoold.record import DamagedEvent, Event
from spoold.spool.quarantine import mark_damaged
from tests.support.events import make_big_drafts, make_draft, make_drafts
from tests.support.spools import MIB, OpenSpool, open_spool
from tests.unit.spool.moves import move
from tests.unit.spool.salvaging import Recovered, copy_as_killed, recover

#: The events of one page, the most that one bit can cost.
_PAGE_EVENTS = 90
#: What a start may refuse in a spool whose bits have turned over, with the part that did: nothing is changed then.
_REFUSALS: dict[type[SpoolError], str] = {
    SpoolVersionError: "has format",
    SpoolUnreadableError: "another program's database",
    SpoolFailedError: "not as this version made them",
}


class Known:
    """A spool with known events, as a process that was killed leaves it, or one that was stopped."""

    def __init__(self, home: Path) -> None:
        (home / "live").mkdir()
        with open_spool(home / "live") as opened:
            for lane in ("a", "b"):
                opened.spool.open_lane(lane, "mixpanel", "earliest")
            for number in range(8):
                opened.append(make_drafts(40, f"Event {number}"))
            opened.append([make_draft(event_id=b"\x07" * 16, caller_id="order-81"), *make_big_drafts(4, 9_000)])
            move(opened, "a", 40, dead=[7], deferred=[11], delivered=38)
            opened.store.checkpoint()
            for number in range(30):
                opened.append(make_drafts(2, f"Late {number}"))
            move(opened, "b", 20, delivered=20)
            self.events = dict(events_of(opened, "b", after=0))
            self.killed = copy_as_killed(opened, home / "killed")
        shutil.rmtree(home / "live")
        self.stopped = home / "stopped"
        shutil.copytree(self.killed, self.stopped)
        with open_spool(self.stopped):
            pass

    def wanted(self, lane: str) -> set[str]:
        """Which events the lane has pending, and may not lose."""
        ids = list(self.events)
        return {ids[10], *ids[40:]} if lane == "a" else set(ids[20:])


def events_of(opened: OpenSpool, lane: str, *, after: int | None = None) -> Iterator[tuple[str, Event]]:
    """What would be delivered, by id."""
    found = read_all(opened, lane, after)
    return ((event.event_id, event) for event in found if isinstance(event, Event))


def read_all(opened: OpenSpool, lane: str, after: int | None = None) -> Iterator[Event | DamagedEvent]:
    """What the lane finds ahead and aside."""
    state = opened.lane(lane)
    at = state.cursor if after is None else after
    while True:
        page = opened.spool.read(lane, at, max_events=500, max_bytes=64 * MIB)
        yield from page.events
        if page.is_end:
            break
        at = page.after
    yield from opened.spool.read_deferred(lane, [one.seq for one in opened.spool.deferred(lane)])


def live_on(directory: Path) -> Recovered:
    """Starts as the daemon does, and starts again where SQLite stumbles later on; everything is salvaged in the end."""
    for _ in range(3):
        opened = recover(directory)
        try:
            opened.salvage()
            for lane in ("a", "b"):
                list(events_of(opened, lane))
                opened.spool.dead(lane, after=0, max_events=1000)
            opened.spool.stats()
        except SpoolCorruptError as exc:
            mark_damaged(directory, str(exc))
            opened.spool.close()
            continue
        return opened
    raise AssertionError("a new spool is damaged too")


def check(
    known: Known, opened: Recovered, told: str, *, most_lost: int = _PAGE_EVENTS, may_be_silent: bool = False
) -> str:
    """The oracles; returns what became of it.

    Args:
        may_be_silent: Nobody can notice what is lost.
    """
    lost = 0
    for lane in ("a", "b"):
        found = dict(events_of(opened, lane))
        for event_id, event in found.items():
            assert event_id in known.events, f"{told}: an event that nobody sent"
            event.seq = known.events[event_id].seq
            assert event == known.events[event_id], f"{told}: altered"
        lost = max(lost, len(known.wanted(lane) - found.keys()))
    assert lost <= most_lost, f"{told}: {lost} lost"
    moved = [salvage.reason for salvage in opened.spool.salvages()]
    damaged = any(isinstance(event, DamagedEvent) for lane in ("a", "b") for event in read_all(opened, lane))
    if lost and not (moved or damaged or may_be_silent):
        # No checksum covers a lane's cursor, but its counters say something else.
        assert not is_balanced(opened), f"{told}: {lost} lost, and nobody noticed"
        return "audited"
    return "moved" if moved else "damaged" if damaged else "unharmed"


def check_life(known: Known, directory: Path, told: str, **allowed: Any) -> str:
    """Whatever a start does, it is one of these."""
    try:
        opened = live_on(directory)
    except tuple(_REFUSALS) as exc:
        if _REFUSALS[type(exc)] not in str(exc):
            raise AssertionError(f"{told}: refused without a reason") from exc
        return "refused"
    try:
        return check(known, opened, told, **allowed)
    finally:
        opened.spool.close()


def is_balanced(opened: Recovered) -> bool:
    """Whether the audit says that everything balances."""
    position = None
    while True:
        step = opened.spool.audit(position, max_rows=1000)
        if step.audit is not None:
            return step.audit.is_ok
        position = step.position
