"""The spool's directory: made, locked, and the one thing kept in it outside ``spool.db``."""

import os
from pathlib import Path
from uuid import UUID

from spoold.clock import Entropy
from spoold.errors import SpoolUnreadableError

NAMESPACE_NAME = "id_namespace"
_UUID_BYTES = 16
_UUID_VERSION = 4


def prepare_directory(directory: Path) -> None:
    """Make the directory, for its owner and group only.

    Raises:
        SpoolUnreadableError: It can't be made or written; the message names the path, the reason and the fix.
    """
    try:
        directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        is_writable = os.access(directory, os.W_OK | os.X_OK)
    except OSError as exc:
        raise SpoolUnreadableError(
            f"the spool directory {directory} can't be made: {exc.strerror}; make it for the user that runs spoold, "
            "or name another (spool.url, SPOOL_URL)"
        ) from exc
    if not is_writable:
        raise SpoolUnreadableError(
            f"the spool directory {directory} can't be written by user id {os.geteuid()}: "
            "give it to the user that runs spoold, or name another (spool.url, SPOOL_URL)"
        )


def load_namespace(directory: Path, entropy: Entropy) -> UUID:
    """The namespace under which callers' ids become UUIDs: made at the first start, kept outside ``spool.db``.

    It must outlive the database: a caller that repeats an old id after a quarantine must get the same UUID, or the
    providers would count the event twice.

    Raises:
        SpoolUnreadableError: The file holds no UUID.
    """
    path = directory / NAMESPACE_NAME
    try:
        text = path.read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        return _make_namespace(path, entropy)
    try:
        return UUID(text)
    except ValueError:
        raise SpoolUnreadableError(
            f"{path} does not hold a UUID: put the old one back from a backup, or set ingest.id_namespace"
        ) from None


def _make_namespace(path: Path, entropy: Entropy) -> UUID:
    namespace = UUID(bytes=entropy.random_bytes(_UUID_BYTES), version=_UUID_VERSION)
    fresh = path.with_suffix(".new")
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
    try:
        os.write(fd, f"{namespace}\n".encode())
        os.fsync(fd)
    finally:
        os.close(fd)
    fresh.rename(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return namespace
