"""The keys that a lane has because of its kind: the credential under the kind's name for it, and the kind's options."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spoold import config_values as check
from spoold.config_sources import SECRET_TEXT, Draft, read_secret
from spoold.providers.base import Kind, Option, OptionValue
from spoold.units import parse_size

#: What a credential may be called whatever its kind calls it.
_SYNONYM = "api_key"

Table = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Credential:
    """What there is to know of a lane's credential.

    Attributes:
        value: The one in force; None when none was given, or it is no good, which is then noted.
        file: The key file that the configuration names.
    """

    value: str | None = field(default=None, repr=False)
    file: Path | None = None


def credential_keys(kind: Kind) -> tuple[str, ...]:
    """The keys that may give a lane of this kind its credential, the proper ones first."""
    return tuple(key for name in _names(kind) for key in (name, f"{name}_file"))


def credential_variables(lane: str, kind: Kind) -> tuple[str, ...]:
    """The variables that may hold the lane's credential, the proper one first."""
    return tuple(variable(lane, name) for name in _names(kind))


def variable(lane: str, key: str) -> str:
    """The variable that overrides ``key`` of a lane."""
    return f"{lane}_{key}".upper().replace("-", "_")


def find_credential(draft: Draft, lane: str, table: Table, kind: Kind, environ: Mapping[str, str]) -> Credential:
    """The credential of a lane: its source is noted under the kind's own name for it, and so is all that is wrong."""
    key = f"providers.{lane}"
    written = [name for name in credential_keys(kind) if name in table]
    for name in written:
        draft.hide(f"{key}.{name.removesuffix('_file')}")
    if len(written) > 1:
        names = f"stands beside {', '.join(written[1:])}"
        draft.refuse(f"{key}.{written[0]}", f"{names}, and only one can be meant: keep one of them")
        return Credential()
    return _in_force(draft, lane, {name: table[name] for name in written}, kind, environ)


def _in_force(draft: Draft, lane: str, written: Table, kind: Kind, environ: Mapping[str, str]) -> Credential:
    key = f"providers.{lane}.{kind.credential}"
    name, given = next(iter(written.items()), ("", None))
    is_file = name.endswith("_file")
    file = _key_file(draft, f"providers.{lane}.{name}", given) if is_file else None
    if is_file and file is not None:
        draft.sources[f"{key}_file"] = draft.sources[f"providers.{lane}.{name}"]
    found = _outside(draft, lane, key, kind, environ)
    if found is None and file is not None:
        found = read_secret(draft, file, key=f"{key}_file", source=f"key file {file}"), f"key file {file}"
    elif found is None and name and not is_file:
        found = given, draft.sources[f"providers.{lane}.{name}"]
    elif found is None and not is_file and kind.needs_credential and not draft.is_test_mode:
        draft.refuse(key, _how_to_give_one(draft, lane, key, kind))
    if found is None or found[0] is None:
        return Credential(None, file)
    return Credential(_checked(draft, key, kind, *found), file)


def _names(kind: Kind) -> tuple[str, ...]:
    return tuple(dict.fromkeys((kind.credential, _SYNONYM)))


def _key_file(draft: Draft, key: str, given: object) -> Path | None:
    try:
        return check.absolute_path(given)
    except ValueError as exc:
        draft.refuse(key, str(exc))
        return None


def _outside(draft: Draft, lane: str, key: str, kind: Kind, environ: Mapping[str, str]) -> tuple[object, str] | None:
    """The credential that a variable or a systemd credential gives, with its source."""
    for name in credential_variables(lane, kind):
        if text := environ.get(name, "").strip():
            return text, f"environment variable {name}"
    for base in _names(kind):
        path = Path(environ.get("CREDENTIALS_DIRECTORY", "")) / f"{lane}_{base}"
        if environ.get("CREDENTIALS_DIRECTORY") and os.path.lexists(path):
            source = f"credential {path.name}"
            return read_secret(draft, path, key=key, source=source), source
    return None


def _checked(draft: Draft, key: str, kind: Kind, given: object, source: str) -> str | None:
    form = check.secrets if kind.takes_several else check.secret
    draft.hide(key)
    draft.sources[key] = source
    draft.written[key] = given
    try:
        text = form(given).get_secret_value()
    except ValueError as exc:
        draft.refuse(key, str(exc))
        return None
    if doubt := kind.doubt_credential(text):
        draft.warnings.append(f"{key} ({source}): {doubt.replace(text, SECRET_TEXT)}")
    return text


def _how_to_give_one(draft: Draft, lane: str, key: str, kind: Kind) -> str:
    return (
        f"is missing: set {key}_file in {draft.file} to a file that holds the key, or the variable"
        f" {credential_variables(lane, kind)[0]}, or give a systemd credential named {lane}_{kind.credential}"
        " (in test mode no key is needed)"
    )


def find_options(draft: Draft, lane: str, table: Table, kind: Kind) -> dict[str, OptionValue]:
    """A value for each of the kind's options."""
    return dict(_options(draft, f"providers.{lane}", table, kind))


def _options(draft: Draft, prefix: str, table: Table, kind: Kind) -> Iterator[tuple[str, OptionValue]]:
    for name, option in kind.options.items():
        key = f"{prefix}.{name}"
        if option.is_secret:
            draft.hide(key)
        if name not in table:
            yield name, option.default
            continue
        if option.is_secret:
            draft.warn_of_exposure()
        # A table is noted by the keys in it.
        draft.sources.setdefault(key, f"file {draft.file}")
        try:
            yield name, _option_value(name, option, table[name])
        except ValueError as exc:
            draft.refuse(key, str(exc))


def _option_value(name: str, option: Option, value: object) -> OptionValue:
    if option.type == "integer" and name.endswith("_bytes"):
        value = parse_size(value)
    return _READERS[option.type](option, value)


def _string(option: Option, value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a text in quotes")  # noqa: TRY004
    if option.choices and value not in option.choices:
        raise ValueError(f"must be {' or '.join(map(repr, option.choices))}")
    return value


def _integer(option: Option, value: object) -> int:
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    low, high = option.bounds or (-(2**63), 2**63 - 1)
    if not isinstance(value, int) or not is_whole or not low <= value <= high:
        raise ValueError(f"must be a whole number{f' from {low} to {high}' if option.bounds else ''}")
    return value


def _boolean(option: Option, value: object) -> bool:
    del option
    if not isinstance(value, bool):
        raise ValueError("must be true or false")  # noqa: TRY004
    return value


def _table(option: Option, value: object) -> Mapping[str, str]:
    del option
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise ValueError('must be a table of texts such as { name = "text" }')
    return dict(value)


_READERS: Mapping[str, Callable[[Option, object], OptionValue]] = {
    "string": _string,
    "integer": _integer,
    "boolean": _boolean,
    "table": _table,
}
