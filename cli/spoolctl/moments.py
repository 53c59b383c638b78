"""Moments as people write them: ISO 8601, ``2h`` for two hours ago, or Unix seconds."""

import re
from datetime import datetime

from spoold.units import parse_duration

_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")
_DURATION = re.compile(r"[0-9.]+\s*[a-z]+")
#: Unix seconds of 2001 and 5138: below, but for 0, it is a date without hyphens or a duration without a unit, above
#: it is milliseconds. Taken at its word, either would select everything or nothing.
_MIN_UNIX_SECONDS, _MAX_UNIX_SECONDS = 10**9, 10**11
_FORMS = 'write it as "2026-11-24T09:30" (local time, or with a zone), "2h" (ago), or Unix seconds'


def parse_moment(text: str, now_ms: int) -> int:
    """``text`` in Unix milliseconds; ``0`` is the beginning of all.

    Args:
        now_ms: Unix milliseconds from which a duration counts back.

    Raises:
        ValueError: It is none of the forms; the sentence says what is wrong and what is expected.
    """
    text = text.strip()
    if _NUMBER.fullmatch(text):
        return _unix_ms(text)
    if _DURATION.fullmatch(text):
        return max(0, now_ms - _duration_ms(text))
    try:
        # Without a zone it is the local time, in summer and in winter.
        return round(datetime.fromisoformat(text).astimezone().timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"{text!r} is no time: {_FORMS}") from None


def _unix_ms(text: str) -> int:
    seconds = float(text)
    if seconds >= _MAX_UNIX_SECONDS:
        raise ValueError(f"{text} can only be milliseconds: divide it by 1000")
    if 0 < seconds < _MIN_UNIX_SECONDS:
        raise ValueError(f"{text} as Unix seconds is before 2001: {_FORMS}")
    return round(seconds * 1000)


def _duration_ms(text: str) -> int:
    try:
        return round(parse_duration(text) * 1000)
    except ValueError as exc:
        raise ValueError(f"{text!r} {exc}") from None
