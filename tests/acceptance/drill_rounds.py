"""The drill, again and again: for ``make soak``. Real SIGKILLs on the disk of temporary files."""

import random
import sys
import tempfile
from pathlib import Path

from spoolctl.doctor.drill import run_drill

from tests.support.doctor import make_subject


def run_round(seed: int) -> dict[str, int]:
    """One drill of a few seconds; how many kills and events it has comes from the seed, when they fall does not.

    Raises:
        AssertionError: An acknowledged event was lost, altered or doubled, or the audit found an imbalance.
    """
    draw = random.Random(seed)
    kills, events = draw.randint(2, 6), draw.randint(200, 2000)
    with tempfile.TemporaryDirectory(prefix="spoold-soak-") as home:
        program = Path(sys.executable).with_name("spoold")
        outcome = run_drill(program, make_subject(Path(home)), folder=Path(home), kills=kills, events=events)
    if not outcome.is_ok:
        raise AssertionError(f"seed {seed}: spoolctl doctor --drill --kills {kills} --events {events}: {outcome}")
    return {"kills": kills, "acknowledged": outcome.acknowledged, "repeats": outcome.repeats}
