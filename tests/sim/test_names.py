"""What the program does to files without SQLite is lost on the simulated disk as on a real one."""

import os
import random
import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.sim.disk import SimDisk


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "live").mkdir()
    return tmp_path


def sync(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    os.fsync(number)
    os.close(number)


def write(path: Path, content: bytes) -> None:
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.write(number, content)
    os.close(number)


def outcomes_of(disk: SimDisk, base: Path) -> set[tuple[tuple[str, bytes], ...]]:
    """What there may be after a cut, by the names of the files and what is in them."""
    found = set()
    for number in range(60):
        image = base / f"cut{number}"
        disk.cut_power(image)
        files = sorted(path for path in image.rglob("*") if path.is_file())
        found.add(tuple((str(path.relative_to(image)), path.read_bytes()) for path in files))
        shutil.rmtree(image)
    return found


def test_names_that_the_program_gave_may_be_lost_until_their_folder_is_synced(base: Path) -> None:
    (base / "live" / "old").write_bytes(b"x")
    with SimDisk(base / "live", random.Random(21)) as disk:
        (base / "live" / "old").rename(base / "live" / "new")
        before = outcomes_of(disk, base)
        sync(base / "live")
        after = outcomes_of(disk, base)
        (base / "live" / "new").unlink()
        gone = outcomes_of(disk, base)
    assert before == {(), (("old", b"x"),), (("new", b"x"),), (("new", b"x"), ("old", b"x"))}
    assert after == {(("new", b"x"),)}
    assert gone == {(), (("new", b"x"),)}


def test_a_folder_has_one_name_after_a_cut_or_is_not_there_with_all_in_it(base: Path) -> None:
    with SimDisk(base / "live", random.Random(22)) as disk:
        (base / "live" / "part").mkdir()
        write(base / "live" / "part" / "note", b"whole")
        sync(base / "live" / "part" / "note")
        sync(base / "live" / "part")
        (base / "live" / "part").rename(base / "live" / "done")
        before = outcomes_of(disk, base)
        sync(base / "live")
        after = outcomes_of(disk, base)
    assert before == {(), (("part/note", b"whole"),), (("done/note", b"whole"),)}
    assert after == {(("done/note", b"whole"),)}


def test_what_the_program_wrote_itself_may_be_lost_until_it_is_synced(base: Path) -> None:
    with SimDisk(base / "live", random.Random(23)) as disk:
        write(base / "live" / "note", b"whole")
        before = outcomes_of(disk, base)
        sync(base / "live" / "note")
        sync(base / "live")
        after = outcomes_of(disk, base)
    assert before == {(), (("note", b""),), (("note", b"whole"),)}
    assert after == {(("note", b"whole"),)}


def test_a_disk_that_is_full_lets_files_be_overwritten_and_takes_what_others_gave_back(base: Path) -> None:
    with SimDisk(base / "live", random.Random(24)) as disk:
        connection = sqlite3.connect(base / "live" / "spool.db", isolation_level=None)
        connection.execute("PRAGMA page_size=4096")
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, data BLOB)")
        connection.execute("INSERT INTO t VALUES (1, zeroblob(20000))")
        (base / "live" / "reserve").write_bytes(bytes(200_000))
        # The rollback journal is deleted after each commit, so its room comes back.
        disk.room = 60_000
        with pytest.raises(sqlite3.OperationalError, match="full"):
            connection.execute("INSERT INTO t VALUES (2, zeroblob(90000))")
        connection.execute("UPDATE t SET data = zeroblob(19999)")
        (base / "live" / "reserve").unlink()
        connection.execute("INSERT INTO t VALUES (2, zeroblob(90000))")
        connection.close()
