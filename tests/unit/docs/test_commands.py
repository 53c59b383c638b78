"""The manual has each command of spoolctl with its arguments and options, and no other."""

import re
from typing import Any

import pytest
import typer
from spoolctl.app import app
from spoolctl.failure import Exit

from spoold import main
from tests.support.manual import commands, items, page, page_of, plain, section

COMMANDS = [pytest.param(name, command, id=name) for name, command in commands()]


def synopsis(name: str) -> str:
    """The lines of the SYNOPSIS for a command."""
    own = page_of(name)
    start = ".Nm\n" if own == "spoolctl.1" else ".Nm spoolctl\n"
    chunks = section(page(own), "SYNOPSIS").split(start)
    return next(chunk for chunk in chunks if chunk.startswith(f".Cm {name}\n"))


def described(name: str) -> dict[str, str]:
    """What the page says to each option and argument of a command."""
    return items(section(page(page_of(name)), name, "Ss"))


def options_of(command: typer.core.TyperCommand) -> dict[str, Any]:
    return {option: one for one in command.params if one.param_type_name == "option" for option in one.opts}


def arguments_of(command: typer.core.TyperCommand) -> list[str]:
    metavars = [str(one.metavar) for one in command.params if one.param_type_name == "argument"]
    return [metavar.strip("[]").lower() for metavar in metavars]


@pytest.mark.parametrize(("name", "command"), COMMANDS)
def test_the_synopsis_has_the_options_and_arguments_of_each_command(
    name: str, command: typer.core.TyperCommand
) -> None:
    text = synopsis(name)

    assert {f"--{option}" for option in re.findall(r"Fl -([a-z-]+)", text)} == options_of(command).keys()
    assert re.findall(r"^\.(?:Op )?Ar ([a-z]+)$", text, re.MULTILINE) == arguments_of(command)


@pytest.mark.parametrize(("name", "command"), COMMANDS)
def test_the_synopsis_says_what_may_be_left_out(name: str, command: typer.core.TyperCommand) -> None:
    text = synopsis(name)
    may_be_left_out = {f"--{option}" for option in re.findall(r"^\.Op Fl -([a-z-]+)", text, re.MULTILINE)}

    assert may_be_left_out == {option for option, one in options_of(command).items() if not one.required}
    assert ("\n.Op Ar " in text) == any(not one.required for one in command.params if one.param_type_name == "argument")


@pytest.mark.parametrize(("name", "command"), COMMANDS)
def test_each_option_and_argument_is_described(name: str, command: typer.core.TyperCommand) -> None:
    heads = list(described(name))

    found = {f"--{match[1]}" for head in heads if (match := re.match(r"Fl -([a-z-]+)", head))}
    assert found == options_of(command).keys()
    assert [head.removeprefix("Ar ") for head in heads if head.startswith("Ar ")] == arguments_of(command)


@pytest.mark.parametrize(("name", "command"), COMMANDS)
def test_an_option_is_described_with_its_value_bounds_and_default(name: str, command: typer.core.TyperCommand) -> None:
    for option, one in options_of(command).items():
        head, text = next(
            (head, text) for head, text in described(name).items() if re.match(rf"Fl {option[1:]}( |$)", head)
        )
        assert (" Ar " in head) == (not one.is_flag)
        if one.metavar:
            assert head.endswith(f" Ar {one.metavar.lower()}")
        if one.max is not None:
            assert f"{one.min} to {one.max}" in plain(text)
        if not one.is_flag and one.default:
            assert f"Default: {one.default}." in plain(text)
        if told := re.search(r"[Dd]efault: ([0-9]+)", one.help or ""):
            assert f"Default: {told[1]}." in plain(text)


def test_the_overview_has_each_command_and_the_page_that_describes_it() -> None:
    heads = items(section(page("spoolctl.1"), "DESCRIPTION"))
    nouns = {name.split()[0] for name, _ in commands()}

    assert {head.removeprefix("Cm ") for head in heads if head.startswith("Cm ")} == nouns
    for name, _ in commands():
        own = page_of(name)
        assert own == "spoolctl.1" or f".Xr {own.removesuffix('.1')} 1" in heads[f"Cm {name.split()[0]}"]


def test_the_manual_has_the_options_that_all_commands_share() -> None:
    options = [option for parameter in typer.main.get_command(app).params for option in parameter.opts]

    assert not [option for option in options if f".It Fl -{option.removeprefix('--')}" not in page("spoolctl.1")]


def test_the_manual_has_each_option_of_the_daemon() -> None:
    options = [option for action in main._parser()._actions for option in action.option_strings]
    told = re.sub(r"Fl h , -", "Fl h\n.It Fl -", page("spoold.8"))

    assert not [option for option in options if f".It Fl {option[1:]}" not in told]


def test_the_manual_has_each_exit_code_and_no_other() -> None:
    codes = {"spoolctl.1": {code.value for code in Exit}}
    codes["spoold.8"] = {main.EXIT_OK, main.EXIT_FAILED, main.EXIT_CONFIG}

    for name, there in codes.items():
        assert {int(head) for head in items(section(page(name), "EXIT STATUS"))} == there
