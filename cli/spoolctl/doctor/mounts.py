"""On what a directory lies: the file system, and the device below it, as the kernel tells."""

import re
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

#: How the kernel names disks that may have platters.
_PHYSICAL = ("sd", "hd")


class Mount(NamedTuple):
    """A mounted file system.

    Attributes:
        point: Where.
        kind: Its type, such as ``ext4``.
        options: Those of the mount and of the file system.
        source: Of what.
        device: ``major:minor``.
    """

    point: Path
    kind: str
    options: frozenset[str]
    source: str
    device: str


class Device(NamedTuple):
    """A disk, by what the kernel says of it.

    Attributes:
        is_platter: A spinning disk with a write cache, and no virtual one: those say so too, whatever is below them.
        is_virtual: This machine is one.
    """

    name: str
    is_platter: bool
    is_virtual: bool


def find_mount(directory: Path, table: str) -> Mount | None:
    """The mount that ``directory`` lies on, by ``/proc/self/mountinfo``'s text; None where that does not say."""
    path = directory.resolve()
    # Of two on one place, the later hides the earlier.
    mounts = [mount for mount in map(_read_line, table.splitlines()) if mount and path.is_relative_to(mount.point)]
    return max(reversed(mounts), key=lambda mount: len(mount.point.parts), default=None)


def read_mount(directory: Path) -> Mount | None:
    """The mount that an existing directory lies on."""
    with suppress(OSError):
        return find_mount(directory, Path("/proc/self/mountinfo").read_text())
    return None


def read_device(mount: Mount) -> Device:
    """What the kernel knows of the disk below a mount."""
    link = Path("/sys/dev/block", mount.device)
    # A partition has no queue of its own.
    queues = [folder / "queue" for folder in (link, link.resolve().parent)]
    queue = next((folder for folder in queues if folder.is_dir()), queues[0])
    name = Path(mount.source).name
    is_virtual = " hypervisor " in f"{_read(Path('/proc/cpuinfo'))} ".replace("\n", " ")
    is_spinning = (_read(queue / "rotational"), _read(queue / "write_cache")) == ("1", "write back")
    return Device(name, is_spinning and not is_virtual and name.startswith(_PHYSICAL), is_virtual)


def existing(path: Path) -> Path:
    """``path``, or the nearest folder above it that is there."""
    return next(folder for folder in (path, *path.absolute().parents) if folder.is_dir() or folder.parent == folder)


def is_same_file_system(one: Path, other: Path) -> bool:
    """Whether two existing paths lie on one."""
    return one.stat().st_dev == other.stat().st_dev


def _read_line(line: str) -> Mount | None:
    """A line of mountinfo (man 5 proc): ``id parent major:minor root point options … - type source super-options``."""
    before, _, after = line.partition(" - ")
    fields, rest = before.split(" "), after.split(" ")
    if len(fields) < 6 or len(rest) < 3:  # noqa: PLR2004 - as many as are used
        return None
    point = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), fields[4])
    options = frozenset(fields[5].split(",")) | frozenset(rest[2].split(","))
    return Mount(Path(point), rest[0], options, rest[1], fields[2])


def _read(file: Path) -> str:
    with suppress(OSError):
        return file.read_text().strip()
    return ""
