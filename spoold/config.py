"""Every setting of spoold: key, default, unit and bounds. The keys are a contract (design: configuration).

The model is frozen; a new configuration is a new object. Attributes carry their unit (``interval_seconds``), TOML
keys don't (``interval = "10s"``).
"""

import difflib
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
from spoold.config_sources import SECRET_TEXT, Draft, mask_url, read_draft
from spoold.errors import ConfigError
from spoold.providers.base import Kind
from spoold.providers.registry import Kinds
from spoold.units import format_duration, format_size

#: Read when no ``--config`` is given and it exists.
DEFAULT_PATH = Path("/etc/spoold/spoold.toml")

_MIB = 1024**2
_GIB = 1024**3
_TIB = 1024**4
_HOUR = 3600.0
_DAY = 24 * _HOUR

JsonValue = str | int | float | bool | None

Boolean = Annotated[bool, BeforeValidator(check.boolean)]
AbsolutePath = Annotated[Path, BeforeValidator(check.absolute_path)]
SocketPath = Annotated[Path, BeforeValidator(check.socket_path)]


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
        endpoint: Base URL without a trailing slash; None for the kind's own.
        api_key: The credential in force. None only in test mode.
        api_key_file: Where the file says that the key is; ``api_key`` has been read from there already.
        start: Where a lane that is new begins: at the end of the journal, or at what is retained.
        timeout_seconds: For connecting, and again for each wait for bytes: 1 to 300.
        ca_file: PEM certificates to trust instead of the system's.
        proxy: URL of an HTTP proxy. May hold a password: never log it.
    """

    name: Annotated[str, BeforeValidator(check.lane_name)]
    kind: str
    endpoint: Annotated[str, BeforeValidator(check.endpoint)] | None = None
    api_key: Annotated[SecretStr, BeforeValidator(check.secret)] | None = None
    api_key_file: AbsolutePath | None = None
    start: Literal["latest", "earliest"] = "latest"
    timeout_seconds: Annotated[float, Field(validation_alias="timeout"), check.duration(1, 300)] = 30.0
    ca_file: AbsolutePath | None = None
    proxy: Annotated[str, BeforeValidator(check.proxy_url)] | None = Field(default=None, repr=False)


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
        keys = [lane.api_key.get_secret_value() for lane in self.lanes if lane.api_key]
        return (*keys, *(password for lane in self.lanes if (password := urlsplit(lane.proxy or "").password)))


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
) -> LoadedConfig:
    """The configuration from file, credentials and variables, each over the one before.

    A variable that is empty counts as not set, except ``METRICS_ADDRESS``, where it switches metrics off.

    Args:
        path: The TOML file; None for ``default_path``, which need not exist.
        environ: The environment variables.
        kinds: The kinds of provider; None for those that are installed.

    Raises:
        ConfigError: With all that is wrong, one problem a line; each names key, source, value, reason and fix.
    """
    draft = read_draft(path, default_path, environ)
    add_lanes(draft, environ, Kinds() if kinds is None else kinds)
    try:
        config = Config.model_validate(draft.tree, by_alias=True, by_name=False)
    except ValidationError as exc:
        names = [lane["name"] for lane in draft.tree["providers"]]
        for error in exc.errors(include_url=False, include_input=False):
            _refuse(draft, error, names)
    if draft.problems:
        raise ConfigError("\n".join(draft.problems))
    sources = {key: draft.sources.get(key, "default") for key, _ in _entries(config)}
    return LoadedConfig(config, sources, tuple(draft.warnings))


def describe_config(loaded: LoadedConfig) -> list[tuple[str, JsonValue, str]]:
    """Each key in force with its value and its source, in the order of the packaged file.

    Durations and sizes are written as in the file (``10s``, ``10GiB``), what is not set is None, and a secret is
    ``********``.
    """
    return [(key, value, loaded.sources[key]) for key, value in _entries(loaded.config)]


def _entries(section: BaseModel, prefix: str = "") -> Iterator[tuple[str, JsonValue]]:
    for key, name in _keys(type(section)).items():
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield from _entries(value, f"{prefix}{key}.")
        elif name == "lanes":
            for lane in value:
                yield from _entries(lane, f"{prefix}{key}.{lane.name}.")
        else:
            yield f"{prefix}{key}", _as_json(name, value)


def _keys(section: type[BaseModel]) -> dict[str, str]:
    """The TOML keys of a table, each with its attribute. A lane's name is no key: it is the name of its table."""
    return {
        str(field.validation_alias or name): name
        for name, field in section.model_fields.items()
        if (section, name) != (LaneConfig, "name")
    }


def _as_json(name: str, value: object) -> JsonValue:
    match value:
        case SecretStr():
            return SECRET_TEXT
        case float() if name.endswith("_seconds"):
            return format_duration(value)
        case int() if name.endswith("_bytes"):
            return format_size(value)
        case str() if name == "proxy":
            return mask_url(value)
        case str() | int() | None:
            return value
        case _:
            return str(value)


def _refuse(draft: Draft, error: ErrorDetails, lane_names: list[str]) -> None:
    """Note one of pydantic's errors in our own words."""
    path = [lane_names[part] if isinstance(part, int) else part for part in error["loc"]]
    key = ".".join(path)
    if error["type"] == "extra_forbidden":
        draft.refuse(key, f"there is no such key{_advice(path)}", is_value_shown=False)
        return
    reason = error["msg"]
    if error["type"] == "value_error":
        reason = str(error["ctx"]["error"])
    elif error["type"] == "literal_error":
        reason = f"must be {error['ctx']['expected']}"
    elif error["type"] == "model_type":
        reason = f"must be a table: [{key}]"
    # What is wrong with a table as a whole lies between its keys: say where those came from.
    origins = [f"{name} from {source}" for name, source in draft.sources.items() if name.startswith(f"{key}.")]
    draft.refuse(key or "spoold", reason, source=", ".join(origins))


def _advice(path: list[str]) -> str:
    *tables, leaf = path
    section: type[BaseModel] = Config
    if tables:
        section = LaneConfig if tables[0] == "providers" else type(getattr(Config(), tables[0]))
    if near := difflib.get_close_matches(leaf.lower(), _keys(section), n=1):
        return f"; did you mean {near[0]}?"
    elsewhere = [key for key, _ in _entries(Config()) if key.rpartition(".")[2] == leaf]
    return f"; did you mean {elsewhere[0]}?" if elsewhere else f"; known here: {', '.join(_keys(section))}"
