"""Whether spoold can use its configuration: its own program says so, in its own words, and shows no secret."""

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from spoolctl.doctor.findings import Finding, Level
from spoolctl.doctor.service import UNIT
from spoolctl.doctor.subject import Settings, Subject

#: What spoold reads when no file is named.
DEFAULT_FILE = Path("/etc/spoold/spoold.toml")
CHECK = "configuration"
_CHECK_SECONDS = 60.0
_UNUSABLE = 2
_LINE = re.compile(r"(?m)^([\w.-]+) = ")
_KEY = re.compile(r"^((?:[a-z_]+(?:\.[\w-]+)+)|test_mode|shutdown_timeout)\b")
#: A missing credential is best kept in a file of its own.
_FILE_KEY = re.compile(r"is missing: set (\S+_file) in ")
_MODE_FIX = re.compile(r"chmod \d+ .+$")
_LONGEST_LIST = 5


class Reading(NamedTuple):
    """What ``spoold --check-config`` said.

    Attributes:
        settings: Of the next start; empty where the configuration can't be read at all.
        problems: What can't be used, a line each.
        warnings: What can, but should be looked at.
    """

    settings: Settings
    problems: list[str]
    warnings: list[str]


def read_configuration(program: Path | None, file: Path | None) -> Reading:
    """What spoold makes of its file and of this process's environment.

    Where it can't use them, what it would use but for the missing keys is told by its test mode, which needs none.
    """
    path = file or DEFAULT_FILE
    if program is None:
        return Reading(Settings(), [], [])
    if _is_barred(path):
        return Reading(Settings(), [], [f"this user may not read {path}"])
    code, told, said = _run(program, file, {})
    if code != _UNUSABLE:
        lines = said.splitlines()
        warnings = [line.removeprefix("warning: ") for line in lines if line.startswith("warning: ")]
        how = f"spoold --check-config ended with {code}" if code >= 0 else "spoold --check-config did not end in time"
        return Reading(_parsed(told), [] if _LINE.search(told) else [how], warnings)
    problems = [line for line in said.splitlines() if not line.startswith("spoold: ")]
    settings = _parsed(_run(program, file, {"TEST_MODE": "true"})[1])
    if settings.values:
        settings = Settings({**settings.values, "test_mode": False}, settings.sources)
    return Reading(settings, problems, [])


def check_configuration(reading: Reading, subject: Subject) -> Iterator[Finding]:
    """Whether it can be used, by the user that has to, and whether it is in force."""
    path = subject.words.file or DEFAULT_FILE
    mend = f"then: {subject.words.spoold('--check-config')}"
    # What a unit sets is not in this shell: the daemon may have all that is missing here.
    is_elsewhere = subject.running is not None and subject.settings.has_hidden_sources
    for line in reading.problems:
        found = _FILE_KEY.search(line) or _KEY.search(line)
        key = found[1] if found else "what the line names"
        if is_elsewhere:
            text = f"{line} (the running daemon has variables or credentials that are not in this shell)"
            yield Finding(CHECK, Level.NOTE, text, subject.words.spoolctl("config"))
        else:
            yield Finding(CHECK, Level.PROBLEM, line, f"{key} in {path}, {mend}")
    for line in reading.warnings:
        command = _MODE_FIX.search(line)
        fix = command[0] if command else "sudo spoolctl doctor" if "may not read" in line else f"{path}, {mend}"
        yield Finding(CHECK, Level.WARNING, line, fix)
    if subject.written.values:
        yield from _readable(path, subject)
    if subject.written.values and not reading.problems:
        where = str(path) if path.exists() else f"there is no {path}: the defaults and the environment hold"
        lanes = ", ".join(subject.written.lanes) or "none"
        yield Finding(CHECK, Level.OK, f"{where}; lanes: {lanes}")
        if subject.written.is_test_mode:
            is_variable = subject.written.sources["test_mode"].startswith("environment")
            key = "TEST_MODE=false in the environment" if is_variable else f"test_mode = false in {path}"
            yield Finding(CHECK, Level.NOTE, "test mode: nothing is sent", key)
    yield from _in_force(subject)


def _readable(path: Path, subject: Subject) -> Iterator[Finding]:
    """Root reads everything; the service must too."""
    files = {"the file": path} if path.exists() else {}
    for key, file in {**files, **subject.written.files()}.items():
        if file.exists() and not subject.user.may_read(file):
            blocked = subject.user.barrier(file)
            what = f"{blocked}, above {file}, can't be entered" if blocked else f"{file} can't be read"
            # As packaged: root's, with the service's group as reader.
            own = (
                f"chgrp {UNIT} {file} && chmod g+r {file}"
                if subject.words.is_unit
                else f"chown {subject.user.name} {file}"
            )
            fix = f"chmod o+x {blocked}" if blocked else own
            yield Finding(CHECK, Level.PROBLEM, f"{key}: {what} by {subject.user.name}, who runs spoold", fix)


def _in_force(subject: Subject) -> Iterator[Finding]:
    if subject.running is None or not subject.written.values:
        return
    changed = [
        key
        for key, value in subject.written.values.items()
        if subject.settings.values.get(key) != value and not _is_hidden(key, subject)
    ]
    if changed:
        more = f" and {len(changed) - _LONGEST_LIST} more" if len(changed) > _LONGEST_LIST else ""
        keys = ", ".join(changed[:_LONGEST_LIST]) + more
        yield Finding(CHECK, Level.NOTE, f"not in force yet: {keys}", subject.words.reload())


def _is_hidden(key: str, subject: Subject) -> bool:
    sources = (subject.settings.sources.get(key, ""), subject.written.sources.get(key, ""))
    return any(source.startswith(("environment", "credential")) for source in sources)


def _run(program: Path, file: Path | None, more: Mapping[str, str]) -> tuple[int, str, str]:
    options = [] if file is None else ["--config", str(file)]
    try:
        run = subprocess.run(  # noqa: S603 - our own program
            [program, "--check-config", *options],
            env={**os.environ, **more},
            capture_output=True,
            text=True,
            timeout=_CHECK_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return -1, "", ""
    return run.returncode, run.stdout, run.stderr


def _is_barred(path: Path) -> bool:
    try:
        return path.exists() and not os.access(path, os.R_OK)
    except PermissionError:
        # Not even whether it is there.
        return True


def _parsed(text: str) -> Settings:
    """``key = JSON  # source``, a line each."""
    values: dict[str, object] = {}
    sources: dict[str, str] = {}
    for found in _LINE.finditer(text):
        value, end = json.JSONDecoder().raw_decode(text, found.end())
        values[found[1]] = value
        sources[found[1]] = text[end:].partition("\n")[0].strip(" #")
    return Settings(values, sources)
