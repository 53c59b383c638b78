"""I11 and I2 over thousands of damaged files: single bits of a spool turn over, in the database and in its log.

``FLIPS=10000`` (``make flips``) goes on for longer; ``SEED`` goes through the same ones again.
"""

import os
import random
import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests.support.damaged_spools import Known, check, check_life, live_on

FLIPS = int(os.environ.get("FLIPS", "200"))
_SEED = int(os.environ.get("SEED", random.randrange(10**6)))


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Known:
    return Known(tmp_path_factory.mktemp("known"))


@pytest.mark.parametrize("name", ["killed/spool.db", "killed/spool.db-wal", "stopped/spool.db"])
def test_a_bit_that_turns_over_alters_nothing_and_costs_a_page_at_most(
    known: Known, state_dir: Path, name: str
) -> None:
    how, file = name.split("/")
    source = getattr(known, how)
    rng = random.Random(f"{_SEED} {name}")
    outcomes = Counter[str]()
    for number in range(FLIPS // 3):
        directory = shutil.copytree(source, state_dir / str(number))
        content = bytearray((directory / file).read_bytes())
        bit = rng.randrange(len(content) * 8)
        content[bit // 8] ^= 1 << bit % 8
        (directory / file).write_bytes(content)
        outcomes[check_life(known, directory, f"SEED={_SEED} {name} bit {bit}")] += 1
        shutil.rmtree(directory)
    print(name, dict(outcomes))


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_a_spool_without_a_flipped_bit_stays_where_it_is(known: Known, state_dir: Path, how: str) -> None:
    directory = shutil.copytree(getattr(known, how), state_dir / how)

    opened = live_on(directory)

    assert check(known, opened, how) == "unharmed"
    assert not (directory / "quarantine").exists()
    opened.spool.close()
