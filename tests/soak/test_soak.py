"""What a soak reports: figures that add up, and how to repeat what broke."""

import importlib
import os
import signal
from multiprocessing import resource_tracker

import pytest
from rich.console import Console

from tests.soak.proofs import PROOFS, Proof
from tests.soak.running import Soak

_BROKEN_SEED, _DEADLY_SEED, _FORBIDDEN_SEED = 102, 666, 13
_QUIET = Console(quiet=True)


def run_round(seed: int) -> dict[str, int]:
    """A proof that finds something in one of its rounds."""
    if seed == _DEADLY_SEED:
        os.kill(os.getpid(), signal.SIGKILL)
    if seed == _FORBIDDEN_SEED:
        raise PermissionError("only root may mount a disk")
    assert seed != _BROKEN_SEED, "an event was lost"
    return {"kills": 10, "acknowledged": seed}


@pytest.fixture(scope="module", autouse=True)
def _tracker() -> None:
    """Python's own helper of spawned processes, which lives as long as this one."""
    resource_tracker.ensure_running()


@pytest.mark.parametrize("name", PROOFS)
def test_every_proof_is_there(name: str) -> None:
    assert callable(importlib.import_module(PROOFS[name].module).run_round)


def test_figures_add_up_over_rounds_and_proofs() -> None:
    soak = Soak({"one": Proof(__name__, 1, ""), "two": Proof(__name__, 2, "")}, 10, _QUIET)

    soak.run(rounds=2, seconds=0, processes=2)

    assert not soak.failures
    assert soak.summary.startswith("0 lost, 0 altered, 0 unnoticed in 0:00:")
    assert soak.summary.endswith("4 rounds of 2 proofs: 40 kills, 42 acknowledged")


def test_a_broken_promise_ends_it_and_names_its_seed() -> None:
    soak = Soak({"one": Proof(__name__, 1, "")}, _BROKEN_SEED - 1, _QUIET)

    soak.run(rounds=50, seconds=0, processes=1)

    (failure,) = soak.failures
    assert (failure.proof, failure.seed) == ("one", _BROKEN_SEED)
    assert "an event was lost" in failure.text
    assert soak.summary.startswith("1 BROKEN PROMISES in ")


def test_a_round_that_takes_its_process_along_is_a_broken_promise() -> None:
    soak = Soak({"one": Proof(__name__, 1, "")}, _DEADLY_SEED, _QUIET)

    soak.run(rounds=1, seconds=0, processes=1)

    (failure,) = soak.failures
    assert "died" in failure.text


def test_a_proof_that_this_machine_can_not_give_is_left_out_and_said() -> None:
    soak = Soak({"disks": Proof(__name__, 1, "")}, _FORBIDDEN_SEED, _QUIET)

    soak.run(rounds=5, seconds=0, processes=1)

    assert not soak.failures
    assert soak.summary.endswith("0 rounds of 0 proofs: ; without disks: only root may mount a disk")
