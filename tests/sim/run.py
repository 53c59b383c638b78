"""Runs worlds: one, or many, each in a directory of its own on a tmpfs."""

import logging
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

from spoold.spool import salvage
from tests.sim.ledger import Figures
from tests.sim.parts import SimulationError
from tests.sim.world import World

_ROUND_SEEDS = 20
_TMPFS = Path("/dev/shm")


class Outcome(NamedTuple):
    """What came of one seed."""

    seed: int
    digest: str
    figures: Figures


class SeedError(AssertionError):
    """A promise was broken in one run; the message holds the seed, which replays it exactly."""

    def __init__(self, seed: int, cause: BaseException) -> None:
        super().__init__(f"seed {seed}: {type(cause).__name__}: {cause} (again: make sim SEED={seed})")
        self.seed = seed


def run_seed(seed: int, echo: Callable[[str], None] | None = None) -> Outcome:
    """One world.

    Raises:
        SeedError: A promise was broken, or something that has no place in a world happened.
    """
    home = Path(tempfile.mkdtemp(prefix="spoold-sim-", dir=_TMPFS if _TMPFS.is_dir() else None))
    logging.disable(logging.CRITICAL)
    world = World(seed, home, echo)
    try:
        # A world's spool is small: its salvage goes in small steps, so that crashes find it in its midst.
        with patch.multiple(salvage, _EVENTS=20, _LOOK_PAGES=10):
            world.run()
    except Exception as exc:  # whatever it is, the seed must be told
        raise SeedError(seed, exc) from (None if isinstance(exc, SimulationError) else exc)
    finally:
        logging.disable(logging.NOTSET)
        shutil.rmtree(home, ignore_errors=True)
    return Outcome(seed, world.trace.digest, world.figures)


def run_seeds(seeds: Iterable[int]) -> Iterator[Outcome]:
    """Many worlds, one after another; stops at the first that breaks a promise."""
    for seed in seeds:
        yield run_seed(seed)


def add_up(total: Figures, one: Figures) -> None:
    """Add the figures of one run to a total."""
    for figure in fields(Figures):
        setattr(total, figure.name, getattr(total, figure.name) + getattr(one, figure.name))


def run_round(seed: int) -> dict[str, int]:
    """Some worlds for a soak; what they explored.

    Raises:
        SeedError: A promise was broken in one of them; the message says which, and how to see it again.
    """
    total = Figures()
    for outcome in run_seeds(range(seed * _ROUND_SEEDS, (seed + 1) * _ROUND_SEEDS)):
        add_up(total, outcome.figures)
    return {"worlds": _ROUND_SEEDS} | {name: int(value) for name, value in asdict(total).items()}
