"""What was accepted is counted by hour and name, from what the journal still holds."""

from collections import Counter

from spoold.spool.balance import TallyGroup, TallyPosition
from tests.support.clock import START_MS, FakeClock
from tests.support.events import make_draft, make_identify_draft
from tests.support.spools import OpenSpool

HOUR_MS = 3_600_000
FIRST_MS = START_MS - START_MS % HOUR_MS


def tally(
    spool: OpenSpool, since_ms: int | None = None, until_ms: int | None = None, max_events: int = 1000
) -> Counter[TallyGroup]:
    counts, progress = Counter[TallyGroup](), 0.0
    position: TallyPosition | None = None
    while True:
        page = spool.spool.tally(since_ms, until_ms, position, max_events=max_events)
        assert sum(page.counts.values()) <= max_events
        assert progress <= page.progress <= 1
        counts, position, progress = counts + Counter(page.counts), page.position, page.progress
        if position is None:
            return counts


def fill(spool: OpenSpool, clock: FakeClock) -> None:
    for names in (("Paid", "Paid", "Sent"), ("Paid",), ()):
        for draft in (*map(make_draft, names), make_identify_draft()):
            spool.append([draft])
            clock.advance(1)
        clock.advance(3600 - len(names) - 1)


def test_events_are_counted_by_hour_type_and_name(spool: OpenSpool, clock: FakeClock) -> None:
    fill(spool, clock)
    wanted = {
        TallyGroup(FIRST_MS, "track", "Paid"): 2,
        TallyGroup(FIRST_MS, "track", "Sent"): 1,
        TallyGroup(FIRST_MS, "identify", ""): 1,
        TallyGroup(FIRST_MS + HOUR_MS, "track", "Paid"): 1,
        TallyGroup(FIRST_MS + HOUR_MS, "identify", ""): 1,
        TallyGroup(FIRST_MS + 2 * HOUR_MS, "identify", ""): 1,
    }

    assert tally(spool) == wanted
    assert tally(spool, max_events=1) == tally(spool, max_events=7) == wanted


def test_only_what_was_accepted_in_a_time_is_counted(spool: OpenSpool, clock: FakeClock) -> None:
    fill(spool, clock)

    assert sum(tally(spool, since_ms=START_MS + HOUR_MS).values()) == 3
    assert sum(tally(spool, since_ms=START_MS + 1, until_ms=START_MS + 2 * HOUR_MS).values()) == 5
    assert sum(tally(spool, until_ms=START_MS + 1).values()) == 1
    assert not tally(spool, since_ms=START_MS + 9 * HOUR_MS)
    assert not tally(spool, until_ms=START_MS)


def test_a_spool_without_events_has_none(spool: OpenSpool) -> None:
    assert not tally(spool)


def test_what_comes_while_it_counts_is_left_out(spool: OpenSpool, clock: FakeClock) -> None:
    fill(spool, clock)
    page = spool.spool.tally(None, None, None, max_events=4)
    spool.append([make_draft("Late")] * 3)

    rest = spool.spool.tally(None, None, page.position, max_events=1000)

    assert (sum(rest.counts.values()), rest.position) == (3, None)


def test_a_damaged_event_is_counted_without_a_name(spool: OpenSpool) -> None:
    spool.append([make_draft("Paid")])
    spool.store.connection.execute("UPDATE queue_journal SET data = zeroblob(length(data))")

    assert tally(spool) == {TallyGroup(FIRST_MS, "damaged", ""): 1}
