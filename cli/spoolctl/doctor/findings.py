"""What a check has to say."""

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from rich.text import Text

from spoolctl.render import printable


class Level(StrEnum):
    """How bad it is. A warning or a problem has a fix, and makes the exit code 1."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    PROBLEM = "problem"


_STYLES = {Level.OK: "green", Level.NOTE: "cyan", Level.WARNING: "yellow", Level.PROBLEM: "bold red"}
_LEVEL_COLUMNS, _CHECK_COLUMNS = 9, 15


class Finding(NamedTuple):
    """One line of the doctor's.

    Attributes:
        check: What was looked at.
        found: What was found there, for a person.
        fix: A command, or a key of the configuration; empty where nothing is to be done.
    """

    check: str
    level: Level
    found: str
    fix: str = ""

    @property
    def is_bad(self) -> bool:
        """Whether something is to be done."""
        return self.level in (Level.WARNING, Level.PROBLEM)


def finding_fields(finding: Finding) -> dict[str, object]:
    """A finding as the JSON object that scripts rely on."""
    return finding._asdict()


def finding_view(finding: Finding) -> Text:
    """A line, and a second one for the fix."""
    line = Text(f"{finding.level:<{_LEVEL_COLUMNS}}", _STYLES[finding.level])
    line.append(f"{finding.check:<{_CHECK_COLUMNS}} {printable(finding.found)}", "default")
    if finding.fix:
        line.append(f"\n{'':{_LEVEL_COLUMNS + _CHECK_COLUMNS}} fix: {printable(finding.fix)}", "default")
    return line


def worst_of(findings: Iterable[Finding]) -> Finding | None:
    """The first of the worst that need something done, or None."""
    bad = [finding for finding in findings if finding.is_bad]
    return next((finding for finding in bad if finding.level is Level.PROBLEM), bad[0] if bad else None)
