"""``make power``: cut the power at any moment, on a real file system and state by state, and look for what is lost."""

import argparse
import sys
from collections import Counter
from collections.abc import Callable

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn

from tests.power import machine, states
from tests.power.needs import find_missing

_ROUNDS = 10


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.power", description=__doc__)
    parser.add_argument("--seed", type=int, help="go through this round alone")
    parser.add_argument("--rounds", type=int, default=_ROUNDS, help="how many to go through (default: %(default)s)")
    options = parser.parse_args()
    missing = find_missing()
    if missing is not None:
        print(f"the power can't be cut here: {missing}", file=sys.stderr)
        return 1
    seeds = range(options.rounds) if options.seed is None else range(options.seed, options.seed + 1)
    try:
        disks = _go_through("disks", machine.run_round, seeds)
        explored = _go_through("states", states.run_round, seeds)
        unsafe = machine.run_round(seeds[0], durability="os", drains=0)
    except AssertionError as exc:
        print(f"broken promise: {exc}", file=sys.stderr)
        return 1
    print(
        f"{disks['power_cuts']} disks after a power cut, {disks['acknowledged']} events acknowledged before it, "
        f"{disks['drained']} drained after it; {explored['power_cuts']} states of the files, "
        f"{explored['acknowledged']} events acknowledged; 0 lost "
        f'(with durability = "os": {unsafe["losing_cuts"]} of {unsafe["power_cuts"]} disks lost some)'
    )
    return 0 if unsafe["losing_cuts"] else 1


def _go_through(what: str, run_round: Callable[[int], dict[str, int]], seeds: range) -> Counter[str]:
    total: Counter[str] = Counter()
    console = Console(stderr=True)
    with Progress(*Progress.get_default_columns(), MofNCompleteColumn(), TimeElapsedColumn(), console=console) as bar:
        task = bar.add_task(what, total=len(seeds))
        for seed in seeds:
            total.update(run_round(seed))
            bar.advance(task)
    return total


if __name__ == "__main__":
    sys.exit(main())
