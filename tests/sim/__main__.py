"""``make sim``: explore seeds, or replay one (``SEED=n``) with everything that happened."""

import argparse
import sys
from dataclasses import asdict

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn

from tests.sim.ledger import Figures
from tests.sim.run import SeedError, add_up, run_seed

_DEFAULT_SEEDS = 1_000


def main() -> int:
    parser = argparse.ArgumentParser(prog="make sim", description=__doc__)
    parser.add_argument("--seed", type=int, help="replay one run and print what happened")
    parser.add_argument("--seeds", type=int, default=_DEFAULT_SEEDS, help="how many to explore (default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    options = parser.parse_args()
    try:
        if options.seed is not None:
            outcome = run_seed(options.seed, echo=print)
            print(f"seed {outcome.seed} trace {outcome.digest} {asdict(outcome.figures)}")
            return 0
        return _explore(options.first, options.seeds)
    except SeedError as exc:
        print(f"broken promise: {exc}", file=sys.stderr)
        return 1


def _explore(first: int, seeds: int) -> int:
    total = Figures()
    console = Console(stderr=True)
    with Progress(*Progress.get_default_columns(), MofNCompleteColumn(), TimeElapsedColumn(), console=console) as bar:
        task = bar.add_task("seeds", total=seeds)
        for seed in range(first, first + seeds):
            add_up(total, run_seed(seed).figures)
            bar.advance(task)
    figures = asdict(total)
    hours = figures.pop("simulated_seconds") / 3600
    told = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in figures.items())
    print(f"{seeds} seeds, {hours:.0f} simulated hours, {told}, 0 lost, 0 altered")
    return 0


if __name__ == "__main__":
    sys.exit(main())
