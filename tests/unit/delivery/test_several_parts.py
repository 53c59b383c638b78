"""An event that is several records: it is one event whatever is said of each of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from spoold.providers.base import Deferral, Delivered, Encoded, Rejected, Unsendable
from spoold.record import Event
from tests.support.clock import FakeClock
from tests.support.lanes import LaneRig, PlainProvider, running_lane, seqs


class PairsProvider(PlainProvider):
    """Each event is two records."""

    def encode(self, event: Event) -> Encoded | Unsendable:
        encoded = super().encode(event)
        assert isinstance(encoded, Encoded)
        return encoded._replace(parts=encoded.parts * 2)


@pytest.fixture
def rig(state_dir: Path, clock: FakeClock) -> Iterator[LaneRig]:
    with running_lane(state_dir, clock=clock, jitter=1.0, provider=PairsProvider(), batch_size=2) as rig:
        yield rig


def later(index: int, seconds: float) -> Deferral:
    return Deferral(index, seconds, "throttled")


@pytest.mark.parametrize("waits", [(30.0, 0.0), (0.0, 30.0), (30.0, 5.0)])
def test_it_waits_for_the_part_that_waits_longest(rig: LaneRig, waits: tuple[float, float]) -> None:
    rig.append(2)
    rig.send(Delivered(deferred=tuple(later(index, seconds) for index, seconds in enumerate(waits))), 429)

    assert (rig.state.delivered, rig.state.deferred, rig.wait_seconds()) == (1, 1, 30.0)
    rig.clock.advance(30)
    assert [seqs(call) for call in rig.run()] == [[1]]


def test_nothing_is_spun_on_where_a_part_of_each_is_wanted_again_at_once(rig: LaneRig) -> None:
    rig.append(2)
    rig.send(Delivered(deferred=(later(0, 0.0), later(3, 0.0))), 429)

    assert (rig.wait_seconds(), rig.state.retry.failures) == (1.0, 1)


def test_it_is_dead_if_one_part_is(rig: LaneRig) -> None:
    rig.append(2)
    rig.send(Delivered(dead=(Rejected(1, "bad"),), deferred=(later(0, 30.0),)), 400)

    assert (rig.dead(), rig.state.delivered, rig.state.deferred) == ([(1, "bad", 400, 1)], 1, 0)
