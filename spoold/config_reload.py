"""What a running daemon takes from a configuration that was read again (design: SIGHUP)."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from spoold.config import DEFAULT_PATH, LaneConfig, LoadedConfig, describe_config, load_config
from spoold.providers.base import Kind

#: Keys that hold as long as the process does: what they name is open, locked or on disk.
_FIXED = (
    "test_mode",
    "spool.url",
    "spool.durability",
    "ingest.host",
    "ingest.port",
    "ingest.socket",
    "ingest.id_namespace",
    "admin.socket",
    "metrics.address",
)
_CREDENTIAL = "credential "
_OUTSIDE = ("environment variable ", _CREDENTIAL)


@dataclass(frozen=True, slots=True)
class ReloadResult:
    """A configuration for a daemon that runs.

    Attributes:
        loaded: What is in force from now on: the new values where they can change, elsewhere the old ones.
        changed: Keys outside the lanes whose value is another now, in the order of the description.
        added: Lanes that are new, by name, in the order of the file; so are the next two.
        removed: Lanes that are no longer there.
        altered: Lanes of which something is another now, if only their key.
        warnings: What to look at in the new configuration, and what needs a restart. For the log.
    """

    loaded: LoadedConfig
    changed: tuple[str, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    altered: tuple[str, ...]
    warnings: tuple[str, ...]


def reload_config(
    current: LoadedConfig,
    path: Path | None,
    environ: Mapping[str, str],
    *,
    kinds: Mapping[str, Kind] | None = None,
    default_path: Path = DEFAULT_PATH,
) -> ReloadResult:
    """Read the file and the key files again, for a daemon that runs with ``current``.

    Changes nothing. The arguments are those of ``load_config``; ``environ`` is the one that the process started with.
    Register the secrets of the result before anything of it is logged.

    Raises:
        ConfigError: With all that is wrong; ``current`` stays in force.
    """
    fresh = load_config(path, environ, kinds=kinds, default_path=default_path, test_mode=current.config.test_mode)
    loaded = _in_force(fresh, current)
    old, new = _lanes(current), _lanes(loaded)
    return ReloadResult(
        loaded=loaded,
        changed=tuple(_changed(loaded, current)),
        added=tuple(name for name in new if name not in old),
        removed=tuple(name for name in old if name not in new),
        altered=tuple(name for name in new if name in old and new[name] != old[name]),
        warnings=(*fresh.warnings, *_needing_restart(fresh, current), *_outside(loaded)),
    )


def _in_force(fresh: LoadedConfig, current: LoadedConfig) -> LoadedConfig:
    new, old = fresh.config, current.config
    lanes = tuple(_with_old_credential(lane, fresh, current) for lane in new.lanes)
    config = new.model_copy(
        update={
            "test_mode": old.test_mode,
            "spool": new.spool.model_copy(update={"url": old.spool.url, "durability": old.spool.durability}),
            "ingest": old.ingest.model_copy(update={"max_event_bytes": new.ingest.max_event_bytes}),
            "admin": old.admin,
            "metrics": old.metrics,
            "lanes": lanes,
        }
    )
    sources = {**fresh.sources, **{key: current.sources[key] for key in _FIXED}}
    return replace(fresh, config=config, sources=sources)


def _with_old_credential(lane: LaneConfig, fresh: LoadedConfig, current: LoadedConfig) -> LaneConfig:
    """A systemd credential is handed over at the start of the process, and what it was then holds until the next."""
    key = f"providers.{lane.name}.{lane.credential_name}"
    source = fresh.sources[key]
    if not source.startswith(_CREDENTIAL) or current.sources.get(key) != source:
        return lane
    return lane.model_copy(update={"api_key": _lanes(current)[lane.name].api_key})


def _changed(loaded: LoadedConfig, current: LoadedConfig) -> Iterator[str]:
    before = {key: value for key, value, _ in describe_config(current)}
    for key, value, _ in describe_config(loaded):
        if not key.startswith("providers.") and value != before[key]:
            yield key


def _needing_restart(fresh: LoadedConfig, current: LoadedConfig) -> Iterator[str]:
    before = {key: value for key, value, _ in describe_config(current)}
    for key, value, source in describe_config(fresh):
        if key in _FIXED and value != before[key]:
            yield (
                f"{key} = {json.dumps(value)} ({source}) needs a restart;"
                f" until then {json.dumps(before[key])} stays in force"
            )


def _outside(loaded: LoadedConfig) -> Iterator[str]:
    """What an edit of the file can't change, and a reload neither: each source once."""
    keys: dict[str, str] = {}
    for key, source in loaded.sources.items():
        if source.startswith(_OUTSIDE):
            keys.setdefault(source, key)
    for source, key in keys.items():
        yield f"{key} comes from {source}: a new value needs a restart"


def _lanes(loaded: LoadedConfig) -> Mapping[str, LaneConfig]:
    return {lane.name: lane for lane in loaded.config.lanes}
