"""Opening a spool, and what is done when it is damaged: it goes into quarantine, and a new one is opened in its place.

Only what SQLite calls damage (SQLITE_CORRUPT, SQLITE_NOTADB), at the start or in an earlier run, and what it would
overlook and destroy: an empty or missing database beside a log, a log that is another's or broken in its midst, a value
that its table does not take. Never a full disk, a permission, an I/O error, a newer format, or another program's
database.

A run that met damage leaves a mark, and that is enough: SQLite may open the same file without noticing, and to look at
all of it (``PRAGMA quick_check``) would keep callers waiting for minutes. A file that was whole after all loses
nothing: what is pending in it is salvaged.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from spoold.clock import Clock, Entropy
from spoold.errors import SpoolCorruptError, SpooldError, SpoolFailedError
from spoold.spool.facts import read_facts
from spoold.spool.journal import DATABASE_NAME, EMPTY_BYTES
from spoold.spool.pages import Pages
from spoold.spool.quarantine import Quarantine, finish_quarantine, quarantine, quarantines, read_mark
from spoold.spool.salvage import take_over
from spoold.spool.space import Space
from spoold.spool.store import Store
from spoold.spool.transaction import Transaction


@dataclass(frozen=True, slots=True)
class OpenedStore:
    """An open store, and what had to be moved aside for it, if anything."""

    store: Store
    quarantined: Quarantine | None


def open_store(
    directory: Path, space: Space, clock: Clock, entropy: Entropy, *, durability: str = "fsync"
) -> OpenedStore:
    """Open or create the spool in ``directory``; a damaged one is moved aside first. The directory lock must be held.

    Raises:
        SpoolUnreadableError: ``spool.db`` is another program's.
        SpoolVersionError: A newer version wrote it.
        SpoolFailedError: The disk failed, has no room, or a damaged spool can't be moved.
    """
    with _moving():
        finish_quarantine(directory, clock.wall_ms())
    moved: Quarantine | None = None
    store: Store | None = None
    reason = _find_damage(directory)
    if reason is None:
        try:
            store = Store(directory, space, entropy, durability=durability)
        except SpoolCorruptError as exc:
            reason = str(exc)
    if reason is not None:
        # A full disk must have room for a few names and a new database.
        space.give_up_reserve()
        with _moving():
            moved = quarantine(directory, reason, clock.wall_ms())
    store = store or Store(directory, space, entropy, durability=durability)
    try:
        _take_over(store, directory)
    except BaseException:
        store.close()
        raise
    return OpenedStore(store, moved)


@contextmanager
def _moving() -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        what = f"{exc.filename}: {exc.strerror}"
        raise SpoolFailedError(f"the damaged spool can't be moved aside, it is still whole: {what}") from exc


def _find_damage(directory: Path) -> str | None:
    """What SQLite might not notice, or destroy in opening."""
    mark = read_mark(directory)
    if mark is not None:
        return mark
    size, log_size = (_size(directory / name) for name in (DATABASE_NAME, f"{DATABASE_NAME}-wal"))
    if size is None:
        return f"{DATABASE_NAME} is missing, and its log of {log_size} bytes is there" if log_size else None
    if size <= EMPTY_BYTES:
        return f"{DATABASE_NAME} is empty" + (f", and its log has {log_size} bytes" if log_size else "")
    return None


def _take_over(store: Store, directory: Path) -> None:
    """Have salvaged what lies in quarantine and this spool does not know."""
    there = quarantines(directory)
    if not there:
        return
    known = {one.source for one in store.salvages()}
    fresh = [one for one in there if str(one.folder.relative_to(directory)) not in known]
    if not fresh:
        return
    with Pages(fresh[-1].folder) as pages:
        facts = read_facts(pages)

    def work(tx: Transaction) -> None:
        take_over(tx, fresh, directory, facts)

    answer = store.apply([], [work]).writes[0]
    if isinstance(answer, SpooldError):
        raise answer


def _size(file: Path) -> int | None:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return None
