"""The simulator over some seeds (``make sim`` and a soak take more), and that a seed replays a run exactly."""

import os
import subprocess
import sys

import pytest

from tests.sim.bug import ROOT
from tests.sim.run import run_round, run_seed, run_seeds

_SEEDS_PER_TEST = 20


@pytest.mark.parametrize("first", range(20, 80, _SEEDS_PER_TEST))
def test_no_promise_breaks_in_any_world(first: int) -> None:
    outcomes = list(run_seeds(range(first, first + _SEEDS_PER_TEST)))

    assert sum(outcome.figures.acknowledged for outcome in outcomes) > 0


def test_the_same_seed_gives_the_same_run() -> None:
    assert run_seed(4711) == run_seed(4711)


@pytest.mark.parametrize("seed", [4711, 4715])
def test_the_same_seed_gives_the_same_run_in_another_process(seed: int) -> None:
    script = f"from tests.sim.run import run_seed\nprint(run_seed({seed}).digest)"
    digests = set()
    for hash_seed in ("1", "2"):
        run = subprocess.run(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        digests.add(run.stdout)
    assert len(digests) == 1


def test_a_round_of_a_soak_meets_everything() -> None:
    figures = run_round(2)

    assert not [name for name, count in figures.items() if not count]
