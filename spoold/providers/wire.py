"""What the JSON of several providers has in common: times as text on the way out, answers that may be anything."""

from datetime import UTC, datetime

import orjson

#: Characters of ``2026-11-20T10:00:00``.
_TO_THE_SECOND = 19


def iso_time(moment_ms: int) -> str:
    """Unix milliseconds as ISO 8601 in UTC: always 24 characters, as ``2026-11-20T10:00:00.123Z``."""
    seconds, milliseconds = divmod(moment_ms, 1000)
    # By whole seconds: a float of milliseconds is off by one now and then.
    return f"{datetime.fromtimestamp(seconds, UTC).isoformat()[:_TO_THE_SECOND]}.{milliseconds:03d}Z"


def parsed_json(body: bytes) -> object:
    """What ``body`` says as JSON, None when it is none: a reply can be anything."""
    try:
        parsed: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return parsed


def whole_number(value: object) -> int | None:
    """``value`` as an integer: schemas say "number", so 2.0 is one too; True is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, float) and value.is_integer() else None
