"""The simulator finds every bug of the catalogue."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sim.planted import CATALOGUE, Planted

ROOT = Path(__file__).parents[2]
_SEEDS = 120

_RUN = """
import sys
import spoold
from tests.sim.run import SeedError, run_seeds
assert spoold.__file__.startswith(sys.argv[1]), spoold.__file__
try:
    print(len(list(run_seeds(range(int(sys.argv[2]))))), "seeds hold")
except SeedError as error:
    print(error)
    sys.exit(3)
"""


def simulate(home: Path, seeds: int) -> subprocess.CompletedProcess[str]:
    """Run the simulator of the checkout on the copy of the program in ``home``."""
    return subprocess.run(
        [sys.executable, "-c", _RUN, str(home), str(seeds)],
        cwd=home,
        env=os.environ | {"PYTHONPATH": f"{home}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )


def plant(home: Path, bug: Planted | None) -> None:
    """Copy the program to ``home`` and break it there."""
    shutil.copytree(ROOT / "spoold", home / "spoold", ignore=shutil.ignore_patterns("__pycache__"))
    if bug is not None:
        file = home / "spoold" / bug.file
        text = file.read_text()
        assert text.count(bug.old) == 1, f"the text of {bug.name!r} stands {text.count(bug.old)} times in {bug.file}"
        file.write_text(text.replace(bug.old, bug.new))


@pytest.mark.parametrize("bug", CATALOGUE, ids=lambda bug: bug.name)
def test_the_simulator_finds(bug: Planted, tmp_path: Path) -> None:
    plant(tmp_path, bug)

    run = simulate(tmp_path, _SEEDS)

    assert run.returncode == 3, run.stdout + run.stderr
    assert bug.found_by in run.stdout


def test_the_copy_without_a_bug_holds(tmp_path: Path) -> None:
    plant(tmp_path, None)

    run = simulate(tmp_path, 5)

    assert run.stdout == "5 seeds hold\n", run.stdout + run.stderr
