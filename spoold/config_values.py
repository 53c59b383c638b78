"""What a value in the configuration may be, one check each with a text that says what is expected, and how it is shown.

Each check takes what the file or a variable holds (or a value that passed it before) and returns the value to keep.
It raises ValueError with the reason and the fix; the value itself is added, or hidden, by whoever reports it.
"""

import ipaddress
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import SplitResult, urlsplit
from uuid import UUID

from pydantic import BeforeValidator, SecretStr

from spoold.config_sources import SECRET_TEXT, mask_url
from spoold.units import format_duration, format_size, parse_duration, parse_size

#: A unix socket's path has 108 bytes in the kernel, the closing NUL included.
_MAX_SOCKET_PATH_BYTES = 107
_MAX_PORT = 65535

_SPOOL_SCHEME = "sqlite://"
_LANE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,252}[A-Za-z0-9])?")
#: What an HTTP header can carry without a question of encoding.
_PRINTABLE = re.compile(r"[\x21-\x7e]+")
_SEVERAL = re.compile(r"[\x21-\x7e]+( [\x21-\x7e]+)*")
#: Doubles up to here hold every integer exactly, and JSON's readers have doubles.
_MAX_EXACT_INTEGER = 2**53

N = TypeVar("N", int, float)
JsonValue = str | int | float | bool | list[str] | dict[str, str | int | float | bool] | None


def integer(low: int, high: int) -> BeforeValidator:
    """A whole number from ``low`` to ``high``."""

    def check(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return value

    return BeforeValidator(check)


def duration(low_seconds: float, high_seconds: float) -> BeforeValidator:
    """Seconds, from a number or a text with a unit."""
    return BeforeValidator(_bounded(parse_duration, low_seconds, high_seconds, format_duration))


def size(low_bytes: int, high_bytes: int) -> BeforeValidator:
    """Bytes, from a number or a text with a unit."""
    return BeforeValidator(_bounded(parse_size, low_bytes, high_bytes, format_size))


def _bounded(parse: Callable[[object], N], low: N, high: N, show: Callable[[N], str | int]) -> Callable[[object], N]:
    def check(value: object) -> N:
        number = parse(value)
        if not low <= number <= high:
            raise ValueError(f"must be from {show(low)} to {show(high)}")
        return number

    return check


def boolean(value: object) -> bool:
    """True or false; the other spellings that a variable may use are translated where variables are read."""
    if not isinstance(value, bool):
        raise ValueError("must be true or false (in a variable also 1, 0, yes, no, on, off)")  # noqa: TRY004
    return value


def absolute_path(value: object) -> Path:
    """An absolute path; the daemon's working directory is nothing to rely on."""
    text = str(value) if isinstance(value, Path) else value
    if not isinstance(text, str) or not text.startswith("/") or "\0" in text:
        raise ValueError("must be an absolute path, starting with /")
    return Path(text)


def socket_path(value: object) -> Path:
    """Where a unix socket can be bound."""
    path = absolute_path(value)
    if len(bytes(path)) > _MAX_SOCKET_PATH_BYTES:
        raise ValueError(f"must be at most {_MAX_SOCKET_PATH_BYTES} bytes long: no unix socket can be bound there")
    return path


def spool_url(value: object) -> str:
    """``sqlite://`` and an absolute directory. All that follows is the path, letter by letter: nothing is decoded."""
    text = _text(value)
    scheme, colon, _ = text.partition("://")
    if colon and f"{scheme}://" != _SPOOL_SCHEME:
        raise ValueError(f"has a scheme that this version has no spool for: use {_SPOOL_SCHEME}/DIRECTORY")
    if not text.startswith(f"{_SPOOL_SCHEME}/") or "\0" in text or not spool_directory(text).name:
        raise ValueError(f"must be {_SPOOL_SCHEME} and an absolute directory, such as sqlite:///var/lib/spoold")
    return text


def spool_directory(url: str) -> Path:
    """The directory that a spool URL means. A fourth slash, a habit from SQLAlchemy, changes nothing."""
    return Path("/" + url.removeprefix(_SPOOL_SCHEME).lstrip("/"))


def host(value: object) -> str:
    """An IP address or a host name, without a port."""
    text = _text(value).strip("[]")
    if not _is_address(text) and _HOST_NAME.fullmatch(text) is None:
        raise ValueError("must be an IP address or a host name, without a port")
    return text


def listen_address(value: object) -> str:
    """``host:port``, or the empty text for none."""
    text = _text(value)
    if text:
        split_address(text)
    return text


def split_address(text: str) -> tuple[str, int]:
    """The host and the port of ``host:port`` or ``[v6]:port``.

    Raises:
        ValueError: If it is not of this form.
    """
    name, _, port = text.rpartition(":")
    is_bracketed = name.startswith("[") and name.endswith("]")
    is_port = re.fullmatch("[0-9]{1,5}", port) is not None and int(port) <= _MAX_PORT
    if not name or (":" in name and not is_bracketed) or not is_port:
        raise ValueError('must be HOST:PORT such as "127.0.0.1:9464" or "[::1]:9464", or empty to switch it off')
    return host(name), int(port)


def join_address(name: str, port: int) -> str:
    """``host:port``, with the brackets that a v6 address needs."""
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"


def uuid(value: object) -> UUID:
    """A UUID that is not nil."""
    try:
        found = value if isinstance(value, UUID) else UUID(_text(value))
    except ValueError:
        found = UUID(int=0)
    if not found.int:
        raise ValueError('must be a UUID such as "6f9619ff-8b86-d011-b42d-00c04fc964ff", and not the nil UUID')
    return found


def lane_name(value: object) -> str:
    """What a ``[providers.NAME]`` table may be called; it becomes a metric's label and a credential's file name."""
    if not isinstance(value, str) or _LANE_NAME.fullmatch(value) is None:
        raise ValueError(
            "is no name for a lane: use 1 to 63 of a-z, 0-9, _ and -, the first a letter or a digit",
        )
    return value


def base_url(value: object) -> str:
    """An endpoint that paths are added to, kept without a trailing slash."""
    text = _endpoint(value)
    if "?" in text or "#" in text:
        raise ValueError("must be a base URL, without ? and #")
    return text.rstrip("/")


def full_url(value: object) -> str:
    """An endpoint that is the whole URL, kept as it is."""
    text = _endpoint(value)
    if "#" in text:
        raise ValueError("must be a URL without #: no server gets to see what is behind it")
    return text


def proxy_url(value: object) -> str:
    """An HTTP proxy's URL, which may hold its user and password."""
    parts = _http_url(value)
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("must be a proxy's URL such as http://proxy.example:3128, without a path")
    return parts.geturl().rstrip("/")


def secret(value: object) -> SecretStr:
    """A credential that an HTTP header can carry."""
    return _secret(value, _PRINTABLE)


def secrets(value: object) -> SecretStr:
    """One credential, or several with a blank between them."""
    return _secret(value, _SEVERAL)


def event_patterns(value: object) -> tuple[str, ...]:
    """Names of events, which may hold ``*`` and ``?``."""
    return _texts(value, 'must be a list of event names such as ["Order Paid", "Cart *"], none of them empty')


def property_paths(value: object) -> tuple[str, ...]:
    """Paths of properties, with dots between their segments, which may hold ``*``."""
    expected = 'must be a list of properties such as ["email", "*.ssn", "address.*"], nothing empty between the dots'
    paths = _texts(value, expected)
    if not all(all(path.split(".")) for path in paths):
        raise ValueError(expected)
    return paths


def static_properties(value: object) -> dict[str, Any]:
    """Properties that each event gets: texts, finite numbers and booleans by name."""
    if not isinstance(value, dict) or not all(isinstance(name, str) and name for name in value):
        raise ValueError('must be a table of properties such as { environment = "production" }')
    for name, item in value.items():
        is_exact = isinstance(item, int) and abs(item) <= _MAX_EXACT_INTEGER
        is_finite = isinstance(item, float) and math.isfinite(item)
        if not isinstance(item, str) and not is_exact and not is_finite:
            raise ValueError(f"{name!r} must be a text, a finite number, a whole number up to 2^53, true or false")
    return dict(value)


def shown(name: str, value: object) -> JsonValue:
    """A value as the file would have it, without what is secret in it. ``name`` is the attribute that holds it."""
    if isinstance(value, SecretStr):
        return SECRET_TEXT
    if name in {"endpoint", "proxy"} and isinstance(value, str):
        return mask_url(value)
    if name.endswith("_seconds") and isinstance(value, float):
        return format_duration(value)
    if name.endswith("_bytes") and isinstance(value, int):
        return format_size(value)
    if isinstance(value, tuple):
        return list(value)
    return value if isinstance(value, str | int | dict | None) else str(value)


def _texts(value: object, expected: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) and item for item in value):
        raise ValueError(expected)
    return tuple(value)


def _secret(value: object, form: re.Pattern[str]) -> SecretStr:
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if not isinstance(text, str):
        raise ValueError("must be a text in quotes")  # noqa: TRY004
    if not text:
        raise ValueError("is empty: give the provider's key, or remove the line")
    if form.fullmatch(text) is None:
        raise ValueError("must be printable ASCII without blanks or control characters: copy the key again")
    return SecretStr(text)


def _endpoint(value: object) -> str:
    parts = _http_url(value)
    if "@" in parts.netloc:
        raise ValueError("must not hold a user or a password: the credential has a key of its own")
    return _text(value)


def _http_url(value: object) -> SplitResult:
    text = _text(value)
    try:
        parts = urlsplit(text)
        is_usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, or brackets that don't close
        is_usable = False
    if not is_usable or _PRINTABLE.fullmatch(text) is None:
        raise ValueError("must be a URL that starts with http:// or https:// and names a host")
    return parts


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a text in quotes")  # noqa: TRY004
    return value


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
