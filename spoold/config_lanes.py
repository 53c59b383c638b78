"""Which lanes there are, and the credential of each."""

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from spoold.config_sources import VARIABLES, Draft, read_secret, warn_of_near_misses
from spoold.config_values import absolute_path, lane_name
from spoold.providers.base import Kind

_SELECTION = "ANALYTICS_PROVIDER"
_DEFAULT_LANE = "mixpanel"

Table = dict[str, Any]


def add_lanes(draft: Draft, environ: Mapping[str, str], kinds: Mapping[str, Kind]) -> None:
    """Turn the ``[providers.*]`` tables of ``draft`` into the list of lanes that are in force, credentials included."""
    tables = draft.tree.get("providers", {})
    if not isinstance(tables, dict):
        draft.refuse("providers", "must be tables such as [providers.mixpanel]", is_value_shown=False)
        tables = {}
    draft.tree["providers"] = tables
    names = _selected_names(draft, environ.get(_SELECTION, ""), kinds)
    lanes = [_lane(draft, name, environ, kinds) for name in names]
    draft.tree["providers"] = tuple(lane for lane in lanes if lane is not None)
    _check_variables(draft, environ, names, kinds)


def _selected_names(draft: Draft, selection: str, kinds: Mapping[str, Kind]) -> list[str]:
    tables: Table = draft.tree["providers"]
    source = f"environment variable {_SELECTION}"
    wanted = [name for part in selection.split(",") if (name := part.strip().lower())]
    if not selection.strip():
        return list(tables) or [_DEFAULT_LANE]
    if not wanted:
        draft.refuse("providers", f"no provider is named; available: {_list(kinds)}", source=source)
    for name in wanted:
        if name not in tables and name in kinds:
            draft.put(f"providers.{name}.kind", name, source)
        elif name not in tables:
            draft.refuse(
                "providers",
                f"{name!r} is neither available in this version nor a [providers.{name}] table; "
                f"available: {_list({*kinds, *tables})}",
                source=source,
            )
    return [name for name in tables if name in wanted]


def _lane(draft: Draft, name: str, environ: Mapping[str, str], kinds: Mapping[str, Kind]) -> Table | None:
    key = f"providers.{name}"
    table = draft.tree["providers"].setdefault(name, {})
    try:
        lane_name(name)
    except ValueError as exc:
        draft.refuse(key, str(exc), is_value_shown=False)
        return None
    if not isinstance(table, dict):
        draft.refuse(key, f"must be a table: [providers.{name}]", is_value_shown=False)
        return None
    if "name" in table:
        draft.refuse(f"{key}.name", "is not a key: the table's own name is the lane's name", is_value_shown=False)
    if not _has_known_kind(draft, name, table, kinds):
        return None
    _apply_endpoint(draft, name, environ)
    _find_key(draft, name, table, environ)
    _check_ca_file(draft, name, table)
    return {**table, "name": name}


def _has_known_kind(draft: Draft, name: str, table: Table, kinds: Mapping[str, Kind]) -> bool:
    kind = table.setdefault("kind", name) if name in kinds else table.get("kind")
    if isinstance(kind, str) and kind in kinds:
        return True
    subject = "" if "kind" in table else f"is missing, and a kind {name!r} "
    draft.refuse(
        f"providers.{name}.kind",
        f"{subject}is not available in this version; available: {_list(kinds)}",
    )
    return False


def _apply_endpoint(draft: Draft, name: str, environ: Mapping[str, str]) -> None:
    variable = _variable(name, "ENDPOINT")
    if text := environ.get(variable, "").strip():
        draft.put(f"providers.{name}.endpoint", text, f"environment variable {variable}")


def _find_key(draft: Draft, name: str, table: Table, environ: Mapping[str, str]) -> None:
    key = f"providers.{name}.api_key"
    variable = _variable(name, "API_KEY")
    credential = Path(environ.get("CREDENTIALS_DIRECTORY", "")) / f"{name}_api_key"
    if "api_key" in table and "api_key_file" in table:
        draft.refuse(key, "stands beside api_key_file, and only one can be meant: remove one of them")
    elif text := environ.get(variable, "").strip():
        draft.put(key, text, f"environment variable {variable}")
    elif environ.get("CREDENTIALS_DIRECTORY") and os.path.lexists(credential):
        _read_key(draft, credential, key=key, reported_as=key, source=f"credential {credential.name}")
    elif "api_key_file" in table:
        try:
            path = absolute_path(table["api_key_file"])
        except ValueError:
            return  # The model refuses it.
        _read_key(draft, path, key=key, reported_as=f"{key}_file", source=f"key file {path}")
    elif "api_key" not in table and not draft.is_test_mode:
        draft.refuse(
            key,
            f"is missing: set {key}_file in {draft.file} to a file that holds the key, or the variable {variable}, "
            f"or give a systemd credential named {credential.name} (in test mode no key is needed)",
        )


def _read_key(draft: Draft, path: Path, *, key: str, reported_as: str, source: str) -> None:
    text = read_secret(draft, path, key=reported_as, source=source)
    if text is not None:
        draft.put(key, text, source)


def _check_ca_file(draft: Draft, name: str, table: Table) -> None:
    try:
        if "ca_file" in table:
            absolute_path(table["ca_file"]).open("rb").close()
    except OSError as exc:
        draft.blame(f"providers.{name}.ca_file", f"can't be read: {exc.strerror}")
    except ValueError:
        pass  # The model refuses it.


def _check_variables(
    draft: Draft, environ: Mapping[str, str], names: Collection[str], kinds: Mapping[str, Kind]
) -> None:
    suffixes = ("API_KEY", "ENDPOINT")
    in_force = {_variable(name, suffix) for name in names for suffix in suffixes}
    of_kinds = {_variable(kind, suffix): kind for kind in kinds for suffix in suffixes}
    for variable, kind in of_kinds.items():
        if variable not in in_force and environ.get(variable):
            draft.warnings.append(f"environment variable {variable} has no effect: no lane is named {kind}")
    warn_of_near_misses(draft, environ, {_SELECTION, *VARIABLES, *in_force, *of_kinds})


def _variable(name: str, suffix: str) -> str:
    return f"{name.upper().replace('-', '_')}_{suffix}"


def _list(names: Collection[str]) -> str:
    return ", ".join(sorted(names))
