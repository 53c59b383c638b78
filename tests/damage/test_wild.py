"""Damage of every kind: random bytes, files cut short, logs that are missing, another spool's, or older."""

import os
import random
import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests.support.clock import FakeEntropy
from tests.support.damaged_spools import Known, check, check_life, live_on
from tests.support.events import make_drafts
from tests.support.spools import open_spool
from tests.unit.spool.salvaging import copy_as_killed

_ROUNDS = int(os.environ.get("FLIPS", "60"))
_SEED = int(os.environ.get("SEED", random.randrange(10**6)))


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Known:
    return Known(tmp_path_factory.mktemp("known"))


@pytest.mark.parametrize("file", ["spool.db", "spool.db-wal"])
def test_random_bytes_at_random_places_alter_nothing(known: Known, state_dir: Path, file: str) -> None:
    rng = random.Random(f"{_SEED} {file}")
    outcomes = Counter[str]()
    for number in range(_ROUNDS):
        directory = shutil.copytree(known.killed, state_dir / str(number))
        content = bytearray((directory / file).read_bytes())
        for _ in range(rng.randint(1, 4)):
            start, size = rng.randrange(len(content)), rng.choice([1, 16, 512, 4096, 20_000])
            content[start : start + size] = rng.randbytes(len(content[start : start + size]))
        (directory / file).write_bytes(content)
        told = f"SEED={_SEED} {file} {number}"
        # The log's last commits, where nothing whole stands behind them, are what a power cut leaves.
        is_log = file != "spool.db"
        outcomes[check_life(known, directory, told, most_lost=len(known.events), may_be_silent=is_log)] += 1
        shutil.rmtree(directory)
    print(file, dict(outcomes))


@pytest.mark.parametrize("file", ["spool.db", "spool.db-wal"])
def test_files_that_are_cut_short_alter_nothing(known: Known, state_dir: Path, file: str) -> None:
    rng = random.Random(f"{_SEED} {file}")
    size = (known.killed / file).stat().st_size
    for number, keep in enumerate([0, 1, 24, 32, 100, 511, 512, 4096, size - 1, *rng.choices(range(size), k=20)]):
        directory = shutil.copytree(known.killed, state_dir / str(number))
        os.truncate(directory / file, keep)
        # A log that ends early is what a power cut leaves: nobody can tell the one from the other.
        check_life(
            known, directory, f"{file} cut to {keep}", most_lost=len(known.events), may_be_silent=file != "spool.db"
        )
        shutil.rmtree(directory)


def test_another_spools_log_takes_nothing_away(known: Known, state_dir: Path) -> None:
    (state_dir / "other").mkdir()
    with open_spool(state_dir / "other", entropy=FakeEntropy(9)) as other:
        other.spool.open_lane("a", "mixpanel", "earliest")
        for _ in range(20):
            other.append(make_drafts(20, "Foreign"))
        foreign = copy_as_killed(other, state_dir / "foreign")
    directory = shutil.copytree(known.stopped, state_dir / "mixed")
    shutil.copy(foreign / "spool.db-wal", directory / "spool.db-wal")

    opened = live_on(directory)

    assert opened.quarantined is not None
    assert "another spool's" in opened.quarantined.reason
    assert check(known, opened, "foreign log") == "moved"
    assert opened.spool.salvages()[0].lost == 0
    opened.spool.close()


def test_an_older_log_takes_nothing_away(known: Known, state_dir: Path) -> None:
    directory = shutil.copytree(known.stopped, state_dir / "mixed")
    with open_spool(directory) as opened:
        opened.append(make_drafts(1, "Early"))
        older = copy_as_killed(opened, state_dir / "older")
    with open_spool(directory) as opened:
        opened.append(make_drafts(5, "Later"))
    shutil.copy(older / "spool.db-wal", directory / "spool.db-wal")

    recovered = live_on(directory)

    assert recovered.quarantined is not None
    assert "an older one" in recovered.quarantined.reason
    assert len(recovered.pending("b")) == len(known.wanted("b")) + 6
    recovered.spool.close()


def test_a_missing_log_costs_what_was_in_it_alone(known: Known, state_dir: Path) -> None:
    directory = shutil.copytree(known.killed, state_dir / "missing")
    (directory / "spool.db-wal").unlink()

    check_life(known, directory, "missing log", most_lost=60, may_be_silent=True)
