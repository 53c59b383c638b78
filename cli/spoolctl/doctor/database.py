"""The spool's database: whether it can be read, in which format, and laid out as a durable spool needs it."""

import os
from collections.abc import Iterator
from pathlib import Path

from spoolctl.doctor.findings import Finding, Level
from spoolctl.doctor.subject import OnDisk, Subject
from spoolctl.reading import OfflineDesk
from spoold.errors import SpoolError, SpoolUnreadableError, SpoolVersionError
from spoold.spool.journal import DATABASE_NAME
from spoold.spool.layout import SQLITE_VERSION, Layout
from spoold.spool.offline import open_offline

_CHECK = "database"
_DURABILITY = {"fsync": "FULL", "os": "NORMAL"}


def read_on_disk(directory: Path) -> OnDisk:
    """Open the spool once, as every offline reader does; that may cost a copy of it."""
    try:
        with open_offline(directory) as spool:
            return OnDisk(OfflineDesk(spool).status(), spool.layout(), spool.state.spool.last_id_ms)
    except SpoolError as exc:
        return OnDisk(error=exc)


def check_database(subject: Subject) -> Iterator[Finding]:
    """Whether it can be read, and what it is."""
    file = subject.directory / DATABASE_NAME
    if not file.exists():
        yield Finding(_CHECK, Level.NOTE, f"there is no {file} yet: spoold makes it at its first start")
        return
    if not os.access(file, os.R_OK):
        yield Finding(_CHECK, Level.WARNING, f"this user may not read {file}", "sudo spoolctl doctor")
        return
    error, layout = subject.on_disk.error, subject.on_disk.layout
    if isinstance(error, SpoolVersionError):
        yield Finding(_CHECK, Level.PROBLEM, str(error), "install the newer version of spoold again")
    elif error is not None:
        yield _unreadable(str(error) if isinstance(error, SpoolUnreadableError) else f"{file}: {error}", subject)
    elif layout is not None:
        yield from judge_layout(layout, subject)


def judge_layout(layout: Layout, subject: Subject) -> Iterator[Finding]:
    """Hold what the file says against what each start sets and reads back."""
    text = f"SQLite {SQLITE_VERSION}, format {layout.format} (readable from {layout.min_reader} on)"
    if layout.auto_vacuum != "incremental":
        text = f"auto_vacuum is {layout.auto_vacuum}, so spoold will not start: another program has rewritten the file"
        fix = f"spool.url: a new directory, start spoold, then: {_salvage(subject)} --apply"
        yield Finding(_CHECK, Level.PROBLEM, text, fix)
        return
    if layout.journal_mode != "wal":
        text = (
            f"journal_mode is {layout.journal_mode}: another program has changed it, and spoold's start sets it again"
        )
        yield Finding(_CHECK, Level.WARNING, text, subject.words.restart())
    synchronous = _DURABILITY.get(subject.settings.durability)
    pragmas = f"journal_mode {layout.journal_mode}, auto_vacuum {layout.auto_vacuum}, {layout.page_bytes}-byte pages"
    if synchronous == "NORMAL":
        why = "a power cut loses the last events that were accepted (synchronous NORMAL)"
        yield Finding(_CHECK, Level.WARNING, f'spool.durability is "os": {why}', 'spool.durability = "fsync"')
    elif synchronous is not None:
        pragmas += f', synchronous {synchronous} at each start (spool.durability is "{subject.settings.durability}")'
    yield Finding(_CHECK, Level.OK, f"{text}, {pragmas}")


def _unreadable(text: str, subject: Subject) -> Finding:
    if "older format" in text or "never finished" in text:
        return Finding(_CHECK, Level.NOTE, text, subject.words.start())
    fix = f"{_salvage(subject)} (what can be read of it); spoold's next start moves a damaged one aside whole"
    return Finding(_CHECK, Level.PROBLEM, text, fix)


def _salvage(subject: Subject) -> str:
    return subject.words.spoolctl("salvage", str(subject.directory))
