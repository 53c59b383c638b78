"""The wall clock: against the newest event, against the files' times, and whether anybody sets it right."""

import ctypes
from collections.abc import Iterator
from contextlib import suppress

from spoolctl.doctor.findings import Finding, Level
from spoolctl.doctor.subject import Subject
from spoolctl.render import age_of, format_time
from spoold.spool.journal import DATABASE_NAME

_CHECK = "clock"
_FIX = "timedatectl set-ntp true (or another time service); event ids go on from the newest till the clock is there"
#: Two moments of one clock, some steps of the program apart.
_TOLERANCE_MS = 2000
#: Of adjtimex(2): the kernel was not told that the clock is right.
_TIME_ERROR = 5


class _Timex(ctypes.Structure):
    """What adjtimex(2) fills; with ``modes`` 0 it sets nothing. We read the result only."""

    _fields_ = (("modes", ctypes.c_uint), ("rest", ctypes.c_long * 31))


def check_clock(subject: Subject) -> Iterator[Finding]:
    """Whether it has run backwards, and whether it is kept right."""
    for what, at_ms in _moments(subject):
        ahead_ms = at_ms - subject.now_ms
        if ahead_ms > _TOLERANCE_MS:
            text = f"it is {age_of(ahead_ms / 1000)} behind {what} ({format_time(at_ms)}): it was set back, or is wrong"
            yield Finding(_CHECK, Level.WARNING, text, _FIX)
            return
    now = format_time(subject.now_ms)
    synchronized = is_synchronized()
    if synchronized is None:
        yield Finding(_CHECK, Level.NOTE, f"{now}; whether it is synchronised, the kernel does not tell")
    elif synchronized:
        yield Finding(_CHECK, Level.OK, f"{now}, synchronised")
    else:
        # A host's or a container's clock may be right all the same: no more than a note.
        text = f"{now}; the kernel knows of no synchronisation, and events without a time get this one"
        yield Finding(_CHECK, Level.NOTE, text, "timedatectl set-ntp true (or another time service)")


def is_synchronized() -> bool | None:
    """What the kernel says (adjtimex, nothing is set); None where it says nothing."""
    try:
        answer: int = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(_Timex()))
    except (OSError, AttributeError):
        return None
    return None if answer < 0 else answer != _TIME_ERROR


def _moments(subject: Subject) -> Iterator[tuple[str, int]]:
    """What can't lie in the future."""
    file = subject.directory / DATABASE_NAME
    if subject.on_disk.newest_at_ms is not None:
        yield "the newest event", subject.on_disk.newest_at_ms
    for path in (file, file.with_name(f"{file.name}-wal")):
        with suppress(FileNotFoundError):
            yield f"the last change of {path.name}", path.stat().st_mtime_ns // 1_000_000
