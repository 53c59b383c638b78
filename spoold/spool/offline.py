"""Reading a spool whose daemon is down. Not a byte in its directory is changed, whoever reads.

Where the log and its index are there (a daemon runs, or was killed), the spool is read where it lies: ``mode=ro``, and
``readonly_shm``, since ``mode=ro`` alone writes the index, and makes index and log where they are missing, in a folder
that the reader may write. Where there is no log (the daemon stopped in order), the database alone is whole: it is read
with ``immutable=1``, which would not see a log and so is never used beside one, and which spares a large spool the
copy. Else, a log without its index, both are copied to a private folder and the copy is read. Never a writable
connection: it would checkpoint and remove the log.
"""

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from spoold.errors import SpoolUnreadableError
from spoold.record import DamagedEvent, Event
from spoold.spool.audit import Moment, begin_reading
from spoold.spool.balance import Audit, AuditPosition, TallyPage, TallyPosition
from spoold.spool.journal import DATABASE_NAME, EMPTY_BYTES
from spoold.spool.layout import Layout, read_layout
from spoold.spool.reader import Reader, connect_reader
from spoold.spool.rows import State, find_row, load_state
from spoold.spool.salvaged import Salvage
from spoold.spool.schema import check_readable, shipped_migrations
from spoold.spool.selecting import view_replay
from spoold.spool.statements import SQL
from spoold.spool.store import classify
from spoold.spool.values import DeadEvent, LaneState, Replay, Story

_BUSY_SECONDS = 10.0
_AUDIT_ROWS = 1000
#: A daemon that starts while its spool is copied spoils the copy; then the log is there and no copy is needed.
_TRIES = 3
#: Left free where the copy goes: a full disk would stop the daemon that somebody is about to start.
_SPARE_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class OfflineSpool:
    """A spool as it lies on the disk. Belongs to one thread.

    Attributes:
        state: Counters and lanes, of one moment.
        file_bytes: Size of its files.
        is_copy: It could only be read as a copy.
    """

    state: State
    file_bytes: int
    is_copy: bool
    _reader: "_OneConnectionReader"

    def layout(self) -> Layout:
        """How the database is laid out. Raises as ``received_at_ms`` does."""
        return self._reader.layout()

    def lanes(self) -> list[LaneState]:
        """All lanes by name."""
        return self.state.lane_states()

    def received_at_ms(self, after: int) -> int | None:
        """When the first event behind a seq was received (Unix milliseconds), or None.

        Raises:
            SpoolError: SQLite can't read it.
        """
        event = self._reader.first_after(after)
        return None if event is None or isinstance(event, DamagedEvent) else event.received_at_ms

    def pending(self) -> int:
        """Events that some lane has not settled, each counted once. Raises as ``received_at_ms`` does."""
        return self._reader.pending(self.state)

    def oldest_pending_at_ms(self, lane: str) -> int | None:
        """When the lane's oldest pending event was received (Unix milliseconds), or None. Raises likewise."""
        row = find_row(self.state.lanes, lane)
        aside = self._reader.first_deferred(lane) if row.deferred else None
        ahead = self._reader.first_after(row.front) if row.ahead(self.state.spool) else None
        return min((event.received_at_ms for event in (aside, ahead) if isinstance(event, Event)), default=None)

    def dead(self, lane: str, *, after: int, max_events: int) -> list[DeadEvent]:
        """Dead letters of a lane behind a seq, in order, at most 1 000.

        Raises:
            UnknownLaneError: There is no such lane.
            SpoolError: SQLite can't read it.
        """
        return self._reader.dead(find_row(self.state.lanes, lane).name, after=after, max_events=max_events)

    def find_dead(self, event_id: bytes) -> list[DeadEvent]:
        """An event's dead letters, by lane. Raises as ``received_at_ms`` does."""
        return self._reader.find_dead(event_id)

    def replays(self) -> list[Replay]:
        """Those that run and the last hundred that ended, the newest first."""
        return [view_replay(row) for row in reversed(self.state.replays.values())]

    def audit(self) -> Iterator[tuple[float, Audit | None]]:
        """Recount everything: how far that is, 0 to 1, and at last the outcome.

        Raises:
            SpoolUnreadableError: It changed since it was opened: a daemon runs.
            SpoolError: SQLite can't read it.
        """
        position: AuditPosition | None = None
        while True:
            position, progress, audit = self._reader.audit(position, self._pin, _AUDIT_ROWS)
            yield progress, audit
            if audit is not None:
                return

    def tally(self, since_ms: int | None, until_ms: int | None) -> Iterator[TallyPage]:
        """Count the events that the journal holds. Raises as ``received_at_ms`` does."""
        position: TallyPosition | None = None
        while True:
            page = self._reader.tally(since_ms, until_ms, position, _AUDIT_ROWS)
            yield page
            position = page.position
            if position is None:
                return

    def _pin(self, connection: sqlite3.Connection) -> Moment:
        begin_reading(connection)
        if load_state(connection) != self.state:
            raise SpoolUnreadableError("it changes while it is counted: a daemon writes it, ask that one (--socket)")
        return Moment(self.state, 0, ())

    def salvages(self) -> list[Salvage]:
        """What was brought over from damaged spools, the oldest first. Raises as ``received_at_ms`` does."""
        return self._reader.salvages()

    def find(self, event_id: bytes) -> Story | None:
        """An event by id, with what became of it. Raises as ``received_at_ms`` does."""
        return self._reader.story(event_id, self.state)


@contextmanager
def open_offline(directory: Path) -> Iterator[OfflineSpool]:
    """Read the spool in ``directory``, whose daemon is down (one that runs is not harmed).

    Raises:
        SpoolUnreadableError: There is no spool, or it can't be read; the message names the path and the reason.
        SpoolVersionError: A newer version wrote it.
    """
    with ExitStack() as stack:
        try:
            spool = _open(directory / DATABASE_NAME, stack)
        except FileNotFoundError:
            raise SpoolUnreadableError(f"there is no spool in {directory}: {DATABASE_NAME} is missing") from None
        except OSError as exc:
            raise SpoolUnreadableError(f"the spool in {directory} can't be read: {exc.strerror}") from exc
        except (sqlite3.Error, UnicodeDecodeError) as exc:
            raise SpoolUnreadableError(f"the spool in {directory} can't be read: {exc}") from exc
        yield spool


class _Files(NamedTuple):
    """What lies in the directory: for database and log (size, time of the last change), and whether there is an index.

    The log is None when it is missing.
    """

    database: tuple[int, int]
    log: tuple[int, int] | None
    has_index: bool


class _OneConnectionReader(Reader):
    """Reads through the one connection that was opened with care; the stock ones would write the index."""

    def __init__(self, file: Path, connection: sqlite3.Connection) -> None:
        super().__init__(file)
        self._opened = connection

    def layout(self) -> Layout:
        """See ``OfflineSpool``."""
        with self._connection() as connection:
            return read_layout(connection, self._file)

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            yield self._opened
        except sqlite3.Error as exc:
            raise classify(exc) from exc


def _open(file: Path, stack: ExitStack) -> OfflineSpool:
    for _ in range(_TRIES):
        before = _look(file)
        if before.database[0] <= EMPTY_BYTES:
            # SQLite would delete its log, whoever opens it.
            raise SpoolUnreadableError(
                f"the spool in {file.parent} can't be read: {file.name} is empty; "
                "spoolctl salvage tells what its log holds"
            )
        if before.log is None or before.has_index:
            how = "immutable=1" if before.log is None else "readonly_shm=1"
            spool = _open_in_place(file, before, how, stack)
            # A daemon that started meanwhile has a log, which was not seen.
            if spool is not None and (before.log is not None or _look(file) == before):
                return spool
            stack.close()
        copy = _copy(file, before, stack)
        if copy is not None and _look(file) == before:
            connection = stack.enter_context(closing(connect_reader(copy)))
            reader = _OneConnectionReader(copy, connection)
            return OfflineSpool(_load(connection, file), _size(before), is_copy=True, _reader=reader)
        stack.close()
    raise SpoolUnreadableError(f"{file} changes while it is copied: a daemon writes it, ask that one")


def _open_in_place(file: Path, files: _Files, how: str, stack: ExitStack) -> OfflineSpool | None:
    uri = f"{file.absolute().as_uri()}?mode=ro&{how}"
    with ExitStack() as attempt:
        try:
            connection = sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)
            attempt.enter_context(closing(connection))
            state = _load(connection, file)
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode == sqlite3.SQLITE_ERROR:
                # It was opened and holds something else; a copy would hold the same.
                raise
            return None
        stack.push(attempt.pop_all())
    return OfflineSpool(state, _size(files), is_copy=False, _reader=_OneConnectionReader(file, connection))


def _copy(file: Path, files: _Files, stack: ExitStack) -> Path | None:
    """Database and log in a folder of their own, removed with ``stack``; None when one went away meanwhile."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="spoolctl-")))
    free_bytes = shutil.disk_usage(folder).free
    if _size(files) + _SPARE_BYTES > free_bytes:
        raise SpoolUnreadableError(
            f"{file} can only be read as a copy, and {folder.parent} has no room for its {_size(files)} bytes "
            f"({free_bytes} are free): name a folder with more room (TMPDIR), or start the daemon and ask it"
        )
    try:
        for source in (file, _beside(file, "-wal")) if files.log is not None else (file,):
            shutil.copyfile(source, folder / source.name)
    except FileNotFoundError:
        return None
    return folder / file.name


def _load(connection: sqlite3.Connection, file: Path) -> State:
    # One transaction: a daemon may be writing, and the rows belong together.
    connection.execute("BEGIN")
    check_readable(connection)
    version = connection.execute("SELECT version FROM schema").fetchone()[0]
    if version < max(shipped_migrations()):
        raise SpoolUnreadableError(
            f"{file} has the older format {version}: the daemon's next start brings it up to date"
        )
    if connection.execute(SQL["load_spool"]).fetchone() is None:
        raise SpoolUnreadableError(f"{file} was never finished: the daemon's first start makes it whole")
    state = load_state(connection)
    connection.execute("COMMIT")
    return state


def _look(file: Path) -> _Files:
    stat = file.stat()
    log: tuple[int, int] | None = None
    if _beside(file, "-wal").exists():
        log_stat = _beside(file, "-wal").stat()
        log = (log_stat.st_size, log_stat.st_mtime_ns)
    return _Files((stat.st_size, stat.st_mtime_ns), log, _beside(file, "-shm").exists())


def _size(files: _Files) -> int:
    return files.database[0] + (0 if files.log is None else files.log[0])


def _beside(file: Path, suffix: str) -> Path:
    return file.with_name(file.name + suffix)
