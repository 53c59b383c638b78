"""I11 and I2 over thousands of damaged files: single bits of a spool turn over, in the database and in its log."""

import random
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support.damaged_spools import Known, check_life

FILES = ("killed/spool.db", "killed/spool.db-wal", "stopped/spool.db")
_FLIPS_A_FILE = 40
_SHARED_MEMORY = Path("/dev/shm")


def run_round(seed: int) -> dict[str, int]:
    """Flip bits in a spool that was killed and in one that was stopped; the daemon lives on with each.

    Raises:
        AssertionError: Something altered was read, or something was lost and nobody noticed.
    """
    figures = Counter[str]()
    with TemporaryDirectory(prefix="spoold-flips-", dir=_SHARED_MEMORY if _SHARED_MEMORY.is_dir() else None) as home:
        known = Known(Path(home))
        for file in FILES:
            for outcome in flip(known, Path(home), file, random.Random(f"{seed} {file}"), _FLIPS_A_FILE):
                figures["flipped_bits"] += 1
                figures[f"flips_{outcome}"] += 1
    return dict(figures)


def flip(known: Known, home: Path, file: str, rng: random.Random, count: int) -> Iterator[str]:
    """Flip one bit at a time in a copy; what became of the spool, for each."""
    how, name = file.split("/")
    for number in range(count):
        directory = shutil.copytree(getattr(known, how), home / f"{how}-{name}-{number}")
        content = bytearray((directory / name).read_bytes())
        bit = rng.randrange(len(content) * 8)
        content[bit // 8] ^= 1 << bit % 8
        (directory / name).write_bytes(content)
        yield check_life(known, directory, f"{file} bit {bit}")
        shutil.rmtree(directory)
