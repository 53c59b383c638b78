"""Room: what is left on the disk and in the spool, against the owner's limits."""

from collections.abc import Iterator

from spoolctl.doctor.findings import Finding, Level
from spoolctl.doctor.mounts import existing
from spoolctl.doctor.subject import Subject
from spoolctl.render import size_of
from spoold.spool.space import free_bytes

_CHECK = "space"
_HIGH = 0.8


def check_space(subject: Subject) -> Iterator[Finding]:
    """Free bytes against ``min_free_bytes``, used ones against ``max_bytes``."""
    folder = existing(subject.directory)
    free = free_bytes(folder)
    least, most = subject.settings.size("spool.min_free_bytes"), subject.settings.size("spool.max_bytes")
    used = 0 if subject.status is None else subject.status.spool.bytes
    if least is None or most is None:
        yield Finding(_CHECK, Level.OK, f"{size_of(free)} free; the limits are not known")
        return
    room = f"{size_of(free)} free on the disk, spool.min_free_bytes is {size_of(least)}"
    share = f"the spool holds {size_of(used)}, {used / most:.0%} of spool.max_bytes"
    if subject.running is not None and subject.running.spool.refusing:
        text = f"new events are refused: {subject.running.spool.refusing}; {room}; {share}"
        yield Finding(_CHECK, Level.PROBLEM, text, _more_room(subject))
    elif free < least:
        text = f"{room}: new events are refused"
        yield Finding(_CHECK, Level.PROBLEM, text, f"make room (df -h {folder}), or lower spool.min_free_bytes")
    elif used > _HIGH * most:
        yield Finding(_CHECK, Level.WARNING, share, _more_room(subject))
    elif used + free - least < most:
        text = f"{room}; {share}, and the disk ends before that: at {size_of(used + max(0, free - least))}"
        yield Finding(_CHECK, Level.NOTE, text, "a larger disk, or less spool.max_bytes")
    else:
        yield Finding(_CHECK, Level.OK, f"{room}; {share}")


def _more_room(subject: Subject) -> str:
    return f"mend the lane that is behind ({subject.words.spoolctl('status')}), or raise spool.max_bytes"
