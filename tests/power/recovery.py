"""A damaged spool, and what must be true of it wherever the power was cut while it was moved aside and salvaged."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from spoold.clock import Clock
from spoold.spool.journal import DATABASE_NAME
from tests.power.book import Book
from tests.power.opening import Opened, opened_spool
from tests.power.platter import Image
from tests.power.promises import BrokenPromiseError, check_balance, check_goes_on, check_owed
from tests.support.clock import FakeEntropy

_FILES = (DATABASE_NAME, f"{DATABASE_NAME}-wal")
_HEADER_BYTES = 100
_LOG_HEADER_BYTES, _FRAME_BYTES = 32, 24 + 4096


def break_header(image: Image) -> Image:
    """The same, with a database that SQLite takes for none."""
    node = image.files[DATABASE_NAME]
    content = b"\xa5" * _HEADER_BYTES + image.contents[node][_HEADER_BYTES:]
    return Image(image.directories, image.files, {**image.contents, node: content})


def covers_header(image: Image) -> bool:
    """Whether the log holds the database's first page: then SQLite never looks at the one in the file."""
    log = image.content(f"{DATABASE_NAME}-wal") or b""
    pages = (log[start : start + 4] for start in range(_LOG_HEADER_BYTES, len(log), _FRAME_BYTES))
    return any(int.from_bytes(page) == 1 for page in pages)


def check_recovery(
    directory: Path, image: Image, at: int, *, before: Image | None, book: Book, now: Book, clock: Clock
) -> None:
    """The old files are whole under one name at least; after the next start everything that waited is there, once.

    Args:
        before: The damaged spool; None where it was still written to.
        book: What it had promised.
        now: What was promised since.
    """
    if before is not None:
        check_whole(image, before)
    with opened_spool(directory, clock, FakeEntropy(at)) as opened:
        opened.salvage()
        if opened.unread:
            raise BrokenPromiseError(f"a source can't be read: {opened.unread}")
        check_owed(opened, now, at)
        check_salvaged(opened, book, [saved.record for saved in now.saved if saved.at <= at])
        check_balance(opened)
        check_goes_on(opened)


def check_whole(image: Image, before: Image) -> None:
    """The damaged files: under their old names, or together in a quarantine of which nothing is missing."""
    wanted = {name: before.content(name) for name in _FILES if before.content(name)}
    if not any(
        all(image.content(f"{folder}{name}") == content for name, content in wanted.items())
        for folder in _folders(image)
    ):
        raise BrokenPromiseError(f"the damaged spool is whole nowhere: {sorted(image.files)}")


def _folders(image: Image) -> Iterator[str]:
    yield ""
    for path in image.directories:
        if f"{path}/quarantine.json" in image.files and not path.endswith("/part"):
            yield f"{path}/"


def check_salvaged(opened: Opened, book: Book, saved: Sequence[bytes]) -> None:
    """Each event that some lane may still have had before it is in the journal, byte for byte, and once."""
    settled = min((book.begun.get(lane, 0) for lane in opened.store.state.lanes), default=0)
    found = Counter(record for (record,) in opened.rows("SELECT data FROM queue_journal"))
    for owed in book.owed:
        is_waiting = owed.seq > settled
        if found[owed.record] > 1 or (is_waiting and not found[owed.record]):
            raise BrokenPromiseError(f"event {owed.seq} was salvaged {found[owed.record]} times")
    if any(found[record] != 1 for record in saved):
        raise BrokenPromiseError(f"of {len(saved)} events moved aside: {[found[record] for record in saved]}")
