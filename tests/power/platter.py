"""A file system as the disk knows it: what is surely there, and what a power cut may take back.

Stricter than ext4, as POSIX allows: a file's name is there when its directory was synced, its content when it was
synced itself, and neither helps the other.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.power.survivors import keep_some
from tests.sim.inode import Change, apply_changes

#: The directory that everything is below.
ROOT = 0
#: Names of a directory that change together, and what they stand for then; None: for nothing.
Entries = Mapping[str, int | None]


@dataclass(frozen=True, slots=True)
class Made:
    """A file or a directory that no name stands for yet."""

    node: int
    is_directory: bool


@dataclass(frozen=True, slots=True)
class Named:
    """Names that came, went, or moved; all of them at once."""

    directory: int
    entries: Entries


@dataclass(frozen=True, slots=True)
class Written:
    """Bytes at an offset, or a new size and None."""

    file: int
    change: Change


@dataclass(frozen=True, slots=True)
class Synced:
    """A file or a directory."""

    node: int


Operation = Made | Named | Written | Synced


@dataclass(slots=True)
class _File:
    durable: bytearray = field(default_factory=bytearray)
    pending: list[Change] = field(default_factory=list)


@dataclass(slots=True)
class _Directory:
    durable: dict[str, int] = field(default_factory=dict)
    pending: list[Entries] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Image:
    """What is found when the power is back.

    Attributes:
        directories: Paths, parents first, and the node that each stands for.
        files: Likewise; two names may stand for one file.
        contents: By file.
    """

    directories: Mapping[str, int] = field(default_factory=dict)
    files: Mapping[str, int] = field(default_factory=dict)
    contents: Mapping[int, bytes] = field(default_factory=dict)

    def content(self, path: str) -> bytes | None:
        """What is under a path, or None."""
        return self.contents[self.files[path]] if path in self.files else None

    def write(self, into: Path) -> None:
        """Lay it out in a directory that is empty."""
        for path in self.directories:
            (into / path).mkdir()
        first: dict[int, Path] = {}
        for path, node in self.files.items():
            if node in first:
                (into / path).hardlink_to(first[node])
                continue
            first[node] = into / path
            (into / path).write_bytes(self.contents[node])


class Platter:
    """Follows operations one by one, and can be cut at any moment."""

    def __init__(self, image: Image) -> None:
        self._files = {node: _File(bytearray(content)) for node, content in image.contents.items()}
        self._directories = {node: _Directory() for node in (ROOT, *image.directories.values())}
        for path, node in (*image.directories.items(), *image.files.items()):
            parent, _, name = path.rpartition("/")
            self._directories[image.directories[parent] if parent else ROOT].durable[name] = node

    def apply(self, operation: Operation) -> None:
        """The next operation happened."""
        match operation:
            case Made(node, is_directory):
                if is_directory:
                    self._directories[node] = _Directory()
                else:
                    self._files[node] = _File()
            case Named(directory, entries):
                self._directories[directory].pending.append(entries)
            case Written(file, change):
                self._files[file].pending.append(change)
            case Synced(node):
                self._sync(node)

    def sync(self) -> None:
        """Everything reached the disk: an end in order."""
        for node in (*self._files, *self._directories):
            self._sync(node)

    @property
    def is_clean(self) -> bool:
        """Whether a power cut can change nothing."""
        return not any(file.pending for file in self._files.values()) and not any(
            directory.pending for directory in self._directories.values()
        )

    def cut(self, rng: random.Random) -> Image:
        """What a disk may hold had the power gone now."""
        directories: dict[str, int] = {}
        files: dict[str, int] = {}
        for path, node in self._walk(ROOT, "", rng):
            (directories if node in self._directories else files)[path] = node
        contents = {node: self._content(self._files[node], rng) for node in dict.fromkeys(files.values())}
        return Image(directories, files, contents)

    def _walk(self, directory: int, prefix: str, rng: random.Random) -> Iterator[tuple[str, int]]:
        place = self._directories[directory]
        entries: dict[str, int | None] = dict(place.durable)
        # A journal keeps the order of names; without one any of them may be missing.
        upto = rng.randint(0, len(place.pending)) if rng.random() < 0.5 else None
        for number, changes in enumerate(place.pending):
            if number < upto if upto is not None else rng.random() < 0.5:
                entries |= changes
        for name, node in sorted(entries.items()):
            if node is not None:
                yield prefix + name, node
                if node in self._directories:
                    yield from self._walk(node, f"{prefix}{name}/", rng)

    @staticmethod
    def _content(file: _File, rng: random.Random) -> bytes:
        if not file.pending:
            return bytes(file.durable)
        content = bytearray(file.durable)
        keep_some(content, file.pending, rng)
        return bytes(content)

    def _sync(self, node: int) -> None:
        if node in self._files:
            file = self._files[node]
            apply_changes(file.durable, file.pending)
            file.pending = []
            return
        place = self._directories[node]
        for changes in place.pending:
            for name, target in changes.items():
                place.durable.pop(name, None)
                if target is not None:
                    place.durable[name] = target
        place.pending = []
