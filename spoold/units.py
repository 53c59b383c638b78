"""Durations and sizes as people write them: ``10s``, ``24h``, ``256MiB``, or a plain number of seconds or bytes."""

import re
from decimal import Decimal

_NUMBER_WITH_UNIT = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)")

#: Seconds in each unit, smallest first.
_DURATION_UNITS = {
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86400),
}

_BINARY_UNITS = {"KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "TiB": 1024**4}

#: Bytes in each unit. Disks are sold in powers of 1000, so both families are taken at their word.
_SIZE_UNITS = {
    "B": Decimal(1),
    **{unit: Decimal(factor) for unit, factor in _BINARY_UNITS.items()},
    "kB": Decimal(10**3),
    "KB": Decimal(10**3),
    "MB": Decimal(10**6),
    "GB": Decimal(10**9),
    "TB": Decimal(10**12),
}


def parse_duration(value: object) -> float:
    """``value`` in seconds: a number, or a string with one of the units ms, s, m, h, d (none means seconds).

    Raises:
        ValueError: If it is neither; the text says what is expected.
    """
    try:
        return float(_scaled(value, _DURATION_UNITS, default_unit="s"))
    except ValueError:
        raise ValueError('must be a duration such as "500ms", "10s", "24h", "7d", or a number of seconds') from None


def parse_size(value: object) -> int:
    """``value`` in bytes: a number, or a string with a unit such as kB, MB, GB, TB, KiB, MiB, GiB, TiB.

    Raises:
        ValueError: If it is neither, or no whole number of bytes; the text says what is expected.
    """
    try:
        size = _scaled(value, _SIZE_UNITS, default_unit="B")
    except ValueError:
        raise ValueError('must be a size such as "256MiB", "10GiB", "10GB", or a number of bytes') from None
    if size != size.to_integral_value():
        raise ValueError("must be a whole number of bytes")
    return int(size)


def format_duration(seconds: float) -> str:
    """The shortest text that ``parse_duration`` reads as ``seconds``, to the millisecond."""
    rest = Decimal(round(seconds * 1000)).scaleb(-3)
    # Days are for reading only: a retention of 24 h is shown as it is usually written.
    for unit in ("h", "m", "s"):
        count, remainder = divmod(rest, _DURATION_UNITS[unit])
        if count and not remainder:
            return f"{count:f}{unit}"
    return f"{rest / _DURATION_UNITS['ms']:f}ms" if rest else "0s"


def format_size(size: int) -> str | int:
    """``size`` with the largest binary unit that divides it, or the plain number when none does."""
    for unit, factor in reversed(_BINARY_UNITS.items()):
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return size


def _scaled(value: object, units: dict[str, Decimal], *, default_unit: str) -> Decimal:
    if isinstance(value, str):
        match = _NUMBER_WITH_UNIT.fullmatch(value.strip())
        if match is None:
            raise ValueError
        number, unit = Decimal(match[1]), match[2] or default_unit
    elif isinstance(value, int | float) and not isinstance(value, bool):
        number, unit = Decimal(value), default_unit
    else:
        raise ValueError  # noqa: TRY004 - callers answer a wrong type and a wrong text alike
    if unit not in units or not number.is_finite():
        raise ValueError
    return number * units[unit]
