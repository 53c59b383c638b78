"""What a planted bug is, and how it is planted in a copy of the program."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

ROOT = Path(__file__).parents[2]
PACKAGE = "spoold"


class PlantingError(AssertionError):
    """The text that a bug replaces is not where it was: the catalogue goes with the code."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One change.

    Attributes:
        file: Below ``spoold/``.
        old: The text that is replaced; it stands there exactly once.
        new: What replaces it.
    """

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Bug:
    """A small edit of the program that breaks a promise, and that the simulator must find.

    Attributes:
        name: What is wrong.
        breaks: The promise that no longer holds: I1 to I11 as in the design, or in words.
        edits: What makes it so.
        found_by: Parts of what the simulator says; which of them comes first depends on the world.
        seeds: Within so many it must be found: at least three times what it usually takes.
    """

    #: Who is found within so many seeds is looked for by every run of the tests.
    SOON: ClassVar[int] = 30

    name: str
    breaks: str
    edits: tuple[Edit, ...]
    found_by: tuple[str, ...]
    seeds: int = 30

    def oracle_in(self, text: str) -> str:
        """Which of ``found_by`` it was, or all of what was said where it is none of them."""
        return next((part for part in self.found_by if part in text), text)


def plant(home: Path, bug: Bug | None) -> None:
    """Copy the program to ``home`` and break it there.

    Raises:
        PlantingError: A text to replace does not stand in its file exactly once.
    """
    shutil.copytree(ROOT / PACKAGE, home / PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))
    for edit in () if bug is None else bug.edits:
        file = home / PACKAGE / edit.file
        text = file.read_text()
        count = text.count(edit.old)
        if bug is not None and count != 1:
            raise PlantingError(f"{bug.name!r} replaces a text that stands {count} times in {edit.file}:\n{edit.old}")
        file.write_text(text.replace(edit.old, edit.new))
