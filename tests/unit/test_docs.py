"""The manual, the README and ARCHITECTURE.md say what is there."""

import re
from pathlib import Path

import pytest
import typer
from pydantic import BaseModel
from spoolctl.app import app
from spoolctl.failure import Exit

from spoold.config import Config, LaneConfig
from spoold.config_sources import VARIABLES
from spoold.gauges import LANE_STATES
from spoold.metrics import Metrics

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text()


def page(name: str) -> str:
    return (ROOT / "man" / name).read_text()


def commands() -> dict[str, list[str]]:
    """Each command of spoolctl with its options."""
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    return {
        name: [option for parameter in command.params for option in parameter.opts if option.startswith("--")]
        for name, command in group.commands.items()
    }


def keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Each key of the configuration as it stands in a file."""
    found: list[str] = []
    for name, field in model.model_fields.items():
        key = prefix + str(field.validation_alias or name)
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            found += keys(section, f"{key}.")
        elif name != "lanes":
            found.append(key)
    return found


@pytest.mark.parametrize(("command", "options"), commands().items())
def test_the_manual_has_each_command_with_its_options(command: str, options: list[str]) -> None:
    text = page("spoolctl.1")

    assert f".It Cm {command}" in text
    assert not [option for option in options if f"Fl -{option.removeprefix('--')}" not in text]


def test_the_manual_has_each_exit_code() -> None:
    assert not [code for code in Exit if f".It {code.value}\n" not in page("spoolctl.1")]


@pytest.mark.parametrize("key", [*keys(Config), *(key for key in keys(LaneConfig) if key != "name")])
def test_the_manual_has_each_key(key: str) -> None:
    assert f".It Ic {key}\n" in page("spoold.toml.5")


@pytest.mark.parametrize("variable", VARIABLES)
def test_the_manual_and_the_readme_have_each_variable(variable: str) -> None:
    assert f".Ev {variable} " in page("spoold.toml.5")
    assert f"`{variable}`" in README


def test_the_manual_has_each_metric() -> None:
    text = page("spoold.8")
    described = {metric.name: metric.type for metric in Metrics().registry.collect()}
    names = [f"{name}_total" if kind == "counter" else name for name, kind in described.items()]

    assert not [name for name in names if name not in text]


def test_the_manual_has_each_state_of_a_lane_that_an_operator_meets() -> None:
    told = README + page("spoold.toml.5")

    assert not [state for state in LANE_STATES if state in ("down", "stopped", "closed") and state not in told]


def test_the_tests_that_hold_the_promises_exist() -> None:
    written = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)`", ARCHITECTURE))

    assert len(named) > 20
    assert not [name for name in named if f"def {name}(" not in written]


@pytest.mark.parametrize("text", [README, ARCHITECTURE], ids=["README", "ARCHITECTURE"])
def test_the_files_that_are_linked_exist(text: str) -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", text)

    assert not [link for link in links if not (ROOT / link).exists()]
