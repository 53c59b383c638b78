"""The manual and the packaged file say of each key what it may be and its default, as the daemon itself sees it.

What a key may be is what the daemon answers to a value that it can't be: the texts can't drift from the checks.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from spoold.config import describe_config, load_config
from spoold.config_sources import VARIABLES
from spoold.config_values import JsonValue
from spoold.errors import ConfigError
from spoold.providers.registry import Kinds
from spoold.units import parse_duration, parse_size
from tests.support.manual import items, page, plain, section

PACKAGED = (Path(__file__).parents[3] / "packaging" / "spoold.toml").read_text()
ENVIRONMENT = {"TEST_MODE": "true"}
#: A lane of each kind, named like it.
LANES = {name: "" if Kinds()[name].endpoint else 'endpoint = "https://h.example"\n' for name in Kinds()}
#: Above all bounds, and neither text, path nor list; and a text that means nothing.
ABSURD, SENSELESS = "77777777777777", '"no such"'
#: What the daemon asks for, in the manual's words.
KINDS = {
    "a duration": "Duration",
    "a size": "Size",
    "a whole number": "Number",
    "true or false": "Boolean",
    "an absolute path": "Path",
    "a UUID": "UUID",
    "a list of": "List of texts",
    "a table of": "Table",
}


def _whole(text: object) -> float:
    return int(str(text))


READERS: Mapping[str, Callable[[object], float]] = {"Duration": parse_duration, "Size": parse_size, "Number": _whole}
#: Keys that are said to hold as for all lanes, and those whose default is another key's or another lane's.
OTHERS = re.compile(r"(batch|retry)\..*|kind|endpoint")


class Key(NamedTuple):
    """A key with what the daemon knows of it.

    Attributes:
        kind: In the manual's words.
        choices: The only values, or (lowest, highest); empty where there is no bound.
    """

    table: str
    name: str
    default: JsonValue
    kind: str
    choices: tuple[str, ...]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> list[Key]:
    """All keys; those that every lane has, once."""
    folder = tmp_path_factory.mktemp("keys")
    lanes = "".join(f"[providers.{name}]\n{line}" for name, line in LANES.items())
    loaded = load_config(written(folder, lanes), {})
    found: dict[tuple[bool, str], Key] = {}
    for key, value, _ in describe_config(loaded):
        (table, name) = re.fullmatch(r"(?:(providers\.\w+|\w+)\.)?([\w.]+)", key).groups()  # type: ignore[union-attr]
        is_of_lane = str(table).startswith("providers.")
        if is_of_lane and OTHERS.fullmatch(name):
            continue
        kind, choices = may_be(folder, table or "", name)
        default = False if key == "test_mode" else value
        found.setdefault((is_of_lane, name if is_of_lane else key), Key(table or "", name, default, kind, choices))
    return list(found.values())


def written(folder: Path, lines: str) -> Path:
    file = folder / "spoold.toml"
    file.write_text(f"test_mode = true\n{lines}")
    return file


def may_be(folder: Path, table: str, name: str) -> tuple[str, tuple[str, ...]]:
    """What the daemon says that the key may be."""
    said = [refusal(folder, table, name, value) for value in (ABSURD, SENSELESS)]
    for text in said:
        if match := re.search(r"must be ('.*')", text):
            return "One of", tuple(re.findall(r"'(\w+)'", match[1]))
    # The reason that tells most: beyond its bounds a number is told them, and a text what it should look like.
    kind = next((word for asked, word in KINDS.items() if any(f"must be {asked}" in text for text in said)), "Text")
    bounds = next((match.groups() for text in said if (match := re.search(r"from (\S+) to (\S+)$", text))), ())
    return kind, bounds


def refusal(folder: Path, table: str, name: str, value: str) -> str:
    """What is said to a value; empty where it is taken."""
    line = LANES.get(table.removeprefix("providers."), "") if table.startswith("providers.") else ""
    lines = f"[{table}]\n{line}{name} = {value}\n" if table else f"{name} = {value}\n"
    file = folder / "probed.toml"
    file.write_text(lines)
    try:
        # Its variable would hide what the file says.
        load_config(file, {} if name == "test_mode" else ENVIRONMENT)
    except ConfigError as exc:
        key = f"{table}.{name}".strip(".")
        return next(text for text in str(exc).splitlines() if text.startswith(key))
    return ""


def entry(key: Key) -> str:
    """What the manual says to a key."""
    of_lane = key.table.startswith("providers.")
    text = section(page("spoold.toml.5"), "PROVIDERS" if of_lane else "KEYS")
    return plain(items(text)[f"Ic {key.name if of_lane or not key.table else f'{key.table}.{key.name}'}"])


def spans(kind: str, text: str) -> set[tuple[float, float]]:
    """All that a text says to go from somewhere to somewhere, as the kind of a key is read."""
    found = set()
    for low, high in re.findall(r"(\d\w*) to (\d\w*)", text):
        read = READERS[kind]
        found.add((read(_number(low)), read(_number(high))))
    return found


def _number(text: str) -> object:
    return int(text) if text.isdigit() else text


def test_the_manual_says_what_each_key_may_be(keys: list[Key]) -> None:
    for key in keys:
        text = entry(key)
        if key.kind == "One of":
            assert f"One of {', '.join(key.choices)}." in text
        elif key.choices:
            told = re.search(rf"{key.kind}, ((\w+) to (\w+))\.", text)
            assert told is not None, text
            assert spans(key.kind, told[1]) == spans(key.kind, " to ".join(key.choices))
        else:
            assert f"{key.kind}." in text, key


def test_the_manual_has_the_default_of_each_key(keys: list[Key]) -> None:
    for key in keys:
        value = f'"{key.default}"' if isinstance(key.default, str) else str(key.default)
        shown = {"None": "none", "False": "false"}.get(value, value)
        assert f"Default: {shown}." in entry(key)


def test_the_manual_has_the_variable_of_each_key() -> None:
    entries = items(section(page("spoold.toml.5"), "KEYS"))

    told = {
        head.removeprefix("Ic "): re.findall(r"Variables?: ([A-Z_]+)", plain(text)) for head, text in entries.items()
    }
    assert {key: names for key, names in told.items() if names} == {
        variable.key: [name] for name, variable in VARIABLES.items()
    }


def test_the_manual_has_no_key_that_is_none(keys: list[Key]) -> None:
    there = {f"{key.table}.{key.name}".strip(".") for key in keys if not key.table.startswith("providers.")}

    assert {head.removeprefix("Ic ") for head in items(section(page("spoold.toml.5"), "KEYS"))} == there


def test_the_manual_has_no_key_of_a_lane_that_is_none(keys: list[Key]) -> None:
    there = {key.name for key in keys if key.table.startswith("providers.")}
    told = {head.removeprefix("Ic ") for head in items(section(page("spoold.toml.5"), "PROVIDERS"))}

    # The tables, and the keys in them.
    assert {name for name in told if not re.match(r"(batch|retry)\b", name)} == there | {"kind", "endpoint"}


def comments() -> dict[str, str]:
    """The comment above each key of the packaged file, the first time that it is there."""
    found: dict[str, str] = {}
    table, lines = "", list[str]()
    for line in PACKAGED.splitlines():
        if match := re.fullmatch(r"#?\[([\w.-]+)\]", line):
            table = match[1]
        elif match := re.match(r"#?([a-z_]+) = ", line):
            name = match[1] if table.startswith("providers.") else f"{table}.{match[1]}".strip(".")
            if table.count(".") < 2:
                found.setdefault(name, " ".join(lines))
            lines = []
        elif line.startswith("# "):
            lines.append(line.removeprefix("# "))
        else:
            lines = []
    return found


def test_the_packaged_file_says_what_each_key_may_be(keys: list[Key]) -> None:
    told = comments()

    for key in keys:
        name = key.name if key.table.startswith("providers.") or not key.table else f"{key.table}.{key.name}"
        if name in ("api_key", "write_key", "secret"):
            continue
        assert told[name], f"{name} has no comment"
        if key.kind == "One of":
            assert not [choice for choice in key.choices if f'"{choice}"' not in told[name]], name
        elif key.choices:
            assert spans(key.kind, " to ".join(key.choices)) <= spans(key.kind, told[name]), name


@pytest.mark.parametrize(("variable", "key"), [(name, variable.key) for name, variable in VARIABLES.items()])
def test_the_packaged_file_names_the_variable_of_each_key(variable: str, key: str) -> None:
    assert f"[{variable}]" in comments()[key]
