"""The service, where systemd keeps it and it does not run: why its last start failed."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from spoolctl.doctor.configuration import DEFAULT_FILE
from spoolctl.doctor.findings import Finding, Level
from spoolctl.doctor.service import UNIT
from spoolctl.doctor.subject import Subject

_SECONDS = 10.0
_STATE, _RESULT, _CODE = "ActiveState", "Result", "ExecMainStatus"
#: Waiting for the next try, or given up.
_TROUBLED = ("activating", "failed")
_LOADED = re.compile(r"(?m)^LoadCredential(?:Encrypted)?=([\w.-]+):(/.+)$")


def check_unit(subject: Subject) -> Iterator[Finding]:
    """What systemd says of a service that does not answer; nothing where it is not the one that is looked at."""
    words = subject.words
    if subject.running is not None or not words.is_unit or words.said or words.file not in (None, DEFAULT_FILE):
        return
    shown = dict(line.partition("=")[::2] for line in _systemctl("show", UNIT).splitlines())
    if shown.get(_STATE) not in _TROUBLED or shown.get(_RESULT) in (None, "success"):
        return
    missing = missing_credentials(_systemctl("cat", UNIT))
    for name, path in missing:
        text = f"{path}, from which systemd takes the credential {name}, is not there: {UNIT} can't be started"
        yield Finding("service", Level.PROBLEM, text, f"write the key into {path}, then: {words.restart()}")
    if not missing:
        text = f"its last start failed: {shown[_RESULT]}, exit code {shown.get(_CODE)}"
        yield Finding("service", Level.PROBLEM, text, f"journalctl -u {UNIT} -n 20, which says why")


def missing_credentials(unit: str) -> list[tuple[str, Path]]:
    """Names and files of the credentials that a unit, with all that was added to it, loads from where nothing is."""
    # An empty assignment takes back those before it.
    in_force = re.split(r"(?m)^LoadCredential=$", unit)[-1]
    return [(name, path) for name, text in _LOADED.findall(in_force) if not (path := Path(text)).exists()]


def _systemctl(verb: str, unit: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603
            ["systemctl", verb, "--no-pager", unit],  # noqa: S607 - whichever this machine has
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout
