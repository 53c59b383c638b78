"""Reading a spool whose daemon is down. Nothing of the spool is changed.

Opened ``mode=ro``; where SQLite can't do that (a log without its index, in a folder that may not be written), database
and log are copied to a private folder and the copy is read. Never ``immutable=1`` (it would not see the log), never a
writable connection (it would checkpoint and remove the log on closing).
"""

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from spoold.errors import RecordDamagedError, SpoolUnreadableError
from spoold.record import decode_record
from spoold.spool.contract import LaneState, Story
from spoold.spool.journal import DATABASE_NAME
from spoold.spool.reader import Reader, connect_reader
from spoold.spool.rows import State, load_state
from spoold.spool.schema import check_readable
from spoold.spool.statements import SQL

_SUFFIXES = ("", "-wal")


@dataclass(frozen=True, slots=True)
class OfflineSpool:
    """A spool as it lies on the disk.

    Attributes:
        file_bytes: Size of its files.
        is_copy: It could only be read as a copy.
    """

    state: State
    file_bytes: int
    is_copy: bool
    _file: Path

    def lanes(self) -> list[LaneState]:
        """All lanes by name."""
        return self.state.lane_states()

    def received_at_ms(self, after: int) -> int | None:
        """When the first event behind a seq was received (Unix milliseconds), or None."""
        with closing(connect_reader(self._file)) as connection:
            row = connection.execute(SQL["first_record_after"], (after,)).fetchone()
        try:
            return None if row is None else decode_record(*row).received_at_ms
        except RecordDamagedError:
            return None

    def find(self, event_id: bytes) -> Story | None:
        """An event by id, with what became of it."""
        with closing(Reader(self._file)) as reader:
            return reader.story(event_id, self.state)


@contextmanager
def open_offline(directory: Path) -> Iterator[OfflineSpool]:
    """Read the spool in ``directory``, whose daemon is down (one that runs is not harmed).

    Raises:
        SpoolUnreadableError: There is no spool, or it can't be read; the message names the path and the reason.
        SpoolVersionError: A newer version wrote it.
    """
    file = directory / DATABASE_NAME
    with ExitStack() as stack:
        try:
            size = sum(part.stat().st_size for part in _parts(file))
            try:
                state, source = _load(file), file
            except sqlite3.OperationalError:
                source = _copy(file, stack)
                state = _load(source)
        except FileNotFoundError:
            raise SpoolUnreadableError(f"there is no spool in {directory}: {DATABASE_NAME} is missing") from None
        except OSError as exc:
            raise SpoolUnreadableError(f"the spool in {directory} can't be read: {exc.strerror}") from exc
        except sqlite3.Error as exc:
            raise SpoolUnreadableError(f"the spool in {directory} can't be read: {exc}") from exc
        yield OfflineSpool(state, size, source != file, source)


def _parts(file: Path) -> list[Path]:
    parts = [file.with_name(file.name + suffix) for suffix in _SUFFIXES]
    return [part for part in parts if part == file or part.exists()]


def _load(file: Path) -> State:
    with closing(connect_reader(file)) as connection:
        check_readable(connection)
        return load_state(connection)


def _copy(file: Path, stack: ExitStack) -> Path:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="spoolctl-")))
    for part in _parts(file):
        shutil.copyfile(part, folder / part.name)
    # Kept open: a writable connection makes the index that the reading ones need.
    stack.enter_context(closing(sqlite3.connect(folder / file.name))).execute(SQL["load_spool"])
    return folder / file.name
