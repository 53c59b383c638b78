"""Where the configuration comes from: the TOML file, variables, systemd credentials and key files.

All of them end up in one ``Draft``: the tree that the model checks, and for each key where its value came from.
Environment beats credential, credential beats key file and file, and what none of them gives is left to the defaults.
"""

import difflib
import json
import os
import re
import stat
import tomllib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from pydantic_core import ErrorDetails

from spoold.errors import ConfigError

SECRET_TEXT = "********"  # noqa: S105 - what is shown instead of one

#: What credentials are called. A kind may have other secrets, but a kind that is not known can't say so.
CREDENTIALS = frozenset({"api_key", "write_key", "secret"})

_LONGEST_SHOWN = 80
_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off"}


@dataclass(frozen=True, slots=True)
class Variable:
    """An environment variable and the key that it overrides.

    Attributes:
        read: What the file would hold instead of the variable's text. Text that makes no sense is passed on as it is:
            the model refuses it with the bounds of the key.
    """

    key: str
    read: Callable[[str], object]


def _integer(text: str) -> object:
    return int(text) if re.fullmatch("-?[0-9]{1,18}", text) else text


def _boolean(text: str) -> object:
    return True if text.lower() in _TRUE else False if text.lower() in _FALSE else text


def _milliseconds(text: str) -> object:
    return f"{text}ms" if re.fullmatch("[0-9.]+", text) else text


VARIABLES: Mapping[str, Variable] = {
    "BATCH_SIZE": Variable("batch.size", _integer),
    "FLUSH_INTERVAL_SECONDS": Variable("batch.interval", str),
    "MAX_RETRY_ATTEMPTS": Variable("retry.max_attempts", _integer),
    "INITIAL_RETRY_DELAY_MS": Variable("retry.initial_delay", _milliseconds),
    "MAX_RETRY_DELAY_MS": Variable("retry.max_delay", _milliseconds),
    "TEST_MODE": Variable("test_mode", _boolean),
    "HOST": Variable("ingest.host", str),
    "GRPC_PORT": Variable("ingest.port", _integer),
    "LOG_LEVEL": Variable("log.level", str.lower),
    "LOG_FORMAT": Variable("log.format", str.lower),
    "SPOOL_URL": Variable("spool.url", str),
    "ADMIN_SOCKET": Variable("admin.socket", str),
    "METRICS_ADDRESS": Variable("metrics.address", str),
}


@dataclass(slots=True)
class Draft:
    """The configuration before it is checked.

    Attributes:
        tree: Nested tables, as TOML has them.
        sources: Where each key that is set came from.
        written: What the user wrote for a key, where that is not what stands in ``tree``.
        problems: What can't be used, each with the key, the reason and the fix.
        warnings: What can, but should be looked at.
        exposure: The warning that is due if the file holds a secret; empty when not everyone can read it.
        test_mode: In which mode the lanes are read, if that is not for the file to say.
    """

    file: Path
    tree: dict[str, Any] = field(default_factory=dict, repr=False)
    sources: dict[str, str] = field(default_factory=dict)
    written: dict[str, object] = field(default_factory=dict, repr=False)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    exposure: str = ""
    test_mode: bool | None = None
    _secret_keys: set[str] = field(default_factory=set)

    @property
    def is_test_mode(self) -> bool:
        """Whether nothing will be sent, so that no credential is needed."""
        return self.tree.get("test_mode") is True if self.test_mode is None else self.test_mode

    def put(self, key: str, value: object, source: str, *, written: object = None) -> None:
        """Set ``key``, over what a weaker source gave."""
        *tables, leaf = key.split(".")
        table = self.tree
        for name in tables:
            table = table.setdefault(name, {})
            if not isinstance(table, dict):
                return  # The file has no table where one belongs; that is refused on its own.
        table[leaf] = value
        self.sources[key] = source
        self.written[key] = value if written is None else written

    def hide(self, key: str) -> None:
        """Never show the value of ``key``."""
        self._secret_keys.add(key)

    def warn_of_exposure(self) -> None:
        """The file holds a secret: say so, once, if everyone can read it."""
        if self.exposure and self.exposure not in self.warnings:
            self.warnings.append(self.exposure)

    def refuse(self, key: str, reason: str, *, source: str = "", is_value_shown: bool = True) -> None:
        """Note why ``key`` can't be used. A value that is, or may be, a secret is never shown."""
        self.problems.append(self._complaint(key, reason, source, is_value_shown=is_value_shown))

    def blame(self, key: str, reason: str, *, source: str = "") -> None:
        """Note what only matters when something is sent: in test mode it is but a warning."""
        notes = self.warnings if self.is_test_mode else self.problems
        notes.append(self._complaint(key, reason, source, is_value_shown=True))

    def _complaint(self, key: str, reason: str, source: str, *, is_value_shown: bool) -> str:
        value = f" = {self._shown(key, self.written[key])}" if is_value_shown and key in self.written else ""
        source = source or self.sources.get(key, "")
        return f"{key}{value}{f' ({source})' if source else ''}: {reason}"

    def _shown(self, key: str, value: object) -> str:
        file_of = key.removesuffix("_file")
        # A key file that is no path may well be the key.
        if self._is_secret(key) or (self._is_secret(file_of) and not str(value).startswith("/")):
            return SECRET_TEXT
        if isinstance(value, str):
            text = json.dumps(mask_url(value))
        elif isinstance(value, bool | float) or (isinstance(value, int) and abs(value) < 2**64):
            text = json.dumps(value)
        else:
            return f"({type(value).__name__})"
        return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"

    def _is_secret(self, key: str) -> bool:
        return key in self._secret_keys or key.rpartition(".")[2] in CREDENTIALS


def read_draft(path: Path | None, default_path: Path, environ: Mapping[str, str]) -> Draft:
    """File and variables, one over the other; what belongs to single lanes is left to ``config_lanes``.

    Raises:
        ConfigError: If the file can't be read or is no TOML.
    """
    draft = Draft(file=path or default_path)
    try:
        with draft.file.open("rb") as file:
            _read_toml(draft, file)
    except FileNotFoundError:
        if path is not None:
            raise ConfigError(f"{path}: there is no such file; create it or correct --config") from None
    except OSError as exc:
        raise ConfigError(f"{draft.file}: the configuration can't be read: {exc.strerror}") from None
    for name, variable in VARIABLES.items():
        text = environ.get(name, "").strip()
        if text or (name == "METRICS_ADDRESS" and name in environ):
            draft.put(variable.key, variable.read(text), f"environment variable {name}", written=text)
    return draft


def _read_toml(draft: Draft, file: BinaryIO) -> None:
    try:
        draft.tree = tomllib.load(file)
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{draft.file}: byte {exc.start} is not UTF-8, and a TOML file must be") from None
    except (ValueError, RecursionError) as exc:
        raise ConfigError(f"{draft.file}: this is not TOML: {exc}") from None
    _note_source(draft, draft.tree, "")
    draft.exposure = _exposure(file)
    if any(key.rpartition(".")[2] in CREDENTIALS for key in draft.sources):
        draft.warn_of_exposure()


def _note_source(draft: Draft, table: dict[str, Any], prefix: str) -> None:
    for name, value in table.items():
        if isinstance(value, dict):
            _note_source(draft, value, f"{prefix}{name}.")
        else:
            draft.sources[f"{prefix}{name}"] = f"file {draft.file}"
            draft.written[f"{prefix}{name}"] = value


def mask_url(text: str) -> str:
    """``text`` without the user and password, or the query, that a URL may hold."""
    text = re.sub(r"(?s)^([A-Za-z0-9+.-]+://)?.*@", rf"\g<1>{SECRET_TEXT}@", text)
    return re.sub(r"(?s)\?.*", f"?{SECRET_TEXT}", text)


def read_secret(draft: Draft, path: Path, *, key: str, source: str) -> str | None:
    """The secret that a file holds, without the blanks around it; None when it is no good, which is then noted."""
    try:
        with path.open("rb") as file:
            text = file.read().decode().strip()
            exposure = _exposure(file)
    except OSError as exc:
        draft.blame(key, f"can't be read: {exc.strerror}; put the key there, readable for spoold's user", source=source)
        return None
    except UnicodeDecodeError:
        text = ""
    if not text:
        draft.blame(key, "is empty or not UTF-8; write the key, and nothing else, into the file", source=source)
        return None
    draft.warnings += [exposure] if exposure else []
    return text


def key_advice(leaf: str, known: Collection[str], elsewhere: Collection[str]) -> str:
    """What may be meant by a key that is not among those ``known`` in its table: one of them, or one ``elsewhere``."""
    if near := difflib.get_close_matches(leaf.lower(), known, n=1):
        return f"; did you mean {near[0]}?"
    moved = [key for key in elsewhere if key.rpartition(".")[2] == leaf]
    return f"; did you mean {moved[0]}?" if moved else f"; known here: {', '.join(known)}"


def warn_of_near_misses(draft: Draft, environ: Mapping[str, str], known: Collection[str]) -> None:
    """Point out variables whose names are almost known ones.

    Only where the one that is meant is not set, and where the first letter is right: a machine has many variables.
    """
    # HOST is too short to tell a slip from another word.
    missing = [name for name in known if name not in environ and name != "HOST"]
    for name in sorted(set(environ) - set(known)):
        near = difflib.get_close_matches(name.upper(), missing, n=1, cutoff=0.85)
        if near and near[0][0] == name[0].upper():
            draft.warnings.append(f"environment variable {name} has no meaning here; did you mean {near[0]}?")


def error_reason(error: ErrorDetails, key: str) -> str:
    """What pydantic found wrong with ``key``, in our own words."""
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    if error["type"] == "literal_error":
        return f"must be {error['ctx']['expected']}"
    return f"must be a table: [{key}]" if error["type"] == "model_type" else error["msg"]


def _exposure(file: BinaryIO) -> str:
    mode = os.fstat(file.fileno()).st_mode
    if not mode & stat.S_IROTH:
        return ""
    return (
        f"{file.name} holds a key and is readable by everyone (mode {mode & 0o7777:04o}): "
        f"chmod {mode & 0o7770:04o} {file.name}"
    )
