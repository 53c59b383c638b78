"""Runs the simulator on copies of the program in which a bug was planted.

``python -m tests.sim.planting PART…`` takes the bugs whose names hold one of the parts (all, without any), and tells
after how many seeds each was found and by what.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from tests.sim.bug import PACKAGE, ROOT, Bug, PlantingError, plant
from tests.sim.planted import CATALOGUE

_FOUND = 3
#: A program that runs in circles is no finding: so long for the start, and for each seed.
_START_SECONDS, _SEED_SECONDS = 90.0, 1.0
_RUN = f"""
import sys
import {PACKAGE}
from tests.sim.run import SeedError, run_seeds
assert {PACKAGE}.__file__.startswith(sys.argv[1]), {PACKAGE}.__file__
first, seeds = map(int, sys.argv[2:])
try:
    print(len(list(run_seeds(range(first, first + seeds)))), "seeds hold")
except SeedError as error:
    print(error.seed, error)
    sys.exit({_FOUND})
"""


class Finding(NamedTuple):
    """What the simulator said.

    Attributes:
        seeds: How many it took; 0 when nothing was found.
        text: The broken promise, or why there is none.
        seconds: How long it took, from an interpreter that is not started.
    """

    seeds: int
    text: str
    seconds: float = 0.0


def try_bug(bug: Bug | None, *, first: int = 0, seeds: int) -> Finding:
    """Plant ``bug`` in a copy of its own and look for it; None leaves the copy as it is."""
    with tempfile.TemporaryDirectory(prefix="spoold-planted-") as directory:
        home = Path(directory).resolve()
        start = time.monotonic()
        try:
            plant(home, bug)
            finding = _simulate(home, first, seeds)
            return finding._replace(seconds=time.monotonic() - start)
        except PlantingError as exc:
            return Finding(0, str(exc))
        except subprocess.TimeoutExpired:
            return Finding(0, "it runs in circles: nothing was found in time")


def _simulate(home: Path, first: int, seeds: int) -> Finding:
    # The program is the copy's, the tests are the checkout's.
    run = subprocess.run(
        [sys.executable, "-c", _RUN, str(home), str(first), str(seeds)],
        cwd=home,
        env=os.environ | {"PYTHONPATH": f"{home}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=_START_SECONDS + seeds * _SEED_SECONDS,
    )
    if run.returncode != _FOUND:
        return Finding(0, run.stdout + run.stderr)
    seed, _, text = run.stdout.strip().partition(" ")
    return Finding(int(seed) - first + 1, text)


def run_round(seed: int) -> dict[str, int]:
    """For a soak: plant one bug, another in each round, and find it.

    Raises:
        AssertionError: It was not found, or not by one of the oracles that the catalogue names.
    """
    bug = CATALOGUE[seed % len(CATALOGUE)]
    finding = try_bug(bug, seeds=bug.seeds)
    is_found = finding.seeds > 0 and any(text in finding.text for text in bug.found_by)
    assert is_found, f"{bug.name}: {finding.text} (again: python -m tests.sim.planting {bug.name!r})"
    return {"planted_bugs": 1, "planted_bug_worlds": finding.seeds}


def main() -> int:
    parser = argparse.ArgumentParser(prog="planting", description=__doc__)
    parser.add_argument("parts", nargs="*", help="parts of names")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--table", action="store_true", help="as a table for people")
    parser.add_argument("--json", action="store_true", help="one JSON array a line: name, seeds, text")
    options = parser.parse_args()
    bugs = [bug for bug in CATALOGUE if not options.parts or any(part in bug.name for part in options.parts)]
    if options.table:
        print("| Planted bug | Found by | Seeds | Time |\n|---|---|---|---|")
    are_all_found = True
    # What waits is a process: two of them at a time, whatever order they end in.
    with ThreadPoolExecutor(2) as pool:
        for bug, finding in zip(
            bugs, pool.map(lambda bug: try_bug(bug, first=options.first, seeds=bug.seeds), bugs), strict=True
        ):
            are_all_found &= finding.seeds > 0
            if options.json:
                line = json.dumps([bug.name, *finding])
            elif options.table:
                cells = (
                    bug.name,
                    bug.oracle_in(finding.text),
                    finding.seeds or "not found",
                    f"{finding.seconds:.1f} s",
                )
                line = f"| {' | '.join(map(str, cells))} |"
            else:
                line = f"{bug.name}: {finding.seeds or 'not found'}: {finding.text}"
            print(line, flush=True)
    return 0 if are_all_found else 1


if __name__ == "__main__":
    sys.exit(main())
