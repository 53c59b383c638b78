"""Moving a damaged spool aside: whole, never changed, and found complete or not at all after a crash at any moment.

The files are linked into ``quarantine/part`` and synced, a note of what the next spool must know is written beside
them, and the folder takes its final name: from then on the quarantine is complete. Only then the old names go. A start
that finds an old name which is the same file as a quarantined one finishes what was begun, before it looks at anything.
"""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import orjson

from spoold.spool.facts import read_facts
from spoold.spool.journal import DATABASE_NAME
from spoold.spool.pages import Pages

QUARANTINE_NAME = "quarantine"
#: Beside the database: what went wrong, from a daemon that met damage while it ran to its next start.
MARK_NAME = "damaged"
_PART_NAME = "part"
_NOTE_NAME = "quarantine.json"
_LOG_NAME = f"{DATABASE_NAME}-wal"
_NAMES = (DATABASE_NAME, _LOG_NAME, f"{DATABASE_NAME}-journal")
#: Why what an unfinished quarantine had linked is one of its own.
_ORPHANED = "its name was taken away while it was moved aside"
_INDEX_NAME = f"{DATABASE_NAME}-shm"
#: The next journal begins so far behind the last one (design: damage).
SEQ_STEP = 1_000_000
#: And here when nothing says where that ended: a million events a second take thirty years to get there.
UNKNOWN_SEQ = 10**15
#: A time of the ids that is so far ahead of the clock is damage, not a clock that was wrong.
_MAX_AHEAD_MS = 30 * 86_400_000


class Beginning(NamedTuple):
    """From where on a new spool counts: ``last_seq`` and ``last_id_ms`` as the table ``spool`` has them."""

    last_seq: int = 0
    last_id_ms: int = 0


class Quarantine(NamedTuple):
    """A damaged spool that was moved aside.

    Attributes:
        folder: Where it is.
        reason: What is wrong with it.
        found_at_ms: Wall clock, Unix milliseconds.
        bytes: Size of its files.
        beginning: From where on the spool after it counts.
    """

    folder: Path
    reason: str
    found_at_ms: int
    bytes: int
    beginning: Beginning


def mark_damaged(directory: Path, reason: str) -> None:
    """Tell the next start that SQLite met damage here: it may open the same file without noticing.

    Raises:
        OSError: It can't be written.
    """
    _write(directory / f"{MARK_NAME}.new", reason.encode())
    (directory / f"{MARK_NAME}.new").rename(directory / MARK_NAME)
    _sync(directory)


def read_mark(directory: Path) -> str | None:
    """What an earlier run met, or None."""
    try:
        return (directory / MARK_NAME).read_text(errors="replace")
    except FileNotFoundError:
        return None


def quarantine(directory: Path, reason: str, now_ms: int) -> Quarantine | None:
    """Move the spool in ``directory`` aside; None when there is none.

    The directory lock must be held, and nothing have the spool open.

    Raises:
        OSError: It can't be moved. The old spool, or a complete quarantine, is there all the same.
    """
    files = [file for name in _NAMES if (file := directory / name).exists()]
    moved: Quarantine | None = None
    if files:
        _keep_orphans(directory, now_ms)
        part = _empty_part(directory)
        for file in files:
            os.link(file, part / file.name)
            _sync(file)
        _write_note(directory, directory, reason, now_ms)
        moved = _complete(part, now_ms)
    finish_quarantine(directory, now_ms)
    (directory / MARK_NAME).unlink(missing_ok=True)
    # Synced before a new database is made: a mark that came back would condemn that one.
    _sync(directory)
    return moved


def finish_quarantine(directory: Path, now_ms: int) -> None:
    """Drop the old names of what is in quarantine, where a crash has left them. Costs a look or two where nothing is.

    Raises:
        OSError: They can't be dropped.
    """
    if not (directory / DATABASE_NAME).exists():
        _keep_orphans(directory, now_ms)
    files = [file for name in _NAMES if (file := directory / name).exists() and file.stat().st_nlink > 1]
    twins = [file for file in files if any(_is_same(file, one.folder / file.name) for one in quarantines(directory))]
    if twins:
        # The quarantine's name, which may be that of a process that has ended since.
        _sync(directory / QUARANTINE_NAME)
        _sync(directory)
    for file in twins:
        file.unlink()
        _sync(directory)
    if files and not (directory / DATABASE_NAME).exists():
        (directory / _INDEX_NAME).unlink(missing_ok=True)


def quarantines(directory: Path) -> list[Quarantine]:
    """The complete ones in a spool's directory, the oldest first."""
    notes = sorted((directory / QUARANTINE_NAME).glob(f"*/{_NOTE_NAME}"))
    found = [one for note in notes if note.parent.name != _PART_NAME and (one := _read_note(note)) is not None]
    # Not by the wall clock, which may have gone back: each one's beginning is behind all before it.
    return sorted(found, key=lambda one: (one.beginning, one.folder))


def find_beginning(directory: Path) -> Beginning:
    """From where on a new spool in ``directory`` counts: behind all that are in quarantine."""
    notes = [one.beginning for one in quarantines(directory)]
    return Beginning(
        max((note.last_seq for note in notes), default=0), max((note.last_id_ms for note in notes), default=0)
    )


def _write_note(directory: Path, source: Path, reason: str, now_ms: int) -> None:
    """Write into ``part`` what the spool after the one whose files are in ``source`` must know."""
    with Pages(source) as pages:
        facts = read_facts(pages)
    # A seq that is damaged upwards does no harm; one that is damaged downwards is held by the others.
    known = facts.last_seq
    before = find_beginning(directory).last_seq
    last_seq = before + UNKNOWN_SEQ if known is None else max(known, before) + SEQ_STEP
    last_id_ms = facts.spool.last_id_ms if facts.spool is not None else 0
    note = {
        "reason": reason,
        "found_at_ms": now_ms,
        "bytes": sum(file.stat().st_size for name in _NAMES if (file := source / name).exists()),
        "last_seq": last_seq - 1,
        "last_id_ms": max(now_ms, last_id_ms if last_id_ms < now_ms + _MAX_AHEAD_MS else 0),
    }
    _write(directory / QUARANTINE_NAME / _PART_NAME / _NOTE_NAME, orjson.dumps(note))


def _read_note(file: Path) -> Quarantine | None:
    try:
        note = orjson.loads(file.read_bytes())
        beginning = Beginning(int(note["last_seq"]), int(note["last_id_ms"]))
        return Quarantine(file.parent, str(note["reason"]), int(note["found_at_ms"]), int(note["bytes"]), beginning)
    except (ValueError, KeyError, TypeError):
        # Not ours, or hurt by what hurt the spool: the folder stays as it is.
        return None


def _empty_part(directory: Path) -> Path:
    """The folder in which a quarantine is put together; what a crash has left in it are second names."""
    part = directory / QUARANTINE_NAME / _PART_NAME
    # One by one: what is made on the way to a folder has not its mode.
    for folder in (part.parent, part):
        folder.mkdir(mode=0o750, exist_ok=True)
    for file in part.iterdir():
        file.unlink()
    return part


def _keep_orphans(directory: Path, now_ms: int) -> None:
    """Make what an unfinished quarantine holds one of its own where it is the last of a file.

    Another hand has taken the first name away since. Not to be asked of a spool that has been in use again: SQLite
    itself deletes a log.
    """
    part = directory / QUARANTINE_NAME / _PART_NAME
    files = list(part.iterdir()) if part.is_dir() else []
    if any(file.name != _NOTE_NAME and file.stat().st_nlink == 1 for file in files):
        note = part / _NOTE_NAME
        if note not in files or _read_note(note) is None:
            _write_note(directory, part, _ORPHANED, now_ms)
        _complete(part, now_ms)


def _complete(part: Path, now_ms: int) -> Quarantine | None:
    """Give ``part`` its final name; all that is in it is synced but its own names."""
    _sync(part)
    target = part.rename(_free_name(part.parent, now_ms))
    return _read_note(target / _NOTE_NAME)


def _free_name(folder: Path, now_ms: int) -> Path:
    moment = datetime.fromtimestamp(now_ms / 1000, UTC).strftime("%Y%m%dT%H%M%S")
    names = [moment, *(f"{moment}-{number}" for number in range(2, 1000))]
    return next(path for name in names if not (path := folder / name).exists())


def _is_same(one: Path, other: Path) -> bool:
    return other.exists() and one.samefile(other)


def _write(file: Path, content: bytes) -> None:
    fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
    try:
        os.write(fd, content)
        os.fsync(fd)
    finally:
        os.close(fd)


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
