"""Where a simulated disk that is full ends a write, and who gets the room that comes back."""

import contextlib
import random
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sim.disk import BLOCK_BYTES, SimDisk
from tests.sim.inode import SECTOR_BYTES

_FRAME_BYTES = 4096 + 24


@pytest.fixture
def base() -> Iterator[Path]:
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as path:
        yield Path(path)


def end_of_a_log(disk: SimDisk, *, fills: bool) -> int:
    """How long the log is when the disk was full in the midst of a commit."""
    disk.directory.mkdir()
    with contextlib.closing(sqlite3.connect(disk.directory / "spool.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE t (data BLOB)")
        if fills:
            disk.room = disk._rng.randrange(10_000)
        else:
            disk.fail("write", "enospc", after=disk._rng.randrange(20), times=None)
        with pytest.raises(sqlite3.OperationalError, match="full"):
            connection.execute("INSERT INTO t VALUES (?)", (bytes(50_000),))
        end = (disk.directory / "spool.db-wal").stat().st_size
        disk.heal()
        disk.room = None
    return end


@pytest.mark.parametrize("fills", [True, False], ids=["no room", "a fault"])
def test_a_full_disk_ends_a_write_at_a_block_a_sector_or_any_byte(base: Path, fills: bool) -> None:  # noqa: FBT001
    ends = set()
    for number in range(120):
        with SimDisk(base / str(number), random.Random(number)) as disk:
            ends.add(end_of_a_log(disk, fills=fills))

    torn = {end for end in ends if (end - 32) % _FRAME_BYTES not in (0, 24)}
    assert {end for end in torn if end % SECTOR_BYTES}
    assert {end for end in torn if end % SECTOR_BYTES == 0 and end % BLOCK_BYTES}
    assert {end for end in torn if end % BLOCK_BYTES == 0}


def test_what_is_given_back_may_be_another_programs_at_once(base: Path) -> None:
    with SimDisk(base / "live", random.Random(14)) as disk:
        disk.directory.mkdir()
        for name in ("one", "other"):
            (disk.directory / name).write_bytes(bytes(100))
        disk.room = 0
        (disk.directory / "one").unlink()
        assert disk.room == 100
        disk.is_contested = True
        (disk.directory / "other").unlink()
        assert disk.room == 100
