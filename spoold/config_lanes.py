"""Which lanes there are, and what is in force for each."""

from collections.abc import Collection, Mapping

from spoold import config_values as check
from spoold.config_options import Table, credential_keys, credential_variables, find_credential, find_options, variable
from spoold.config_sources import CREDENTIALS, VARIABLES, Draft, key_advice, warn_of_near_misses
from spoold.errors import ConfigError
from spoold.providers.base import Kind

_SELECTION = "ANALYTICS_PROVIDER"
_DEFAULT_LANE = "mixpanel"
#: What the credentials of the built-in kinds are called, for variables of lanes that are not there.
_VARIABLES_OF_LANES = ("API_KEY", "WRITE_KEY", "ENDPOINT")
#: Tables that a lane may have of its own. A key that is missing there holds as it does for all lanes.
_INHERITED = ("batch", "retry")


def add_lanes(
    draft: Draft, environ: Mapping[str, str], kinds: Mapping[str, Kind], known: Collection[str]
) -> dict[str, Kind]:
    """Turn the ``[providers.*]`` tables of ``draft`` into the list of lanes that are in force, credentials included.

    Args:
        known: The keys that a lane of any kind may have.

    Returns:
        The kind of each lane in the list, by the lane's name.
    """
    tables = draft.tree.get("providers", {})
    if not isinstance(tables, dict):
        draft.refuse("providers", "must be tables such as [providers.mixpanel]", is_value_shown=False)
        tables = {}
    draft.tree["providers"] = tables
    names = _selected_names(draft, environ.get(_SELECTION, ""), kinds)
    found = {name: kind for name in names if (kind := _kind_of_lane(draft, name, kinds)) is not None}
    draft.tree["providers"] = tuple(_lane(draft, name, kind, environ, known) for name, kind in found.items())
    _check_variables(draft, environ, names, found, kinds)
    return found


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


def _kind_of_lane(draft: Draft, name: str, kinds: Mapping[str, Kind]) -> Kind | None:
    key = f"providers.{name}"
    table = draft.tree["providers"].setdefault(name, {})
    try:
        check.lane_name(name)
    except ValueError as exc:
        draft.refuse(key, str(exc), is_value_shown=False)
        return None
    if not isinstance(table, dict):
        draft.refuse(key, f"must be a table: [providers.{name}]", is_value_shown=False)
        return None
    kind = table.setdefault("kind", name) if name in kinds else table.get("kind")
    if not isinstance(kind, str) or kind not in kinds:
        subject = "" if "kind" in table else f"is missing, and a kind {name!r} "
        draft.refuse(f"{key}.kind", f"{subject}is not available in this version; available: {_list(kinds)}")
        return None
    try:
        return kinds[kind]
    except ConfigError as exc:
        draft.refuse(f"{key}.kind", str(exc).removeprefix("kind: "), is_value_shown=False)
        return None


def _lane(draft: Draft, name: str, kind: Kind, environ: Mapping[str, str], known: Collection[str]) -> Table:
    """The table of a lane as the model takes it: what is the kind's own is checked and taken out of it."""
    key = f"providers.{name}"
    table: Table = draft.tree["providers"][name]
    if "@" in str(table.get("proxy", "")):
        draft.warn_of_exposure()
    credential = find_credential(draft, name, table, kind, environ)
    options = find_options(draft, name, table, kind)
    _find_endpoint(draft, name, table, kind, environ)
    _check_ca_file(draft, name, table)
    _refuse_unknown_keys(draft, name, table, kind, known)
    # A name with a dot is a path in ``known``; in a file it would be a key in quotes.
    taken = {*credential_keys(kind), *(path for path in known if "." in path)}
    lane = {leaf: value for leaf, value in table.items() if leaf in known and leaf not in taken}
    lane |= {section: _inherited(draft, key, section, table.get(section, {})) for section in _INHERITED}
    if "add" in table:
        # A table is noted by the keys in it.
        draft.sources[f"{key}.add"] = f"file {draft.file}"
    if credential.value is not None:
        lane["api_key"] = credential.value
    if credential.file is not None:
        lane["api_key_file"] = credential.file
    secret_options = frozenset(option for option in options if kind.options[option].is_secret)
    return lane | {
        "name": name,
        "credential_name": kind.credential,
        "options": options,
        "secret_options": secret_options,
    }


def _refuse_unknown_keys(draft: Draft, name: str, table: Table, kind: Kind, known: Collection[str]) -> None:
    here = dict.fromkeys([*credential_keys(kind), *(key for key in known if "." not in key), *kind.options])
    for leaf in table:
        key = f"providers.{name}.{leaf}"
        if leaf == "name":
            draft.refuse(key, "is not a key: the table's own name is the lane's name", is_value_shown=False)
        elif leaf not in here:
            below = [other for other in known if "." in other]
            advice = f"; did you mean {kind.credential}?" if leaf in CREDENTIALS else key_advice(leaf, here, below)
            draft.refuse(key, f"there is no such key{advice}", is_value_shown=False)


def _inherited(draft: Draft, key: str, section: str, own: object) -> object:
    shared = draft.tree.get(section, {})
    if not isinstance(shared, dict) or not isinstance(own, dict):
        return own
    for name in shared.keys() - own.keys():
        if source := draft.sources.get(f"{section}.{name}"):
            draft.sources[f"{key}.{section}.{name}"] = source
    return {**shared, **own}


def _find_endpoint(draft: Draft, name: str, table: Table, kind: Kind, environ: Mapping[str, str]) -> None:
    key = f"providers.{name}.endpoint"
    override = variable(name, "endpoint")
    if text := environ.get(override, "").strip():
        if table.pop("region", None) is not None:
            draft.sources.pop(f"providers.{name}.region", None)
            draft.warnings.append(f"providers.{name}.region has no effect: environment variable {override} is set")
        draft.put(key, text, f"environment variable {override}")
    if "region" in table:
        _check_region(draft, name, table, kind)
    elif "endpoint" in table:
        # A kind without a host of its own posts to the very URL that it is given.
        form = check.base_url if kind.endpoint else check.full_url
        try:
            table["endpoint"] = form(table["endpoint"])
        except ValueError as exc:
            draft.refuse(key, str(exc))
            del table["endpoint"]
    elif not kind.endpoint:
        draft.refuse(key, f"is missing: name the URL to send to, here or in the variable {override}")


def _check_region(draft: Draft, name: str, table: Table, kind: Kind) -> None:
    region = table["region"]
    key = f"providers.{name}.region"
    if "endpoint" in table:
        draft.refuse(key, "stands beside endpoint, and only one can be meant: remove one of them")
    elif not kind.regions:
        draft.refuse(key, f"the kind {table['kind']!r} has no regions: name an endpoint instead")
    elif not isinstance(region, str) or region not in kind.regions:
        draft.refuse(key, f"must be one of {', '.join(sorted(kind.regions))}, or name an endpoint instead")
    else:
        return
    del table["region"]


def _check_ca_file(draft: Draft, name: str, table: Table) -> None:
    try:
        if "ca_file" in table:
            check.absolute_path(table["ca_file"]).open("rb").close()
    except OSError as exc:
        draft.blame(f"providers.{name}.ca_file", f"can't be read: {exc.strerror}")
    except ValueError:
        pass  # The model refuses it.


def _check_variables(
    draft: Draft,
    environ: Mapping[str, str],
    names: Collection[str],
    found: Mapping[str, Kind],
    kinds: Mapping[str, Kind],
) -> None:
    in_force = {variable(name, "endpoint") for name in names}
    in_force |= {known for name, kind in found.items() for known in credential_variables(name, kind)}
    absent = {variable(kind, suffix): kind for kind in kinds if kind not in names for suffix in _VARIABLES_OF_LANES}
    for known, kind_name in absent.items():
        if known not in in_force and environ.get(known):
            draft.warnings.append(f"environment variable {known} has no effect: no lane is named {kind_name}")
    warn_of_near_misses(draft, environ, {_SELECTION, *VARIABLES, *in_force, *absent})


def _list(names: Collection[str]) -> str:
    return ", ".join(sorted(names))
