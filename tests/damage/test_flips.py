"""Single bits of a spool turn over; ``make soak PROOF=flips`` goes on for longer."""

import random
import shutil
from pathlib import Path

import pytest

from tests.damage.flips import FILES, flip
from tests.support.damaged_spools import Known, check, live_on

_FLIPS = 66


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Known:
    return Known(tmp_path_factory.mktemp("known"))


@pytest.mark.parametrize("file", FILES)
def test_a_bit_that_turns_over_alters_nothing_and_costs_a_page_at_most(
    known: Known, state_dir: Path, file: str
) -> None:
    seed = random.randrange(10**6)
    try:
        outcomes = list(flip(known, state_dir, file, random.Random(seed), _FLIPS))
    except AssertionError as exc:
        raise AssertionError(f"seed {seed}: {exc}") from exc
    assert len(outcomes) == _FLIPS


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_a_spool_without_a_flipped_bit_stays_where_it_is(known: Known, state_dir: Path, how: str) -> None:
    directory = shutil.copytree(getattr(known, how), state_dir / how)

    opened = live_on(directory)

    assert check(known, opened, how) == "unharmed"
    assert not (directory / "quarantine").exists()
    opened.spool.close()
