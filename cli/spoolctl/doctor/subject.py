"""Whom the doctor looks at: what is configured, what runs, and as which user."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from spoolctl.doctor.service import User, Words
from spoold.api.spoold.admin.v1 import admin_pb2
from spoold.errors import SpoolError
from spoold.spool.layout import Layout
from spoold.units import parse_size


@dataclass(frozen=True, slots=True)
class Settings:
    """The configuration, key by key, as ``spoold --check-config`` or the running daemon tells it: without secrets.

    Attributes:
        values: Each key with its value as JSON has it; empty where it can't be known.
        sources: Where each came from.
    """

    values: Mapping[str, object] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)

    @property
    def directory(self) -> Path | None:
        """Where the events are; test mode has its own folder there."""
        url = self.values.get("spool.url")
        if not isinstance(url, str):
            return None
        directory = Path("/" + url.removeprefix("sqlite://").lstrip("/"))
        return directory / "test" if self.is_test_mode else directory

    @property
    def socket(self) -> Path | None:
        """The admin socket."""
        path = self.values.get("admin.socket")
        return Path(path) if isinstance(path, str) else None

    @property
    def is_test_mode(self) -> bool:
        """Whether nothing is sent."""
        return self.values.get("test_mode") is True

    @property
    def durability(self) -> str:
        """``fsync`` or ``os``; empty where it is not known."""
        return str(self.values.get("spool.durability", ""))

    @property
    def lanes(self) -> list[str]:
        """The lanes' names."""
        kinds = [key.split(".") for key in self.values if key.startswith("providers.")]
        return [parts[1] for parts in kinds if parts[2:] == ["kind"]]

    @property
    def has_hidden_sources(self) -> bool:
        """Whether something comes from where another process can't look: variables and credentials."""
        return any(source.startswith(("environment", "credential")) for source in self.sources.values())

    def size(self, key: str) -> int | None:
        """A size in bytes, or None where it is not known."""
        value = self.values.get(key)
        return None if value is None else parse_size(value)

    def files(self) -> dict[str, Path]:
        """Files that the configuration names: keys and certificates."""
        return {
            key: Path(value) for key, value in self.values.items() if key.endswith("_file") and isinstance(value, str)
        }


@dataclass(frozen=True, slots=True)
class OnDisk:
    """What the spool's files say, all read at once.

    Attributes:
        status: As the daemon would tell it; None when there is no spool, or it can't be read.
        newest_at_ms: When the newest event was accepted, by the clock of the ids (Unix milliseconds).
        error: Why it can't be read.
    """

    status: admin_pb2.GetStatusReply | None = None
    layout: Layout | None = None
    newest_at_ms: int | None = None
    error: SpoolError | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """One installation of spoold.

    Attributes:
        program: The daemon's program, or None when it is not there.
        settings: Those in force where a daemon runs, else those of its next start.
        written: Those of its next start, as far as they can be read.
        directory: The spool's.
        socket: The daemon's, for spoolctl.
        running: How the daemon and its lanes stand; None when it does not answer.
        silence: Why the daemon does not answer.
        user: Who runs it, or will.
        now_ms: Wall clock.
    """

    program: Path | None
    settings: Settings
    written: Settings
    directory: Path
    socket: Path
    running: admin_pb2.GetStatusReply | None
    on_disk: OnDisk
    silence: str
    user: User
    words: Words
    now_ms: int

    @property
    def resting(self) -> admin_pb2.GetStatusReply | None:
        """How the lanes stand by the spool's files; None when they can't be read."""
        return self.on_disk.status

    @property
    def status(self) -> admin_pb2.GetStatusReply | None:
        """What is known best."""
        return self.running or self.resting
