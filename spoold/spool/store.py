"""The store: one file, one writer connection, ``apply(appends, writes)`` is one transaction.

Synchronous and without threads: the writer thread feeds it in production, a seeded script in simulation.
"""

import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from spoold.clock import Entropy
from spoold.errors import SpoolCorruptError, SpooldError, SpoolFailedError, SpoolFullError
from spoold.spool.appending import Append, insert
from spoold.spool.audit import Moment, begin_reading
from spoold.spool.creation import create_database
from spoold.spool.journal import DATABASE_NAME, JournalQueue
from spoold.spool.leftover import check_log, kept_log, leftover_log
from spoold.spool.quarantine import find_beginning
from spoold.spool.rows import State, load_state, sound
from spoold.spool.salvaged import Salvage
from spoold.spool.schema import migrate, shipped_migrations
from spoold.spool.space import Space
from spoold.spool.statements import SQL
from spoold.spool.trail import Trail
from spoold.spool.transaction import Transaction
from spoold.spool.values import Receipt

Write = Callable[[Transaction], object]
Commit = Callable[[sqlite3.Connection], None]

_TAG_BYTES = 2
#: How Python's module begins to say so; SQLite itself has no code for it.
_NO_TEXT = "Could not decode to UTF-8"
_PAGE_BYTES = 4096
_REWRITE_BYTES = 1 << 20
_FRAME_BYTES = _PAGE_BYTES + 24
#: Where the WAL-index keeps mxFrame, the frames in use, and nBackfill, those of them that are in the database
#: (sqlite.org/walformat.html, section 2.1).
_MAX_FRAME = slice(16, 20)
_BACKFILL = slice(96, 100)


class Results(NamedTuple):
    """What a commit made of each append and each write: a value, or why it was refused."""

    appends: list[list[Receipt] | SpooldError]
    writes: list[object]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a checkpoint left: frames in the WAL, and how many of them are in the database."""

    frames: int
    done: int


def commit(connection: sqlite3.Connection) -> None:
    """The moment at which a group becomes true. A constructor argument, so that a simulation can die around it."""
    connection.execute("COMMIT")


class Store:
    """One spool directory, open for writing. Used by one thread at a time."""

    def __init__(
        self,
        directory: Path,
        space: Space,
        entropy: Entropy,
        *,
        durability: str = "fsync",
        commit: Commit = commit,
    ) -> None:
        """Open or create; the directory lock must be held.

        Raises:
            SpoolCorruptError: SQLite calls the file damaged or no database.
            SpoolVersionError: A newer version wrote it.
            SpoolFailedError: The disk failed, or has no room even without the reserve.
        """
        self._space = space
        self._commit = commit
        self._file = directory / DATABASE_NAME
        self._shm_fd: int | None = None
        #: SQLite called the file damaged: it is closed as it lies, for quarantine.
        self.is_damaged = False
        try:
            rewrite(self._side_file("-wal"))
        except OSError as exc:
            raise SpoolFailedError(f"the spool's log can't be made durable: {exc.strerror}") from exc
        try:
            # A spool that turns out to be damaged is left as it lies.
            with leftover_log(self._file) as leftover:
                if leftover is not None:
                    frames = self.measure_wal() // _FRAME_BYTES
                    check_log(self._file, frames, leftover, is_synced=durability == "fsync")
                self._open(directory, durability, entropy)
        except (sqlite3.Error, UnicodeDecodeError) as exc:
            error = classify(exc)
            if isinstance(error, SpoolFullError):
                error = SpoolFailedError(
                    f"the disk has no room to open the spool in {directory}, and there is no reserve to give up; "
                    "the spool is left as it is: make room on the disk, and start again"
                )
            raise error from exc

    def _open(self, directory: Path, durability: str, entropy: Entropy) -> None:
        try:
            self._load(directory, durability, entropy)
        except sqlite3.Error as exc:
            # On a full disk a leftover WAL can't even be opened, and a newer format needs room: that is what the
            # reserve is for.
            if isinstance(classify(exc), SpoolCorruptError) or not self._space.give_up_reserve():
                raise
            self._load(directory, durability, entropy)

    def _load(self, directory: Path, durability: str, entropy: Entropy) -> None:
        def furnish(connection: sqlite3.Connection) -> None:
            migrate(connection, shipped_migrations())
            if connection.execute(SQL["load_spool"]).fetchone() is None:
                beginning = find_beginning(directory)
                connection.execute(SQL["create_spool"], (*beginning, entropy.random_bytes(_TAG_BYTES)))

        try:
            create_database(directory, durability, furnish)
        except OSError as exc:
            raise SpoolFailedError(f"a new spool can't be made in {directory}: {exc.strerror}") from exc
        self._queue = JournalQueue(directory, durability)
        self.connection = self._queue.connection
        with ExitStack() as undo:
            undo.callback(self.close)
            furnish(self.connection)
            self.state: State = load_state(self.connection)
            self.trail = Trail(self.connection.execute(SQL["last_ledger_id"]).fetchone()[0])
            undo.pop_all()

    def apply(self, appends: Sequence[Append], writes: Sequence[Write]) -> Results:
        """Make everything true in one commit, or nothing.

        A single append or write that is refused (no room, a lost lease) is answered with its error and is not part of
        the commit. A group that fails for space is retried without its appends, so that settles and trims still commit.

        Raises:
            SpoolFullError: Not even the writes fit, the reserve included; surely nothing was stored.
            SpoolFailedError: The disk failed; what was committed is unknown until the next start.
            SpoolCorruptError: SQLite calls the file damaged.
        """
        refusals = self._space.admit([append.size for append in appends], self.used_bytes)
        admitted = [append for append, refusal in zip(appends, refusals, strict=True) if refusal is None]
        try:
            receipts, results = self._transact(admitted, writes)
        except SpoolFullError as exc:
            self._space.note_disk_full()
            _, results = self._transact([], writes)
            return Results([exc for _ in appends], results)
        answers = iter(receipts)
        return Results([next(answers) if refusal is None else refusal for refusal in refusals], results)

    def _transact(self, appends: Sequence[Append], writes: Sequence[Write]) -> tuple[list[list[Receipt]], list[object]]:
        if not appends and not writes:
            return [], []
        lanes, replays = dict(self.state.lanes), dict(self.state.replays)
        tx = Transaction(self.connection, self.state.spool, lanes, replays, self.trail)
        try:
            self.connection.execute("BEGIN IMMEDIATE")
            results = [_run(write, tx) for write in writes]
            receipts = insert(tx, appends)
            if tx.spool is not self.state.spool:
                self.connection.execute(SQL["save_spool"], tx.spool)
            self._commit(self.connection)
        except BaseException as exc:
            # Needs no room: what is in the log behind the last commit is not taken.
            with suppress(sqlite3.Error):
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
            if isinstance(exc, sqlite3.Error):
                raise self._classified(exc) from exc
            raise
        self.state = State(tx.spool, tx.lanes, tx.replays)
        self.trail.committed(tx.aside)
        return receipts, results

    def pin(self, reader: sqlite3.Connection, trail_count: int | None) -> Moment | sqlite3.Error:
        """Have ``reader`` see what the last commit made true; belongs between commits.

        Args:
            trail_count: After how many changes the trail is wanted, if it is.

        Returns:
            What it sees; a reader's trouble, which is not the writer's end.
        """
        try:
            begin_reading(reader)
        except sqlite3.Error as exc:
            return exc
        changes = None if trail_count is None else self.trail.since(trail_count)
        return Moment(self.state, self.trail.count, changes)

    def checkpoint(self) -> Checkpoint:
        """Copy WAL pages into the database as far as readers and the disk's room allow.

        Belongs between groups: appends wait meanwhile.
        """
        try:
            _busy, frames, done = self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            self._space.free_list_bytes = self._pragma("freelist_count") * _PAGE_BYTES
        except sqlite3.Error as exc:
            error = self._classified(exc)
            if not isinstance(error, SpoolFullError):
                raise error from exc
            # The database can't grow. The log still has it all, so settles go on; appends wait for room.
            if self._space.note_disk_full():
                return self.checkpoint()
            return Checkpoint(frames=self.measure_wal() // _FRAME_BYTES, done=0)
        return Checkpoint(frames, done)

    def vacuum(self, keep_bytes: int, max_bytes: int) -> None:
        """Give free pages back to the file system, at most ``max_bytes``, but keep some for the next appends."""
        try:
            free_pages = self._pragma("freelist_count")
            pages = min(free_pages - keep_bytes // _PAGE_BYTES, max_bytes // _PAGE_BYTES)
            if pages > 0:
                # As a script: ``execute`` steps it once, however much is fetched, and a step frees a single page.
                self.connection.executescript(f"PRAGMA incremental_vacuum({pages})")
            self._space.free_list_bytes = self._pragma("freelist_count") * _PAGE_BYTES
        except sqlite3.Error as exc:
            error = self._classified(exc)
            if not isinstance(error, SpoolFullError):
                raise error from exc

    def give_back(self) -> None:
        """Where room is short: all free pages go, in steps that take little of it; the file gets shorter at once."""
        self.vacuum(0, self._space.limits.checkpoint_bytes)
        if self.measure_wal():
            self.checkpoint()

    def measure_wal(self) -> int:
        """Bytes of the WAL in use; the file itself keeps its size, since overwriting syncs faster than growing."""
        if self._shm_fd is None:
            try:
                self._shm_fd = os.open(self._side_file("-shm"), os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return 0
        header = os.pread(self._shm_fd, _BACKFILL.stop, 0)
        frames, done = (int.from_bytes(header[field], "little") for field in (_MAX_FRAME, _BACKFILL))
        # What is in the database from end to end is begun anew by the next commit.
        self._space.wal_frame_bytes = 0 if done == frames else frames * _FRAME_BYTES
        return self._space.wal_frame_bytes

    @property
    def is_log_pinned(self) -> bool:
        """Whether a reader has kept the WAL from being begun anew for too long."""
        return self._space.wal_frame_bytes > self._space.limits.pinned_wal_bytes

    def wal_bytes(self) -> int:
        """Size of the WAL file."""
        return _size(self._side_file("-wal"))

    def file_bytes(self) -> int:
        """Size of all the spool's files on disk."""
        return _size(self._file) + self.wal_bytes()

    def used_bytes(self) -> int:
        """What ``max_bytes`` bounds: the files, less the pages that the next appends will fill again."""
        return self.file_bytes() - self._space.free_list_bytes

    def close(self) -> None:
        """Checkpoint and close; a damaged spool without the checkpoint. Idempotent."""
        if self._shm_fd is not None:
            os.close(self._shm_fd)
            self._shm_fd = None
        with kept_log(self._file) if self.is_damaged else nullcontext():
            self._queue.close()

    def salvages(self) -> list[Salvage]:
        """What was ever brought over from damaged spools, or is being, the oldest first."""
        return [Salvage(*sound("salvage", Salvage, row)) for row in self.connection.execute(SQL["load_salvages"])]

    def _classified(self, error: sqlite3.Error) -> SpooldError:
        found = classify(error)
        self.is_damaged = self.is_damaged or isinstance(found, SpoolCorruptError)
        return found

    def _pragma(self, name: str) -> int:
        return int(self.connection.execute(f"PRAGMA {name}").fetchone()[0])

    def _side_file(self, suffix: str) -> Path:
        return self._file.with_name(self._file.name + suffix)


def rewrite(file: Path) -> None:
    """Write a file's bytes over themselves and sync them.

    After a sync that failed the kernel forgets which pages it could not write: the last process ended on it, this one
    reads those pages from memory as if all were well, and what it appends behind them is lost in a power cut. Written
    anew they are synced anew.
    """
    try:
        fd = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        offset = 0
        while chunk := os.pread(fd, _REWRITE_BYTES, offset):
            os.pwrite(fd, chunk, offset)
            offset += len(chunk)
        os.fsync(fd)
    finally:
        os.close(fd)


def classify(error: sqlite3.Error | UnicodeDecodeError) -> SpooldError:
    """What an error of SQLite means for the spool, or a word in it that is no text. Only damage is called damage."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return SpoolFullError("the disk is full", reason="disk")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return SpoolCorruptError(f"SQLite can't read the spool: {error}")
    if str(error).startswith(_NO_TEXT):
        # Whatever we write into a row as text is text. What stands there instead is nothing for a log.
        return SpoolCorruptError("SQLite can't read the spool: a text in a row is none")
    if code in (0, sqlite3.SQLITE_ERROR):
        # Our statements fit our tables: the words of the schema are damaged.
        return SpoolFailedError(
            f"the spool's tables are not as this version made them: {error}; it is left as it is. What it holds can be "
            "brought over into a new one: spoolctl salvage"
        )
    return SpoolFailedError(f"the spool's disk failed: {error}")


def _run(write: Write, tx: Transaction) -> object:
    try:
        return write(tx)
    except SpooldError as exc:
        return exc


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
