"""The simulated disk loses what a real one may lose, and no more."""

import contextlib
import gc
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.sim import vfs
from tests.sim.disk import Operation, SimDisk, StopKind, flip_bit
from tests.sim.inode import SECTOR_BYTES

State = dict[int, bytes]


@pytest.fixture
def base() -> Iterator[Path]:
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as path:
        yield Path(path)


@dataclass
class Program:
    """Writes rows at random, and knows what each returned COMMIT has promised."""

    directory: Path
    rng: random.Random
    synchronous: str = "FULL"
    promised: list[State] = field(default_factory=lambda: [{}])
    attempted: State = field(default_factory=dict)

    def open(self) -> sqlite3.Connection:
        self.directory.mkdir(exist_ok=True)
        connection = sqlite3.connect(self.directory / "spool.db", isolation_level=None)
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={self.synchronous}")
        connection.execute("PRAGMA wal_autocheckpoint=0")
        connection.execute("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, data BLOB)")
        return connection

    def run(self, commits: int) -> None:
        """Work until done, or until the disk is no more."""
        with contextlib.suppress(sqlite3.OperationalError), contextlib.closing(self.open()) as connection:
            for _ in range(commits):
                self._commit(connection)
                if self.rng.random() < 0.1:
                    connection.execute(f"PRAGMA wal_checkpoint({self.rng.choice(('PASSIVE', 'RESTART', 'TRUNCATE'))})")
                if self.rng.random() < 0.1:
                    connection.executescript("PRAGMA incremental_vacuum(2)")

    def _commit(self, connection: sqlite3.Connection) -> None:
        self.attempted = dict(self.promised[-1])
        connection.execute("BEGIN IMMEDIATE")
        for _ in range(self.rng.randint(1, 4)):
            key, data = self.rng.randrange(60), self.rng.randbytes(self.rng.choice((300, 300, 9000)))
            if key in self.attempted and self.rng.random() < 0.6:
                del self.attempted[key]
                connection.execute("DELETE FROM t WHERE id = ?", (key,))
            else:
                self.attempted[key] = data
                connection.execute("INSERT OR REPLACE INTO t VALUES (?, ?)", (key, data))
        connection.execute("COMMIT")
        self.promised.append(self.attempted)


def stored(directory: Path) -> State:
    if not (directory / "spool.db").exists():
        return {}
    with contextlib.closing(sqlite3.connect(directory / "spool.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 't'").fetchone() is None:
            return {}
        return dict(connection.execute("SELECT id, data FROM t"))


def stop_at_random(base: Path, rng: random.Random, how: StopKind, synchronous: str) -> tuple[Program, SimDisk]:
    """Run a program on a fresh disk, stop it in the midst of things, and give what is left."""
    program = Program(base / "live", rng, synchronous)
    shutil.rmtree(base / "live", ignore_errors=True)
    shutil.rmtree(base / "image", ignore_errors=True)
    with SimDisk(program.directory, rng) as disk:
        disk.stop_after(rng.randrange(120), how, base / "image")
        program.run(commits=60)
    assert disk.successor is not None
    return program, disk.successor


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def test_a_full_sync_keeps_every_commit_over_200_power_cuts(base: Path) -> None:
    rng = random.Random(1)
    outcomes = set()
    for _ in range(200):
        program, left = stop_at_random(base, rng, "cut_power", "FULL")
        state = stored(left.directory)
        assert state in (program.promised[-1], program.attempted)
        outcomes.add(state == program.promised[-1])
    assert outcomes == {True, False}, "cuts hit before and after the point of no return"


def test_without_a_full_sync_a_power_cut_loses_commits(base: Path) -> None:
    rng = random.Random(2)
    losses = 0
    for _ in range(40):
        program, left = stop_at_random(base, rng, "cut_power", "NORMAL")
        state = stored(left.directory)
        assert state in [*program.promised, program.attempted], "NORMAL keeps a prefix"
        losses += state not in (program.promised[-1], program.attempted)
    assert losses > 10


def test_without_any_sync_a_power_cut_damages_the_file(base: Path) -> None:
    rng = random.Random(3)
    damaged = lost = 0
    for _ in range(40):
        program, left = stop_at_random(base, rng, "cut_power", "OFF")
        try:
            lost += stored(left.directory) not in (program.promised[-1], program.attempted)
        except (sqlite3.DatabaseError, AssertionError):
            damaged += 1
    assert lost > 10
    assert damaged > 0


@pytest.mark.parametrize("synchronous", ["FULL", "NORMAL", "OFF"])
def test_a_crash_keeps_every_commit(base: Path, synchronous: str) -> None:
    rng = random.Random(4)
    for _ in range(40):
        program, left = stop_at_random(base, rng, "crash", synchronous)
        assert stored(left.directory) in (program.promised[-1], program.attempted)


def test_a_cut_after_a_crash_may_lose_what_the_dead_process_had_not_synced(base: Path) -> None:
    rng = random.Random(5)
    losses = {"FULL": 0, "OFF": 0}
    for synchronous in losses:
        for _ in range(40):
            program, left = stop_at_random(base, rng, "crash", synchronous)
            shutil.rmtree(base / "cut", ignore_errors=True)
            left.cut_power(base / "cut")
            state = None
            with contextlib.suppress(sqlite3.DatabaseError, AssertionError):
                state = stored(base / "cut")
            losses[synchronous] += state not in (program.promised[-1], program.attempted)
    assert losses["FULL"] == 0
    assert losses["OFF"] > 5


def test_a_program_goes_on_through_crashes_and_cuts(base: Path) -> None:
    rng = random.Random(6)
    disk = SimDisk(base / "0", rng)
    program = Program(disk.directory, rng)
    for number in range(1, 41):
        with disk:
            disk.stop_after(rng.randrange(40), rng.choice(("crash", "cut_power")), base / str(number))
            program.directory = disk.directory
            program.run(commits=60)
        assert disk.successor is not None
        shutil.copytree(base / str(number), base / "look")
        state = stored(base / "look")
        shutil.rmtree(base / "look")
        assert state in (program.promised[-1], program.attempted)
        program.promised = [state]
        program.attempted = state
        disk = disk.successor


def test_the_same_seed_gives_the_same_images(base: Path) -> None:
    images: list[list[dict[str, bytes]]] = []
    for run in range(2):
        rng = random.Random(7)
        images.append([])
        for _ in range(10):
            _, left = stop_at_random(base, rng, "cut_power", "OFF")
            images[run].append(contents(left.directory))
    assert images[0] == images[1]
    assert len({str(image) for image in images[0]}) == 10


def test_what_is_recorded_is_what_is_in_the_file(base: Path) -> None:
    program = Program(base / "live", random.Random(8))
    with SimDisk(program.directory, program.rng) as disk, contextlib.closing(program.open()) as connection:
        for _ in range(50):
            program._commit(connection)
        for path in (base / "live" / "spool.db", base / "live" / "spool.db-wal"):
            inode = disk._inodes[path.stat().st_ino]
            inode.flush(inode.pending)
            assert bytes(inode.durable) == path.read_bytes()


def test_a_write_is_torn_at_sectors(base: Path) -> None:
    program = Program(base / "live", random.Random(9), "OFF")
    torn = 0
    with SimDisk(program.directory, program.rng) as disk, contextlib.closing(program.open()) as connection:
        connection.execute("INSERT INTO t VALUES (1, ?)", (program.rng.randbytes(3000),))
        wal = (base / "live" / "spool.db-wal").read_bytes()
        for number in range(30):
            disk.cut_power(base / str(number))
            path = base / str(number) / "spool.db-wal"
            image = (path.read_bytes() if path.exists() else b"").ljust(len(wal), b"\0")
            pieces = [slice(at, at + SECTOR_BYTES) for at in range(0, len(wal), SECTOR_BYTES)]
            torn += len({image[piece] == wal[piece] for piece in pieces}) == 2
    assert torn > 3


def test_a_full_disk_refuses_a_commit_and_keeps_the_earlier_rows(base: Path) -> None:
    program = Program(base / "live", random.Random(10))
    with SimDisk(program.directory, program.rng) as disk, contextlib.closing(program.open()) as connection:
        program._commit(connection)
        disk.fail("write", "enospc", after=1, times=None)
        with pytest.raises(sqlite3.OperationalError, match="database or disk is full") as caught:
            program._commit(connection)
        assert caught.value.sqlite_errorcode == sqlite3.SQLITE_FULL
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        assert dict(connection.execute("SELECT id, data FROM t")) == program.promised[-1]
        disk.heal()
        program._commit(connection)
        disk.cut_power(base / "image")
    assert stored(base / "image") == program.promised[-1]


@pytest.mark.parametrize(("op", "code"), [("write", sqlite3.SQLITE_IOERR_WRITE), ("sync", sqlite3.SQLITE_IOERR_FSYNC)])
def test_a_failing_disk_is_an_io_error(base: Path, op: Operation, code: int) -> None:
    program = Program(base / "live", random.Random(11))
    with SimDisk(program.directory, program.rng) as disk, contextlib.closing(program.open()) as connection:
        program._commit(connection)
        disk.fail(op, "eio")
        with pytest.raises(sqlite3.OperationalError, match="disk I/O error") as caught:
            program._commit(connection)
        assert caught.value.sqlite_errorcode == code


def test_a_later_sync_does_not_bring_back_what_a_failed_one_dropped(base: Path) -> None:
    program = Program(base / "live", random.Random(12))
    with SimDisk(program.directory, program.rng) as disk, contextlib.closing(program.open()) as connection:
        path = base / "live" / "spool.db-wal"
        inode = disk._inodes[path.stat().st_ino]
        differences = 0
        for _ in range(20):
            disk.fail("sync", "eio")
            with pytest.raises(sqlite3.OperationalError):
                program._commit(connection)
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            program.promised.append(dict(connection.execute("SELECT id, data FROM t")))
            program._commit(connection)
            differences += bytes(inode.durable) != path.read_bytes()
    assert differences > 0


def test_readers_and_writer_share_one_file(base: Path) -> None:
    program = Program(base / "live", random.Random(13))
    with SimDisk(program.directory, program.rng) as disk, contextlib.closing(program.open()) as connection:
        uri = f"file:{base}/live/spool.db?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as reader:
            program._commit(connection)
            assert dict(reader.execute("SELECT id, data FROM t")) == program.promised[-1]
            assert len(disk._inodes) == 2
        disk.cut_power(base / "image")
    assert stored(base / "image") == program.promised[-1]


def test_other_files_are_copied_as_they_are(base: Path) -> None:
    program = Program(base / "live", random.Random(14))
    with SimDisk(program.directory, program.rng) as disk, contextlib.closing(program.open()) as connection:
        program._commit(connection)
        (base / "live" / "deep").mkdir()
        (base / "live" / "deep" / "reserve").write_bytes(b"room")
        (base / "live" / "deep" / "link.db").hardlink_to(base / "live" / "spool.db")
        sync(base / "live" / "deep")
        sync(base / "live")
        disk.crash(base / "crash")
        disk.cut_power(base / "cut")
        for image in (base / "crash", base / "cut"):
            assert (image / "deep" / "reserve").read_bytes() == b"room"
            assert (image / "deep" / "link.db").samefile(image / "spool.db")
            assert not (image / "spool.db-shm").exists()


def sync(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    os.fsync(number)
    os.close(number)


def test_a_deleted_wal_may_come_back(base: Path) -> None:
    program = Program(base / "live", random.Random(15))
    with SimDisk(program.directory, program.rng) as disk:
        program.run(commits=5)
        for number in range(30):
            disk.cut_power(base / str(number))
    back = [(base / str(number) / "spool.db-wal").exists() for number in range(30)]
    assert set(back) == {True, False}
    assert all(stored(base / str(number)) == program.promised[-1] for number in range(30))


def test_a_deleted_wal_does_not_come_back_once_the_program_has_synced_the_directory(base: Path) -> None:
    program = Program(base / "live", random.Random(20))
    with SimDisk(program.directory, program.rng) as disk:
        program.run(commits=5)
        number = os.open(program.directory, os.O_RDONLY)
        os.fsync(number)
        for cut in range(30):
            disk.cut_power(base / str(cut))
            assert not (base / str(cut) / "spool.db-wal").exists()
        disk.fail("sync", "eio")
        with pytest.raises(OSError, match="Input/output error"):
            os.fsync(number)
        os.close(number)


def test_an_abandoned_connection_does_no_harm(base: Path) -> None:
    rng = random.Random(16)
    disk = SimDisk(base / "0", rng)
    program = Program(disk.directory, rng)
    for number in range(1, 30):
        with disk:
            program.directory = disk.directory
            abandoned = program.open()
            program._commit(abandoned)
            disk = disk.crash(base / str(number))
        if number % 3:
            del abandoned
            gc.collect()
    del disk
    gc.collect()
    assert not vfs.shim()._handles
    assert stored(base / "29") == program.promised[-1]


def test_an_exception_in_a_callback_is_raised_at_the_next_call(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = Program(base / "live", random.Random(17))
    with SimDisk(program.directory, program.rng) as disk, contextlib.closing(program.open()) as connection:
        monkeypatch.setattr(disk, "_faults", None)
        with pytest.raises(sqlite3.OperationalError):
            program._commit(connection)
        monkeypatch.undo()
        with pytest.raises(AttributeError):
            disk.crash(base / "image")


def test_a_connection_may_outlive_the_interpreter(base: Path) -> None:
    script = f"""
import builtins, pathlib, random, sqlite3
from tests.sim.disk import SimDisk
disk = SimDisk(pathlib.Path({str(base)!r}), random.Random(1))
disk.__enter__()
builtins.kept = sqlite3.connect({str(base / "spool.db")!r}, isolation_level=None)
builtins.kept.execute("PRAGMA journal_mode=WAL")
builtins.kept.execute("CREATE TABLE t (id)")
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parents[2])


def test_outside_a_simulation_sqlite_is_as_it_was(base: Path) -> None:
    library = vfs.shim()._library
    before = library.sqlite3_vfs_find(None)
    with SimDisk(base / "live", random.Random(18)) as disk:
        assert library.sqlite3_vfs_find(None) != before
        program = Program(base / "elsewhere", disk._rng)
        program.run(commits=3)
        assert disk.writes == disk.syncs == 0
    assert library.sqlite3_vfs_find(None) == before


def test_flip_bit_changes_one_bit(base: Path) -> None:
    program = Program(base / "live", random.Random(19))
    with SimDisk(program.directory, program.rng) as disk, contextlib.closing(program.open()) as connection:
        program._commit(connection)
        disk.crash(base / "image")
    before = contents(base / "image")
    path = flip_bit(base / "image", program.rng)
    changed = int.from_bytes(before[path.name]) ^ int.from_bytes(path.read_bytes())
    assert changed.bit_count() == 1
