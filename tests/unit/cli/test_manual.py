"""The manual has each command below a noun, with its options."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from spoolctl.app import app

PAGE = (Path(__file__).parents[3] / "man" / "spoolctl.1").read_text()


def commands() -> Iterator[tuple[str, list[str]]]:
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    for noun, below in group.commands.items():
        if isinstance(below, typer.core.TyperGroup):
            for verb, command in below.commands.items():
                options = [option for parameter in command.params for option in parameter.opts]
                yield f"{noun} {verb}", [option for option in options if option.startswith("--")]


@pytest.mark.parametrize(("command", "options"), list(commands()))
def test_the_manual_has_each_command_below_a_noun_with_its_options(command: str, options: list[str]) -> None:
    line = next((line for line in PAGE.replace("\\\n", " ").splitlines() if line.startswith(f".It Cm {command}")), "")

    assert line
    assert not [option for option in options if f"Fl -{option.removeprefix('--')}" not in line]


def test_there_are_such_commands() -> None:
    assert {"lanes pause", "dead show", "replays cancel"} <= {command for command, _ in commands()}
