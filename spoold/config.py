"""Every setting of spoold: key, default, unit and bounds. The keys are a contract (design: configuration).

The model is frozen; a new configuration is a new object. Attributes carry their unit (``interval_seconds``), TOML
keys don't (``interval = "10s"``).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_core import ErrorDetails

from spoold import config_values as check
from spoold.config_lanes import add_lanes
from spoold.config_sources import SECRET_TEXT, Draft, error_reason, key_advice, read_draft
from spoold.errors import ConfigError
from spoold.providers.base import Kind, OptionValue, ProviderSettings
from spoold.providers.registry import Kinds, build_provider
from spoold.units import format_duration

#: Read when no ``--config`` is given and it exists.
DEFAULT_PATH = Path("/etc/spoold/spoold.toml")

_MIB = 1024**2
_GIB = 1024**3
_TIB = 1024**4
_HOUR = 3600.0
_DAY = 24 * _HOUR

Boolean = Annotated[bool, BeforeValidator(check.boolean)]
AbsolutePath = Annotated[Path, BeforeValidator(check.absolute_path)]
SocketPath = Annotated[Path, BeforeValidator(check.socket_path)]
EventPatterns = Annotated[tuple[str, ...], BeforeValidator(check.event_patterns)]
PropertyPaths = Annotated[tuple[str, ...], BeforeValidator(check.property_paths)]
StaticProperties = Annotated[dict[str, str | int | float | bool], BeforeValidator(check.static_properties)]

#: Attributes of a lane that stand for no key of its table: they come from the table's name and from the kind.
_NO_KEYS = frozenset({"name", "credential_name", "options", "secret_options"})
#: A word of a secret header's value, such as what follows ``Bearer``; shorter ones are too common to be masked.
_MIN_WORD_CHARACTERS = 8


class _Section(BaseModel):
    # hide_input_in_errors: pydantic would print a refused key's value, which may be a secret.
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, validate_by_name=True, hide_input_in_errors=True
    )


class SpoolConfig(_Section):
    """Where events are kept, and how many.

    Attributes:
        durability: ``fsync`` survives a crash of the machine, ``os`` only one of the process.
        max_bytes: The spool's size on disk, WAL and dead letters included: 64 KiB to 16 TiB.
        min_free_bytes: Room that is left on the disk, 0 to 1 TiB.
        retention_seconds: How long delivered events stay, for replays: 0 to 3650 days.
    """

    url: Annotated[str, BeforeValidator(check.spool_url)] = "sqlite:///var/lib/spoold"
    durability: Literal["fsync", "os"] = "fsync"
    max_bytes: Annotated[int, check.size(64 * 1024, 16 * _TIB)] = 10 * _GIB
    min_free_bytes: Annotated[int, check.size(0, _TIB)] = 256 * _MIB
    retention_seconds: Annotated[float, Field(validation_alias="retention"), check.duration(0, 3650 * _DAY)] = _DAY

    @property
    def directory(self) -> Path:
        """The absolute directory that ``url`` means."""
        return check.spool_directory(self.url)


class BatchConfig(_Section):
    """When a lane flushes: at ``size`` events (1 to 1000) or when the oldest is ``interval_seconds`` old (1 to 300)."""

    size: Annotated[int, check.integer(1, 1000)] = 50
    interval_seconds: Annotated[float, Field(validation_alias="interval"), check.duration(1, 300)] = 10.0


class RetryConfig(_Section):
    """How long a lane waits after a failure.

    Attributes:
        max_attempts: Failures in a row after which the lane counts as down, 1 to 1000. It goes on trying.
        initial_delay_seconds: First wait, 1 ms to 1 h; it doubles with each failure.
        max_delay_seconds: Longest wait, 1 ms to 24 h, and not below the first.
        max_retry_after_seconds: Longest wait that a provider may ask for, 1 ms to 7 days.
    """

    max_attempts: Annotated[int, check.integer(1, 1000)] = 5
    initial_delay_seconds: Annotated[float, Field(validation_alias="initial_delay"), check.duration(0.001, _HOUR)] = 1.0
    max_delay_seconds: Annotated[float, Field(validation_alias="max_delay"), check.duration(0.001, _DAY)] = 30.0
    max_retry_after_seconds: Annotated[
        float, Field(validation_alias="max_retry_after"), check.duration(0.001, 7 * _DAY)
    ] = _HOUR

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.initial_delay_seconds > self.max_delay_seconds:
            raise ValueError(
                f"initial_delay ({format_duration(self.initial_delay_seconds)}) is above max_delay "
                f"({format_duration(self.max_delay_seconds)}): lower the one or raise the other"
            )
        return self


class IngestConfig(_Section):
    """Where callers connect.

    Attributes:
        host: Address or name to listen on.
        port: 0 to 65535; 0 takes any that is free.
        socket: A unix socket to listen on as well.
        id_namespace: Under which callers' ids become UUIDs; None: made at the first start and kept in the spool.
        max_event_bytes: Most bytes of an event's JSON, 1000 to 1000000.
    """

    host: Annotated[str, BeforeValidator(check.host)] = "0.0.0.0"
    port: Annotated[int, check.integer(0, 65535)] = 50054
    socket: SocketPath | None = None
    id_namespace: Annotated[UUID, BeforeValidator(check.uuid)] | None = None
    max_event_bytes: Annotated[int, check.size(1000, 1_000_000)] = 32_000

    @property
    def address(self) -> str:
        """``host:port``, with the brackets that a v6 address needs."""
        return check.join_address(self.host, self.port)


class LogConfig(_Section):
    """What is logged on stdout, and how."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "console"] = "json"


class AdminConfig(_Section):
    """Where spoolctl connects."""

    socket: SocketPath = Path("/run/spoold/admin.sock")


class MetricsConfig(_Section):
    """Where Prometheus connects: ``host:port``, empty for nowhere."""

    address: Annotated[str, BeforeValidator(check.listen_address)] = "127.0.0.1:9464"

    @property
    def host_and_port(self) -> tuple[str, int] | None:
        """The address in two, or None when metrics are off."""
        return check.split_address(self.address) if self.address else None


class LaneConfig(_Section):
    """One provider's way through the journal.

    Attributes:
        kind: How to speak to the provider; the name when the file gives none.
        region: One of the kind's regions, instead of an endpoint.
        endpoint: Base URL without a trailing slash, or the whole URL for a kind that has none of its own. None for the
            region's or the kind's.
        api_key: The credential in force. None where the kind needs none, and in test mode.
        api_key_file: Where the file says that the key is; ``api_key`` has been read from there already.
        credential_name: The key that holds ``api_key``, as the kind calls it.
        start: Where a lane that is new begins: at the end of the journal, or at what is retained.
        timeout_seconds: For connecting, and again for each wait for bytes: 1 to 300.
        ca_file: PEM certificates to trust instead of the system's.
        proxy: URL of an HTTP proxy. May hold a password: never log it.
        in_flight: Requests that may be under way at once under a backlog, 1 to 32.
        when_full: When the spool is full of what this lane has pending: refuse new events, or give up its oldest.
        batch: As for all lanes, but for what the lane's own table says.
        retry: As for all lanes, but for what the lane's own table says.
        include: Names of the tracked events that the lane gets; empty for all.
        exclude: Names of those that it doesn't; ``$identify`` for profiles.
        drop: Paths of properties that it doesn't get.
        redact: Paths of properties of which it doesn't get the value.
        add: Properties that each tracked event gets unless it has one of that name.
        options: A value for each of the kind's own keys. May hold secrets: never log it.
        secret_options: Which of them are secret.
    """

    name: Annotated[str, BeforeValidator(check.lane_name)]
    kind: str
    region: str | None = None
    endpoint: Annotated[str, BeforeValidator(check.full_url)] | None = Field(default=None, repr=False)
    credential_name: str = "api_key"
    api_key: Annotated[SecretStr, BeforeValidator(check.secrets)] | None = None
    api_key_file: AbsolutePath | None = None
    start: Literal["latest", "earliest"] = "latest"
    timeout_seconds: Annotated[float, Field(validation_alias="timeout"), check.duration(1, 300)] = 30.0
    ca_file: AbsolutePath | None = None
    proxy: Annotated[str, BeforeValidator(check.proxy_url)] | None = Field(default=None, repr=False)
    in_flight: Annotated[int, check.integer(1, 32)] = 4
    when_full: Literal["refuse", "purge"] = "refuse"
    include: EventPatterns = ()
    exclude: EventPatterns = ()
    drop: PropertyPaths = ()
    redact: PropertyPaths = ()
    add: StaticProperties = Field(default_factory=dict)
    batch: BatchConfig = BatchConfig()
    retry: RetryConfig = RetryConfig()
    options: Mapping[str, OptionValue] = Field(default_factory=dict, repr=False)
    secret_options: frozenset[str] = frozenset()

    @property
    def secrets(self) -> Iterator[str]:
        """Every text of this lane that must never be shown."""
        if self.api_key is not None:
            yield self.api_key.get_secret_value()
            yield from self.api_key.get_secret_value().split()
        if password := urlsplit(self.proxy or "").password:
            yield password
        yield urlsplit(self.endpoint or "").query
        for name in self.secret_options:
            value = self.options[name]
            for text in value.values() if isinstance(value, Mapping) else [str(value or "")]:
                yield text
                yield from (word for word in text.split() if len(word) >= _MIN_WORD_CHARACTERS)

    def provider_settings(self, kind: Kind) -> ProviderSettings:
        """What the provider of this lane is built from.

        In test mode a credential that is missing is replaced by a text that is none: nothing is sent.
        """
        endpoint = self.endpoint or (kind.regions[self.region] if self.region else kind.endpoint)
        missing = "test-mode" if kind.needs_credential else ""
        credential = missing if self.api_key is None else self.api_key.get_secret_value()
        return ProviderSettings(endpoint, credential, self.options)


class Config(_Section):
    """The configuration in force.

    Attributes:
        test_mode: Nothing is sent, and the spool is its own (design: test mode).
        shutdown_timeout_seconds: For the final flush, 0 to 3600; keep it below the unit's ``TimeoutStopSec``.
        lanes: In the order of the file.
    """

    test_mode: Boolean = False
    shutdown_timeout_seconds: Annotated[float, Field(validation_alias="shutdown_timeout"), check.duration(0, 3600)] = (
        25.0
    )
    spool: SpoolConfig = SpoolConfig()
    batch: BatchConfig = BatchConfig()
    retry: RetryConfig = RetryConfig()
    ingest: IngestConfig = IngestConfig()
    log: LogConfig = LogConfig()
    admin: AdminConfig = AdminConfig()
    metrics: MetricsConfig = MetricsConfig()
    lanes: Annotated[tuple[LaneConfig, ...], Field(validation_alias="providers")] = ()

    @model_validator(mode="after")
    def _check_sockets(self) -> Self:
        if self.ingest.socket == self.admin.socket:
            raise ValueError(f"ingest.socket and admin.socket are both {self.admin.socket}: give each its own")
        return self

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every text that must never be shown; for ``log.register_secrets``."""
        return tuple(dict.fromkeys(text for lane in self.lanes for text in lane.secrets if text))


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A configuration, and what there is to say about where it comes from.

    Attributes:
        sources: For each key: ``default``, ``file /path``, ``environment variable NAME``, ``credential NAME`` or
            ``key file /path``.
        warnings: What works but should be looked at; for the log.
    """

    config: Config
    sources: Mapping[str, str]
    warnings: tuple[str, ...]


def load_config(
    path: Path | None,
    environ: Mapping[str, str],
    *,
    kinds: Mapping[str, Kind] | None = None,
    default_path: Path = DEFAULT_PATH,
    test_mode: bool | None = None,
) -> LoadedConfig:
    """The configuration from file, credentials and variables, each over the one before.

    A variable that is empty counts as not set, except ``METRICS_ADDRESS``, where it switches metrics off.

    Args:
        path: The TOML file; None for ``default_path``, which need not exist.
        environ: The environment variables.
        kinds: The kinds of provider; None for those that are installed.
        test_mode: In which mode the lanes are read, for a daemon that runs in it whatever the file says now.

    Raises:
        ConfigError: With all that is wrong, one problem a line; each names key, source, value, reason and fix.
    """
    draft = read_draft(path, default_path, environ)
    draft.test_mode = test_mode
    found = add_lanes(draft, environ, Kinds() if kinds is None else kinds, lane_keys())
    config = _validated(draft)
    if config is not None:
        for lane in config.lanes:
            _try_to_build(draft, lane, found[lane.name])
    if config is None or draft.problems:
        raise ConfigError("\n".join(draft.problems))
    sources = {key: draft.sources.get(key, "default") for key, _ in _entries(config)}
    return LoadedConfig(config, sources, tuple(draft.warnings))


def describe_config(loaded: LoadedConfig) -> list[tuple[str, check.JsonValue, str]]:
    """Each key in force with its value and its source, in the order of the packaged file.

    Durations and sizes are written as in the file (``10s``, ``10GiB``), what is not set is None, and a secret is
    ``********``.
    """
    return [(key, value, loaded.sources[key]) for key, value in _entries(loaded.config)]


def _validated(draft: Draft) -> Config | None:
    try:
        return Config.model_validate(draft.tree, by_alias=True, by_name=False)
    except ValidationError as exc:
        names = [lane["name"] for lane in draft.tree["providers"]]
        for error in exc.errors(include_url=False, include_input=False):
            _refuse(draft, error, names)
    return None


def _try_to_build(draft: Draft, lane: LaneConfig, kind: Kind) -> None:
    """Some settings only the provider itself can judge."""
    try:
        build_provider(lane.kind, kind, lane.provider_settings(kind))
    except ConfigError as exc:
        draft.refuse(f"providers.{lane.name}.{exc.key or 'kind'}", str(exc).removeprefix(f"{exc.key}: "))


def _entries(section: BaseModel, prefix: str = "") -> Iterator[tuple[str, check.JsonValue]]:
    for key, name in _keys(type(section)).items():
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield from _entries(value, f"{prefix}{key}.")
        elif name == "lanes":
            for lane in value:
                yield from _lane_entries(lane, f"{prefix}{key}.{lane.name}.")
        else:
            yield f"{prefix}{key}", check.shown(name, value)


def _lane_entries(lane: LaneConfig, prefix: str) -> Iterator[tuple[str, check.JsonValue]]:
    for key, value in _entries(lane):
        name = f"{lane.credential_name}{key.removeprefix('api_key')}" if key.startswith("api_key") else key
        yield f"{prefix}{name}", value
    for name, option in lane.options.items():
        is_hidden = name in lane.secret_options and option is not None
        yield f"{prefix}{name}", SECRET_TEXT if is_hidden else check.shown(name, option)


def _keys(section: type[BaseModel]) -> dict[str, str]:
    """The TOML keys of a table, each with its attribute."""
    return {
        str(field.validation_alias or name): name
        for name, field in section.model_fields.items()
        if section is not LaneConfig or name not in _NO_KEYS
    }


def lane_keys() -> list[str]:
    """The keys that a lane of any kind may have; those in tables of its own with a dot."""
    lane = LaneConfig(name="any", kind="any")
    return [*_keys(LaneConfig), *(key for key, _ in _entries(lane) if "." in key)]


def _refuse(draft: Draft, error: ErrorDetails, lane_names: list[str]) -> None:
    """Note one of pydantic's errors in our own words."""
    path = [lane_names[part] if isinstance(part, int) else part for part in error["loc"]]
    key = ".".join(path)
    if _is_inherited(draft, path):
        return
    if error["type"] == "extra_forbidden":
        section = type(getattr(Config(), path[-2])) if path[:-1] else Config
        advice = key_advice(path[-1], _keys(section), [key for key, _ in _entries(Config())])
        draft.refuse(key, f"there is no such key{advice}", is_value_shown=False)
        return
    # What is wrong with a table as a whole lies between its keys: say where those came from.
    origins = [f"{name} from {source}" for name, source in draft.sources.items() if name.startswith(f"{key}.")]
    draft.refuse(key or "spoold", error_reason(error, key), source=draft.sources.get(key, ", ".join(origins)))


def _is_inherited(draft: Draft, path: list[str]) -> bool:
    """Whether a lane has this from the tables for all lanes, where it is refused already."""
    key = ".".join(path)
    is_shared = path[0:1] == ["providers"] and path[2:3] in (["batch"], ["retry"])
    return is_shared and not any(name == key or name.startswith(f"{key}.") for name in draft.written)
