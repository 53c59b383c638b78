"""A process that is killed anywhere loses nothing, doubles nothing and alters nothing.

Here one point of each family; ``make soak`` goes through the whole catalogue.
"""

import pytest

from tests.crash.child import find
from tests.crash.lives import run_points
from tests.crash.points import POINTS, sample


@pytest.mark.parametrize("name", POINTS)
def test_every_place_is_in_the_product(name: str) -> None:
    point = POINTS[name]
    for place in (point.place, point.since, point.within):
        if place:
            find(place)


def test_a_place_that_is_gone_is_told() -> None:
    with pytest.raises(LookupError, match="is not in the product any more"):
        find("spoold.spool.store:Store.put")


def test_what_was_acknowledged_outlives_a_crash_in_each_family() -> None:
    points = sample()
    assert run_points(points, at_once=3)["crash_points"] == len(points)
