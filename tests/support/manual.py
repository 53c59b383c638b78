"""The manual's pages, as far as tests ask: sections, items, and text without macros."""

import re
from collections.abc import Iterator
from pathlib import Path

import typer
from spoolctl.app import app

FOLDER = Path(__file__).parents[2] / "man"
#: The files of the manual.
NAMES = sorted(path.name for path in FOLDER.iterdir())

_ESCAPES = {r"\(dq": '"', r"\(aq": "'", r"\e": "\\", r"\&": ""}


def page(name: str) -> str:
    """The source of a page, such as ``spoold.8``."""
    return (FOLDER / name).read_text()


def section(text: str, title: str, macro: str = "Sh") -> str:
    """What stands below a heading, up to the next of its level; empty where there is none."""
    ends = {"Sh": r"^\.Sh ", "Ss": r"^\.S[hs] "}[macro]
    _, _, rest = text.partition(f"\n.{macro} {title}\n")
    return re.split(ends, rest, maxsplit=1, flags=re.MULTILINE)[0]


def items(text: str) -> dict[str, str]:
    """What each entry of the lists in ``text`` says, by its head as it is written."""
    pieces = re.split(r"^\.It ", text, flags=re.MULTILINE)[1:]
    return {head: body.split("\n.El")[0] for head, _, body in (piece.partition("\n") for piece in pieces)}


def plain(text: str) -> str:
    """The words of ``text`` on one line, without macros."""
    words = re.sub(r"^\.[A-Z][a-z0-9] ", "", text, flags=re.MULTILINE)
    return unescaped(" ".join(words.split())).replace(" .", ".").replace(" ,", ",")


def unescaped(text: str) -> str:
    """``text`` with the characters that mdoc writes otherwise."""
    for escape, character in _ESCAPES.items():
        text = text.replace(escape, character)
    return text


def commands() -> Iterator[tuple[str, typer.core.TyperCommand]]:
    """Each command of spoolctl that does something, such as ``lanes pause``."""
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    for name, command in group.commands.items():
        if isinstance(command, typer.core.TyperGroup):
            for verb, below in command.commands.items():
                assert isinstance(below, typer.core.TyperCommand)
                yield f"{name} {verb}", below
        else:
            assert isinstance(command, typer.core.TyperCommand)
            yield name, command


def page_of(command: str) -> str:
    """The name of the one page that describes a command."""
    found = [name for name in NAMES if f"\n.Ss {command}\n" in page(name)]
    assert len(found) == 1, f"{command} is described in {found}"
    return found[0]
