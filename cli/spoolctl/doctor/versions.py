"""The versions of what is installed, of what runs, and of what lies on the disk."""

import platform
import subprocess
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from spoolctl.doctor.findings import Finding, Level
from spoolctl.doctor.service import is_beside
from spoolctl.doctor.subject import Subject
from spoold import __version__
from spoold.spool.layout import SQLITE_VERSION

_CHECK = "versions"
_VERSION_SECONDS = 30.0
_LIBRARIES = ("grpcio", "persist-queue")


def check_versions(subject: Subject) -> Iterator[Finding]:
    """Whether daemon, program and this one are of one version."""
    if subject.program is None:
        text = "the program spoold is not beside spoolctl and not on PATH"
        yield Finding(_CHECK, Level.PROBLEM, text, "install the package again, both programs are in it")
        return
    installed = __version__ if is_beside(subject.program) else _version_of(subject.program)
    running = subject.running.daemon.version if subject.running is not None else installed
    if installed != __version__:
        text = f"{subject.program} is {installed or 'broken'}, and this spoolctl {__version__}"
        yield Finding(
            _CHECK, Level.WARNING, text, "call the spoolctl that lies beside it, or install the package again"
        )
    elif running != __version__:
        text = f"the running spoold is {running}, and {__version__} is installed"
        yield Finding(_CHECK, Level.WARNING, text, subject.words.restart())
    else:
        libraries = [f"Python {platform.python_version()}", f"SQLite {SQLITE_VERSION}", *map(_library, _LIBRARIES)]
        yield Finding(_CHECK, Level.OK, f"spoold {__version__}, {', '.join(libraries)}")


def _version_of(program: Path) -> str:
    try:
        run = subprocess.run(  # noqa: S603 - our own program
            [program, "--version"], capture_output=True, text=True, timeout=_VERSION_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return run.stdout.strip().removeprefix("spoold ")


def _library(name: str) -> str:
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return f"{name} of an unknown version"
