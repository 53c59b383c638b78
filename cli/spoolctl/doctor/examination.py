"""All checks in their order, and what to do next."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from spoolctl.client import Target
from spoolctl.doctor.clock import check_clock
from spoolctl.doctor.configuration import CHECK, Reading, check_configuration, read_configuration
from spoolctl.doctor.daemon import check_daemon, check_open_files
from spoolctl.doctor.damage import check_damage, check_ledger
from spoolctl.doctor.database import check_database, read_on_disk
from spoolctl.doctor.directory import check_directory, check_file_system, check_lock
from spoolctl.doctor.disk import check_disk
from spoolctl.doctor.findings import Finding, Level, worst_of
from spoolctl.doctor.lanes import check_lanes
from spoolctl.doctor.service import Words, find_spoold, is_unit_there, service_user
from spoolctl.doctor.space import check_space
from spoolctl.doctor.subject import Settings, Subject
from spoolctl.doctor.unit import check_unit
from spoolctl.doctor.versions import check_versions
from spoolctl.failure import Exit, Failure
from spoold.api.spoold.admin.v1 import admin_pb2
from spoold.clock import SystemClock

Check = Callable[[Subject], Iterable[Finding]]

_CHECKS: dict[str, Check] = {
    "directory": check_directory,
    "file system": check_file_system,
    "space": check_space,
    "disk": check_disk,
    "database": check_database,
    "versions": check_versions,
    "clock": check_clock,
    "lock": check_lock,
    "daemon": check_daemon,
    "service": check_unit,
    "open files": check_open_files,
    "lanes": check_lanes,
    "damage": check_damage,
    "ledger": check_ledger,
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What was said on the command line.

    Attributes:
        file: The configuration, or None for spoold's own choice.
        socket: The admin socket, or None for the configuration's.
        spool: The spool's directory, or None for the configuration's.
    """

    file: Path | None
    socket: Path | None
    spool: Path | None


def find_subject(asked: Asked, default: Target) -> tuple[Subject, Reading]:
    """Whom to look at: what the options say, else the running daemon, else the configuration.

    Args:
        default: Where spoolctl looks when nothing says otherwise.
    """
    program = find_spoold()
    reading = read_configuration(program, asked.file)
    socket = asked.socket or reading.settings.socket or default.socket
    running, settings, silence = _ask(Target(socket, default.spool))
    settings = settings or reading.settings
    directory = asked.spool or settings.directory or default.spool
    pid = None if running is None else running.daemon.pid
    is_unit = is_unit_there()
    options = ["--socket", str(socket)] if socket != default.socket else []
    if running is None and directory != default.spool:
        options += ["--spool", str(directory)]
    said = [word for name in ("socket", "spool") if (path := getattr(asked, name)) for word in (f"--{name}", str(path))]
    subject = Subject(
        program=program,
        settings=settings,
        written=reading.settings,
        directory=directory,
        socket=socket,
        running=running,
        on_disk=read_on_disk(directory),
        silence=silence,
        user=service_user(pid, is_unit_there=is_unit),
        words=Words(asked.file, tuple(said), tuple(options), pid, is_unit),
        now_ms=SystemClock().wall_ms(),
    )
    return subject, reading


def examine(subject: Subject, reading: Reading) -> Iterator[Finding]:
    """Look at everything. A check that can't look says so, and the others go on."""
    yield from _guarded("configuration", lambda checked: check_configuration(reading, checked), subject)
    for name, check in _CHECKS.items():
        yield from _guarded(name, check, subject)


def next_step(findings: Iterable[Finding], subject: Subject) -> str:
    """The one thing to do first."""
    worst = worst_of(findings)
    start = f"{subject.words.start()}, then look again: {subject.words.doctor()}"
    if worst is not None:
        return f"{worst.fix}, then: {start}" if subject.running is None and worst.check == CHECK else worst.fix
    if subject.running is None:
        return start
    return f"nothing has to be done; for proof on this disk: {subject.words.doctor('--drill')}"


def _guarded(name: str, check: Check, subject: Subject) -> Iterator[Finding]:
    try:
        yield from check(subject)
    except PermissionError as exc:
        text = f"this user may not look: {exc.filename}: {exc.strerror}"
        yield Finding(name, Level.WARNING, text, "sudo spoolctl doctor")
    except OSError as exc:
        text = f"it can't be looked at: {exc.filename or 'a file'}: {exc.strerror}"
        yield Finding(name, Level.WARNING, text, "the kernel's log may say why (dmesg)")


def _ask(target: Target) -> tuple[admin_pb2.GetStatusReply | None, Settings | None, str]:
    """The daemon's status and configuration, or why there is none."""
    try:
        with target.admin() as admin:
            status = admin.status()
            values = admin.config().values
    except Failure as failure:
        if failure.code != Exit.UNREACHABLE:
            raise
        return None, None, failure.error
    settings = Settings(
        {value.key: json.loads(value.value) for value in values}, {value.key: value.source for value in values}
    )
    return status, settings, ""
