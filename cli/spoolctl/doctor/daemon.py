"""The daemon: whether it answers, whether it takes events, and what the kernel lets it open."""

import re
import resource
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from spoolctl.doctor.findings import Finding, Level
from spoolctl.doctor.subject import Subject
from spoolctl.render import age_of, count_of

#: Below this, some hundred connections and requests under way come close to the end.
_FEW_FILES = 1024
_HIGH = 0.8


def check_daemon(subject: Subject) -> Iterator[Finding]:
    """Whether it runs, and what it does."""
    if subject.running is None:
        yield _silent(subject)
        return
    daemon = subject.running.daemon
    text = f"{daemon.state}, pid {daemon.pid}, on {daemon.address}, up {age_of(daemon.uptime_seconds)}"
    if daemon.state == "full":
        yield Finding("daemon", Level.PROBLEM, f"{text}: new events are refused", subject.words.spoolctl("status"))
    elif daemon.state == "draining":
        yield Finding("daemon", Level.NOTE, f"{text}: it takes no new events", subject.words.restart())
    else:
        yield Finding("daemon", Level.OK, text)
    if daemon.test_mode and not subject.written.is_test_mode:
        yield Finding(
            "daemon", Level.NOTE, "test mode: nothing is sent", f"test_mode = false, {subject.words.restart()}"
        )


def check_open_files(subject: Subject) -> Iterator[Finding]:
    """The daemon's limit, or the one that a daemon started from here would have."""
    pid = None if subject.running is None else subject.running.daemon.pid
    limit = _limit_of(pid)
    whose = "a daemon started from here" if pid is None else "the daemon"
    if limit is None:
        yield Finding("open files", Level.NOTE, f"the limit of {whose} can't be read")
        return
    opened = _count_of(pid)
    text = f"{whose} may open {limit}" + (f", and has {opened}" if opened is not None else "")
    if limit < _FEW_FILES or (opened or 0) > _HIGH * limit:
        fix = "LimitNOFILE=65536 in the unit (systemctl edit spoold), or ulimit -n 65536 before it is started"
        yield Finding("open files", Level.WARNING, f"{text}: each connection takes one", fix)
    else:
        yield Finding("open files", Level.OK, text)


def _silent(subject: Subject) -> Finding:
    waiting = 0 if subject.resting is None else subject.resting.spool.pending
    if "may not open" in subject.silence:
        return Finding("daemon", Level.WARNING, subject.silence, "sudo spoolctl doctor")
    if waiting:
        text = f"{subject.silence}; {count_of(waiting, 'event')} wait in its spool"
        return Finding("daemon", Level.WARNING, text, subject.words.start())
    return Finding("daemon", Level.NOTE, subject.silence, subject.words.start())


def _limit_of(pid: int | None) -> int | None:
    if pid is None:
        return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    with suppress(OSError):
        found = re.search(r"(?m)^Max open files +(\d+)", Path(f"/proc/{pid}/limits").read_text())
        return int(found[1]) if found else None
    return None


def _count_of(pid: int | None) -> int | None:
    # Only root and the daemon's own user may look.
    with suppress(OSError):
        return None if pid is None else sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    return None
