"""A batch on its way: calls within a provider's limits, and the longest stretch that can be settled."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoold.delivery.batch import Batch, Call, Item, next_call
from spoold.delivery.feed import encode_all, fill
from spoold.delivery.filter import EventFilter
from spoold.providers.base import Encoded, Limits
from spoold.record import DamagedEvent, Event
from spoold.spool.values import DeadLetter
from tests.support.events import make_event, make_identify
from tests.support.lanes import PlainProvider, seqs


class Multiplying(PlainProvider):
    """As many JSON records for an event as its name says."""

    def encode(self, event: Event) -> Encoded:
        return Encoded("events", (b"{}",) * int(event.event_name))


def plan(
    provider: PlainProvider, after: int, upto: int, events: Sequence[Event | DamagedEvent], cap: int | None
) -> Batch:
    """A stretch of the journal as a batch."""
    batch = Batch(after, upto, [event.seq for event in events])
    fill(batch, encode_all(provider, EventFilter(exclude=["hidden"]), events), provider.routes, cap)
    return batch


def call_of(*parts: int) -> Call:
    """A call whose events have so many JSON records each."""
    return Call("events", tuple(Item(seq, "", (b"{}",) * count) for seq, count in enumerate(parts, 1)))


def test_parts_belong_to_their_events_in_order() -> None:
    call = call_of(1, 3, 2)

    assert [item.seq for item in call.owners()] == [1, 2, 2, 2, 3, 3]
    assert len(call.parts) == 6


def test_a_call_is_cut_between_events() -> None:
    head, tail = call_of(1, 3, 2).cut(2)

    assert (seqs(head), seqs(tail)) == ([1, 2], [3])


def test_the_records_of_one_event_stay_in_one_request() -> None:
    events = [make_event(seq=seq, event_name=name) for seq, name in enumerate("3231141", 1)]

    batch = plan(Multiplying(max_parts=5), 0, 7, events, None)

    assert [seqs(call) for call in batch.calls] == [[1, 2], [3, 4, 5], [6, 7]]


@given(st.lists(st.integers(1, 900), min_size=1, max_size=60), st.integers(1, 20), st.integers(100, 3000))
def test_calls_keep_order_and_limits_whatever_the_sizes(sizes: list[int], max_parts: int, max_bytes: int) -> None:
    events = [make_event(seq=seq, properties={"text": "x" * size}) for seq, size in enumerate(sizes, 1)]
    provider = PlainProvider(max_parts, max_bytes)

    batch = plan(provider, 0, len(sizes), events, None)

    assert [seq for call in batch.calls for seq in seqs(call)] == [*range(1, len(sizes) + 1)]
    for call in batch.calls:
        body = b"[" + b",".join(call.parts) + b"]"
        assert len(call.items) == 1 or (len(call.parts) <= max_parts and len(body) <= max_bytes)


def test_a_cap_that_was_learnt_is_kept_but_never_raises_the_providers_own() -> None:
    events = [make_event(seq=seq, properties={"text": "x" * 900}) for seq in range(1, 9)]

    counts = [
        len(plan(PlainProvider(max_body_bytes=4000), 0, 8, events, cap).calls) for cap in (None, 1024, 2500, 10**9)
    ]

    assert counts == [2, 8, 4, 2]


def test_what_can_not_be_sent_is_known_at_once() -> None:
    damaged = DamagedEvent(3, b"", "checksum")
    good = [make_event(seq=1), make_event(seq=2, event_name="unsendable")]
    hidden = make_event(seq=4, event_name="hidden")
    events: list[Event | DamagedEvent] = [*good, damaged, hidden, make_identify(seq=5)]

    batch = plan(PlainProvider(), 0, 5, events, None)

    assert [(call.route, seqs(call)) for call in batch.calls] == [("events", [1]), ("profiles", [5])]
    batch.resolve(1, "delivered")
    after, upto, fates = batch.take_settleable()
    assert (after, upto) == (0, 4)
    assert fates == [
        (1, "delivered"),
        (2, DeadLetter(2, "unsendable: it has no user", None, 0)),
        (3, DeadLetter(3, "damaged", None, 0)),
        (4, "filtered"),
    ]


@pytest.mark.parametrize(
    ("known", "stretch", "count"),
    [([], (10, 10), 0), ([13], (10, 10), 0), ([11], (10, 11), 1), ([11, 12, 15], (10, 12), 2), ([12, 11], (10, 12), 2)],
)
def test_only_a_stretch_from_the_start_can_be_settled(known: list[int], stretch: tuple[int, int], count: int) -> None:
    batch = Batch(10, 15, [11, 12, 13, 15])
    for seq in known:
        batch.resolve(seq, "delivered")

    assert batch.has_known == bool(known)
    after, upto, fates = batch.take_settleable()
    assert ((after, upto), len(fates)) == (stretch, count)


def test_a_batch_that_is_known_to_its_end_is_settled_to_where_the_page_ended() -> None:
    """Behind the last event the page may have jumped over what the lane missed."""
    batch = Batch(10, 99, [11, 12])
    batch.resolve(11, "delivered")
    assert batch.take_settleable()[:2] == (10, 11)
    assert not batch.is_resolved
    batch.resolve(12, "delivered")

    assert batch.is_resolved
    assert batch.take_settleable()[:2] == (11, 99)
    assert batch.is_resolved


def test_a_fate_can_be_taken_back_until_it_is_settled() -> None:
    batch = Batch(0, 2, [1, 2])
    batch.resolve(1, "delivered")
    batch.take_settleable()
    batch.resolve(2, DeadLetter(2, "no", 400, 1))

    assert (batch.take_back(1), batch.take_back(2)) == (False, True)
    assert not batch.is_resolved


@given(st.permutations(range(1, 13)), st.data())
def test_every_event_is_settled_exactly_once_in_order(order: list[int], data: st.DataObject) -> None:
    batch, settled, cursor = Batch(0, 20, range(1, 13)), 0, 0
    for seq in order:
        batch.resolve(seq, "delivered")
        if data.draw(st.booleans()):
            after, upto, fates = batch.take_settleable()
            assert after == cursor
            cursor, settled = upto, settled + len(fates)
    after, upto, fates = batch.take_settleable()

    assert (after, upto, settled + len(fates)) == (cursor, 20, 12)


def test_limits_are_those_of_the_route() -> None:
    class TwoLimits(PlainProvider):
        @property
        def routes(self) -> dict[str, Limits]:
            return {"events": Limits(3, 10_000), "profiles": Limits(2, 10_000)}

    events = [make_event(seq=seq) for seq in range(1, 7)] + [make_identify(seq=seq) for seq in range(7, 11)]

    batch = plan(TwoLimits(), 0, 10, events, None)

    assert [len(call.items) for call in batch.calls] == [3, 3, 2, 2]


def test_what_stands_aside_is_settled_as_it_is_known() -> None:
    batch = Batch(0, 0, [3, 5, 9])
    batch.resolve(5, "delivered")

    assert (batch.take_known(), len(batch)) == ([(5, "delivered")], 2)
    assert batch.take_known() == []


def test_who_failed_alone_goes_alone() -> None:
    call = call_of(1, 1, 1)
    call.items[1].failures = 2

    assert [seqs(part) for part in call.with_suspects_alone()] == [[2], [1, 3]]


def call_to(route: str, *, in_order: bool = False) -> Call:
    return Call(route, (Item(1, "", (b"{}",), in_order),))


def test_what_must_keep_its_place_waits_for_all_before_it_on_its_route() -> None:
    batch = Batch(0, 9, range(1, 10))
    first, ordered, behind = call_to("events"), call_to("events", in_order=True), call_to("events")
    elsewhere = call_to("profiles", in_order=True)
    batch.calls = [first, ordered, behind, elsewhere]

    went = []
    while (picked := next_call([batch], now=0.0)) is not None:
        picked[1].is_flying = True
        went.append(picked[1])
    assert went == [first, elsewhere]
    batch.replace(first)
    assert next_call([batch], now=0.0) == (batch, ordered)
    batch.replace(ordered)
    assert next_call([batch], now=0.0) == (batch, behind)


def test_a_batch_that_waits_holds_up_what_must_come_behind_it() -> None:
    batch, following = Batch(0, 1, [1]), Batch(1, 2, [2])
    batch.calls, following.calls = [call_to("profiles", in_order=True)], [call_to("profiles"), call_to("events")]
    batch.not_before = 5.0

    assert next_call([batch, following], now=4.9) == (following, following.calls[1])
    assert next_call([batch, following], now=5.0) == (batch, batch.calls[0])


def test_the_same_events_are_the_same_batch() -> None:
    one, other = (Call("events", tuple(Item(seq, f"id{seq}", ()) for seq in seqs)) for seqs in ([1, 2], [1, 3]))
    again = Call("profiles", tuple(Item(seq + 7, f"id{seq}", (b"{}",), attempts=3) for seq in (1, 2)))

    assert len(one.batch_id) == 32
    assert one.batch_id == again.batch_id != other.batch_id
