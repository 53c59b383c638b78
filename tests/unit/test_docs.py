"""The manual, the README and ARCHITECTURE.md say what is there; of the manual alone, see docs/."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from spoold.config import Config, lane_keys, load_config
from spoold.config_sources import VARIABLES
from spoold.gauges import LANE_STATES
from spoold.providers.registry import Kinds
from tests.support.manual import page

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text()
VARIABLES_OF_LANES = [
    "ANALYTICS_PROVIDER", "MIXPANEL_API_KEY", "AMPLITUDE_API_KEY", "SEGMENT_WRITE_KEY", "MIXPANEL_ENDPOINT"
]  # fmt: skip


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


def _load(environment: dict[str, str]) -> Config:
    return load_config(None, environment, default_path=Path("/nowhere")).config


def keys_of_kinds() -> set[str]:
    """The names that the built-in kinds have for the credential, and their options."""
    kinds = [Kinds()[name] for name in Kinds()]
    return {name for kind in kinds for name in (kind.credential, f"{kind.credential}_file", *kind.options)}


@pytest.mark.parametrize("key", sorted({*keys(Config), *lane_keys(), *keys_of_kinds()}))
def test_the_manual_has_each_key(key: str) -> None:
    assert f".It Ic {key}\n" in page("spoold.toml.5")


@pytest.mark.parametrize("variable", [*VARIABLES, *VARIABLES_OF_LANES])
def test_the_manual_and_the_readme_have_each_variable(variable: str) -> None:
    assert f".Ev {variable} " in page("spoold.toml.5")
    assert f"`{variable}`" in README


def test_the_defaults_that_the_readme_tells_change_nothing_when_they_are_set() -> None:
    rows = re.findall(r"^\| (`[A-Z_`, ]+`) \| (.*?) \|", README.partition("| Variable |")[2], re.MULTILINE)
    pairs = [(names.split(", "), defaults.split(", ")) for names, defaults in rows]
    told = {name.strip("`"): value.strip("`") for row in pairs for name, value in zip(*row, strict=True)}
    told |= {"MIXPANEL_API_KEY": "a-token", "MIXPANEL_ENDPOINT": ""}

    assert told.keys() >= VARIABLES.keys()
    assert _load(told) == _load({"MIXPANEL_API_KEY": "a-token"})


def test_the_manual_has_each_state_of_a_lane_that_an_operator_meets() -> None:
    told = README + page("spoold.toml.5")

    assert not [state for state in LANE_STATES if state in ("down", "stopped", "closed") and state not in told]


def test_the_tests_that_hold_the_promises_exist() -> None:
    written = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)`", ARCHITECTURE))

    assert len(named) > 20
    assert not [name for name in named if f"def {name}(" not in written]


@pytest.mark.parametrize("number", range(1, 12))
def test_each_promise_is_held_by_a_test(number: int) -> None:
    row = re.search(rf"^\| I{number} \|.*$", ARCHITECTURE, re.MULTILINE)

    assert row is not None
    assert "`test_" in row[0]


@pytest.mark.parametrize("text", [README, ARCHITECTURE], ids=["README", "ARCHITECTURE"])
def test_the_files_that_are_linked_exist(text: str) -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", text)

    assert not [link for link in links if not (ROOT / link).exists()]
