"""Structured logs: one event a line, JSON or for a console, and never with a secret in it (I10).

Until ``configure_logging`` is called, events from ``info`` up go to structlog's default output.
"""

import logging
import math
import re
from collections.abc import Iterable, Mapping, MutableMapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from spoold.clock import SystemClock

Level = Literal["debug", "info", "warning", "error"]

_REDACTED = "********"
_SECRET_KEY = re.compile(r"api_?key|write_?key|authorization|token|secret|password", re.IGNORECASE)

#: Shorter texts are no credentials, and hiding them would make holes in ordinary words.
_MIN_SECRET_CHARS = 6

_CLOCK = SystemClock()


class Logger:
    """Writes events under one name. Safe from any thread.

    A filtered event costs one comparison. ``configure_logging`` reaches all loggers, those made before it too.
    """

    __slots__ = ("_fields",)

    threshold: ClassVar[int] = logging.INFO

    def __init__(self, fields: Mapping[str, object]) -> None:
        self._fields = fields

    def bind(self, **fields: object) -> "Logger":
        """A logger that adds ``fields`` to each of its events."""
        return Logger({**self._fields, **fields})

    def debug(self, event: str, **fields: object) -> None:
        """What a developer looks for."""
        if self.threshold <= logging.DEBUG:
            structlog.get_logger().debug(event, **{**self._fields, **fields})

    def info(self, event: str, **fields: object) -> None:
        """What an operator wants to find later."""
        if self.threshold <= logging.INFO:
            structlog.get_logger().info(event, **{**self._fields, **fields})

    def warning(self, event: str, **fields: object) -> None:
        """What an operator should look at."""
        if self.threshold <= logging.WARNING:
            structlog.get_logger().warning(event, **{**self._fields, **fields})

    def error(self, event: str, **fields: object) -> None:
        """What an operator must act on."""
        structlog.get_logger().error(event, **{**self._fields, **fields})

    def exception(self, event: str, **fields: object) -> None:
        """An error, with the traceback of the exception that is being handled."""
        structlog.get_logger().error(event, **{**self._fields, **fields, "exc_info": True})


def get_logger(name: str) -> Logger:
    """A logger whose events carry ``logger: name``."""
    return Logger({"logger": name})


def configure_logging(level: Level, log_format: Literal["json", "console"], stream: TextIO) -> None:
    """Send all events from ``level`` up to ``stream``, those of libraries from ``warning`` up.

    May be called again, to change any of the three. A stream that fails (a full disk, a closed pipe) loses events and
    raises nothing: the daemon goes on.
    """
    threshold = logging.getLevelNamesMapping()[level.upper()]
    prepare: list[Processor] = [structlog.stdlib.add_log_level, _add_timestamp]
    render: list[Processor] = [structlog.processors.format_exc_info, redact, _renderer(log_format, stream)]
    structlog.configure(
        processors=[*prepare, *render],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=lambda *_: _Output(stream),
        cache_logger_on_first_use=False,
    )
    Logger.threshold = threshold
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *prepare],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(threshold, logging.WARNING), force=True)


def register_secrets(secrets: Iterable[str]) -> None:
    """Replace these texts by ``********`` in every event from now on, wherever they stand.

    Texts under 6 characters are left alone. Call it from one thread at a time.
    """
    _Redactor.add(secrets)


class _Output(structlog.WriteLogger):
    """Writes lines, whatever happens: a disk that is full of logs must not stop a delivery."""

    def msg(self, message: str) -> None:
        # ValueError: the stream is closed, or can't encode the text.
        with suppress(OSError, ValueError):
            super().msg(message)

    debug = info = warning = error = msg


class _Redactor:
    secrets: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def add(cls, secrets: Iterable[str]) -> None:
        known = {*cls.secrets, *(secret for secret in secrets if len(secret) >= _MIN_SECRET_CHARS)}
        # Longest first, or the end of a secret that begins with another one would stay.
        cls.secrets = tuple(sorted(known, key=len, reverse=True))


def redact(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    """Hide registered secrets, and the values of keys that look secret, at any depth.

    What is neither text, number nor container becomes text here, since a renderer would turn it into text unseen.
    """
    event: EventDict = {key: _clean(key, value) for key, value in event_dict.items()}
    first: EventDict = {key: event.pop(key) for key in ("timestamp", "level", "event") if key in event}
    return {**first, **event}


def _clean(key: str, value: object) -> object:
    if _SECRET_KEY.search(key) and value is not None:
        return _REDACTED
    match value:
        case None | int():
            return value
        case float() if math.isfinite(value):  # JSON has no word for the others; they become text.
            return value
        case Mapping():
            return {_hide(str(name)): _clean(str(name), item) for name, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_clean("", item) for item in value]
        case _:
            return _hide(repr(value) if isinstance(value, BaseException) else str(value))


def _hide(text: str) -> str:
    for secret in _Redactor.secrets:
        text = text.replace(secret, _REDACTED)
    return text


def _renderer(log_format: Literal["json", "console"], stream: TextIO) -> Processor:
    if log_format == "json":
        return structlog.processors.JSONRenderer()
    # The default formatter of exceptions shows local variables, secrets among them, and it would run after redact.
    return structlog.dev.ConsoleRenderer(
        colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback, sort_keys=False
    )


def _add_timestamp(_logger: WrappedLogger, _method: str, event_dict: MutableMapping[str, Any]) -> EventDict:
    moment = datetime.fromtimestamp(_CLOCK.wall_ms() / 1000, UTC)
    event_dict["timestamp"] = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return event_dict
