"""Writes down, in one order, whatever a program does to the files below a directory.

SQLite's doings come from the simulator's VFS (`tests.sim.vfs`), those that the program does by itself from
`tests.sim.notice`. For one thread. What is written through `open()` is not seen.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Self

from tests.power.platter import ROOT, Image, Made, Named, Operation, Synced, Written
from tests.sim.vfs import OK, shim

#: Of these files SQLite's unix VFS syncs the directory too, with their first sync: WAL, main and super-journal.
_OPEN_CREATE, _OPEN_WITH_DIRECTORY_SYNC = 0x04, 0x80000 | 0x800 | 0x4000


class Tape:
    """Records while the context lasts.

    Attributes:
        directory: Where the program's files are; it must hold what ``image`` says, or nothing where that is empty.
        operations: What was done so far. Their number is the time.
    """

    def __init__(self, directory: Path, image: Image, seed: int) -> None:
        self.directory = Path(os.path.realpath(directory))
        self.operations: list[Operation] = []
        self._seed = seed
        self._error: BaseException | None = None
        self._names: dict[int, dict[str, int]] = {ROOT: {}}
        for path, node in (*image.directories.items(), *image.files.items()):
            if path in image.directories:
                self._names[node] = {}
            parent, name = self._place(self.directory / path)
            self._names[parent][name] = node
        self._next = max((ROOT, *image.directories.values(), *image.files.values())) + 1

    @property
    def now(self) -> int:
        """How many operations there were."""
        return len(self.operations)

    def __enter__(self) -> Self:
        shim().activate(self, self._seed)
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        shim().release(self)
        if error is None and self._error is not None:
            raise self._error

    def opened(self, path: Path, flags: int, *, created: bool) -> "_OpenFile":
        """SQLite has opened a file."""
        if created:
            self._make(path)
        node = self._node(path)
        if node is None:
            raise AssertionError(f"{path} was made behind the tape's back")
        sync_directory = bool(flags & _OPEN_CREATE and flags & _OPEN_WITH_DIRECTORY_SYNC)
        return _OpenFile(self, node, self._place(path)[0] if sync_directory else None)

    def delete(self, path: Path, original: Callable[[], int], *, sync_directory: bool) -> int:
        """SQLite deletes a file."""
        result = original()
        if result == OK and self._node(path) is not None:
            self._point(path, None)
            if sync_directory:
                self.note(Synced(self._place(path)[0]))
        return result

    def synced(self, path: Path) -> None:
        """The program syncs a file or a directory."""
        node = self._node(path)
        if node is not None:
            self.note(Synced(node))

    def wrote(self, path: Path, offset: int, data: bytes) -> None:
        """The program writes to a file, at an offset."""
        node = self._node(path)
        if node is not None:
            self.note(Written(node, (offset, data)))

    def record(self, error: BaseException) -> None:
        """See ``Recorder``."""
        self._error = self._error or error

    def note(self, operation: Operation) -> None:
        """It happened."""
        self.operations.append(operation)

    def made(self, path: Path, flags: int) -> None:
        """The program made a file, or emptied it."""
        del flags
        node = self._node(path)
        if node is None:
            self._make(path)
        else:
            self.note(Written(node, (0, None)))

    def made_folder(self, path: Path) -> None:
        """The program makes a directory."""
        self._make(path, is_directory=True)

    def linked(self, path: Path, target: Path) -> None:
        """The program gives a file a second name."""
        self._point(target, self._node(path))

    def renamed(self, path: Path, target: Path) -> None:
        """The program gives something another name."""
        (directory, old), (other, new) = self._place(path), self._place(target)
        if directory != other:
            raise AssertionError(f"a rename from one directory to another is two operations here: {path}, {target}")
        node = self._names[directory].pop(old)
        self._names[directory][new] = node
        self.note(Named(directory, {old: None, new: node}))

    def unlinked(self, path: Path) -> None:
        """The program takes a name away."""
        if self._node(path) is not None:
            self._point(path, None)

    def _make(self, path: Path, *, is_directory: bool = False) -> None:
        node, self._next = self._next, self._next + 1
        if is_directory:
            self._names[node] = {}
        self.note(Made(node, is_directory))
        self._point(path, node)

    def _point(self, path: Path, node: int | None) -> None:
        directory, name = self._place(path)
        if node is None:
            del self._names[directory][name]
        else:
            self._names[directory][name] = node
        self.note(Named(directory, {name: node}))

    def _place(self, path: Path) -> tuple[int, str]:
        """The directory's node, and the name in it."""
        *parents, name = path.relative_to(self.directory).parts
        node = ROOT
        for parent in parents:
            node = self._names[node][parent]
        return node, name

    def _node(self, path: Path) -> int | None:
        if path == self.directory:
            return ROOT
        directory, name = self._place(path)
        return self._names[directory].get(name)


class _OpenFile:
    """One connection's file."""

    def __init__(self, tape: Tape, node: int, new_in: int | None) -> None:
        self._tape = tape
        self._node = node
        self._new_in = new_in

    def write(self, offset: int, data: bytes) -> tuple[int, int]:
        self._tape.note(Written(self._node, (offset, data)))
        return len(data), OK

    def truncate(self, size: int) -> int:
        self._tape.note(Written(self._node, (size, None)))
        return OK

    def sync(self) -> int:
        self._tape.note(Synced(self._node))
        if self._new_in is not None:
            self._tape.note(Synced(self._new_in))
            self._new_in = None
        return OK
