"""Requests and replies on the wire of ``provider_server``, and the faults that it can be told to have."""

import gzip
import threading
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

Json = dict[str, Any]

_REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 413: "Request Entity Too Large"}


@dataclass(frozen=True)
class Reply:
    """A reply with this status; ``body`` is sent as it is when it is bytes, else as JSON."""

    status: int = 200
    body: object = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    def encoded(self) -> bytes:
        body = self.body if isinstance(self.body, bytes) else orjson.dumps(self.body)
        lines = [f"HTTP/1.1 {self.status} {_REASONS.get(self.status, 'Status')}"]
        lines += [f"{name}: {value}" for name, value in {"Content-Length": len(body), **self.headers}.items()]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@dataclass(frozen=True)
class Raw:
    """These bytes instead of a reply, then the connection is closed: a truncated or malformed reply."""

    data: bytes


@dataclass(frozen=True)
class CloseBeforeReading:
    """Close as soon as the headers have come, the body unread."""


@dataclass(frozen=True)
class CloseAfterReading:
    """Keep the records, then close without a reply: the sender can't know."""


@dataclass(frozen=True)
class Hang:
    """Say nothing until ``release`` is set (the server sets it when it stops).

    Then close without having kept anything, or, with ``answers``, answer as the provider.
    """

    release: threading.Event
    answers: bool = False


@dataclass(frozen=True)
class Drip:
    """Send ``head`` at once, then ``byte`` again and again, until the client hangs up or the server stops."""

    head: bytes
    byte: bytes = b"x"
    pause_seconds: float = 0.005


Action = Reply | Raw | CloseBeforeReading | CloseAfterReading | Hang | Drip


@dataclass(frozen=True)
class Request:
    """One request as it came.

    Attributes:
        target: Path with query.
        body: Decompressed.
        records: The body's JSON array, or the one in its envelope; empty when there is none.
        status: What was answered; 0 when nothing was.
    """

    target: str
    headers: Mapping[str, str]
    body: bytes
    records: list[Json]
    status: int

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


def decompressed(raw: bytes, headers: Mapping[str, str]) -> bytes | None:
    """The body, or None when it is not what its headers say."""
    if headers.get("content-encoding") != "gzip":
        return raw
    try:
        return gzip.decompress(raw)
    except (OSError, EOFError, zlib.error):
        return None


def parsed(body: bytes | None) -> object:
    """The body as JSON, None when it is none."""
    try:
        value: object = orjson.loads(body or b"")
    except orjson.JSONDecodeError:
        return None
    return value


def records_in(body: bytes | None) -> list[Json]:
    """The events: Mixpanel's body is a list of them, Amplitude and Segment have an envelope around theirs."""
    value = parsed(body)
    if isinstance(value, dict):
        value = value.get("events", value.get("batch"))
    return value if isinstance(value, list) and all(isinstance(item, dict) for item in value) else []


def as_object(value: object) -> Json:
    """``value`` if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}
