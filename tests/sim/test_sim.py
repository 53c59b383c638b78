"""The simulator over some hundred seeds, and that a seed replays a run exactly."""

import pytest

from tests.sim.run import run_seed, run_seeds

_SEEDS_PER_TEST = 25


@pytest.mark.parametrize("first", range(0, 300, _SEEDS_PER_TEST))
def test_no_promise_breaks_in_any_world(first: int) -> None:
    outcomes = list(run_seeds(range(first, first + _SEEDS_PER_TEST)))

    assert sum(outcome.figures.acknowledged for outcome in outcomes) > 0


def test_the_same_seed_gives_the_same_run() -> None:
    assert run_seed(4711) == run_seed(4711)
