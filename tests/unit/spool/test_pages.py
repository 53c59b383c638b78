"""A page is bounded by bytes and by events, is never empty while something is left, and says when nothing is."""

from itertools import accumulate

import pytest

from spoold.spool.values import Page
from tests.support.events import make_drafts
from tests.support.spools import MIB, OpenSpool


def read(spool: OpenSpool, lane: str, after: int, **bounds: int) -> Page:
    return spool.spool.read(lane, after, **{"max_events": 100, "max_bytes": MIB, **bounds})


def seqs(page: Page) -> list[int]:
    return [event.seq for event in page.events]


def sums(spool: OpenSpool) -> list[int]:
    """Bytes of the first record, of the first two, and so on."""
    rows = spool.rows("SELECT length(data) FROM queue_journal ORDER BY _id")
    return list(accumulate(size for (size,) in rows))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_a_page_holds_what_its_bytes_allow_and_no_more(spool: OpenSpool, lane: str, count: int) -> None:
    spool.append(make_drafts(5))
    exactly = sums(spool)[count - 1]

    assert seqs(read(spool, lane, 0, max_bytes=exactly)) == [1, 2, 3, 4, 5][:count]
    assert seqs(read(spool, lane, 0, max_bytes=exactly - 1)) == [1, 2, 3, 4, 5][: max(1, count - 1)]


def test_a_page_that_its_bytes_cut_is_not_the_end(spool: OpenSpool, lane: str) -> None:
    spool.append(make_drafts(5))

    page = read(spool, lane, 0, max_bytes=sums(spool)[2])

    assert (page.after, page.is_end) == (3, False)
    assert read(spool, lane, 3)[1:] == (5, True)


def test_a_page_that_its_bytes_just_hold_is_the_end(spool: OpenSpool, lane: str) -> None:
    spool.append(make_drafts(5))

    assert read(spool, lane, 0, max_bytes=sums(spool)[-1])[1:] == (5, True)


def test_an_event_larger_than_a_page_is_a_page_of_its_own(spool: OpenSpool, lane: str) -> None:
    spool.append(make_drafts(2))

    assert [seqs(read(spool, lane, after, max_bytes=1)) for after in (0, 1, 2)] == [[1], [2], []]


def test_a_page_that_its_events_fill_may_not_be_the_end(spool: OpenSpool, lane: str) -> None:
    spool.append(make_drafts(3))

    page = read(spool, lane, 0, max_events=3)

    assert (seqs(page), page.after, page.is_end) == ([1, 2, 3], 3, False)
    assert read(spool, lane, 3)[1:] == (3, True)
