"""Power cuts of a whole machine, as far as one can be had without one: real daemon, real ext4, a disk that forgets.

    run_round(seed)   # one recorded life of a daemon, cut at some dozens of moments

What is mounted, looped or started lives in namespaces of its own, which end with this process however it ends.
"""

import json
import subprocess
import sys
from pathlib import Path

from tests.power.needs import ISOLATED, find_missing

_CUTS, _DRAINS = 60, 2
_LIMIT_SECONDS = 300.0
HOME = Path(__file__).parents[2]


class UnableError(PermissionError):
    """This machine can't cut power; the message says what is missing."""


def cutting(seed: int, *, durability: str = "fsync", cuts: int = _CUTS, drains: int = _DRAINS) -> list[str]:
    """The command that does it; its last words are the figures as JSON."""
    options = {"seed": seed, "durability": durability, "cuts": cuts, "drains": drains}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return [*ISOLATED, sys.executable, "-m", "tests.power.cutting", *words]


def run_round(seed: int, *, durability: str = "fsync", cuts: int = _CUTS, drains: int = _DRAINS) -> dict[str, int]:
    """Record one life and cut it at so many moments; let some of these disks be drained by another daemon.

    Returns:
        ``power_cuts``, ``acknowledged``, ``drained`` (events, by the daemons that came after) and ``losing_cuts``, 0
        unless ``durability`` is ``os``.

    Raises:
        UnableError: The machine lacks something.
        AssertionError: A promise is broken.
    """
    missing = find_missing()
    if missing is not None:
        raise UnableError(f"the power can't be cut here: {missing}")
    command = cutting(seed, durability=durability, cuts=cuts, drains=drains)
    done = subprocess.run(command, cwd=HOME, capture_output=True, text=True, timeout=_LIMIT_SECONDS, check=False)
    if done.returncode:
        raise AssertionError(f"{done.stderr.strip()[-2000:]} (again: python -m tests.power --seed {seed})")
    figures: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return figures
