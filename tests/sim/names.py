"""Directory entries on the simulated disk: what each surely points to, and what has become of it since."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

_T = TypeVar("_T")


@dataclass(slots=True)
class _Entry(Generic[_T]):
    durable: _T | None
    changes: list[_T | None] = field(default_factory=list)

    @property
    def current(self) -> _T | None:
        return self.changes[-1] if self.changes else self.durable


class Names(Generic[_T]):
    """The entries of all folders below a directory, by relative path; ``_T`` is what a file is to the disk.

    An entry is durable when its folder was synced. Until then it may be as it was, as it is, or as it was in between. A
    folder that was renamed has its old or its new name, and one that was made is there or not, with all that is in it.
    """

    def __init__(self) -> None:
        self._entries: dict[str, _Entry[_T]] = {}
        self._made: set[str] = set()
        self._moves: list[tuple[str, str]] = []

    def __contains__(self, relative: str) -> bool:
        return relative in self._entries

    def found(self, relative: str, file: _T) -> None:
        """An entry was there before anybody looked."""
        self._entries.setdefault(relative, _Entry(file))

    def put(self, relative: str, file: _T | None) -> None:
        """An entry points to a file from now on, or is gone."""
        self._entries.setdefault(relative, _Entry(None)).changes.append(file)

    def make_folder(self, relative: str) -> None:
        """A folder was made."""
        self._made.add(relative)

    def move_folder(self, old: str, new: str) -> None:
        """A folder was renamed."""
        self._entries = {_renamed(name, old, new): entry for name, entry in self._entries.items()}
        self._made = {_renamed(name, old, new) for name in self._made}
        self._moves.append((old, new))

    def sync(self, folder: str) -> None:
        """A folder's entries are durable, those of the folders in it too; what is in these is not."""
        for relative, entry in list(self._entries.items()):
            if parent_of(relative) == folder:
                entry.durable, entry.changes = entry.current, []
                if entry.durable is None:
                    del self._entries[relative]
        self._made = {name for name in self._made if parent_of(name) != folder}
        self._moves = [move for move in self._moves if parent_of(move[1]) != folder]

    def survivors(self, present: Mapping[str, _T | None], rng: random.Random) -> Iterator[tuple[str, str, _T | None]]:
        """What may be left when the power goes: where it is now, where it is then, and the file.

        Args:
            present: The entries that there are, with their files; None where the disk does not follow the file.
        """
        undone = [move for move in self._moves if rng.random() < 0.5]
        lost = [name for name in sorted(self._made) if rng.random() < 0.5]
        for relative in sorted(present.keys() | self._entries.keys()):
            file, entry = present.get(relative), self._entries.get(relative)
            # Either the entry is as the program left it, or someone else has replaced the file since.
            if entry is not None and file is entry.current and (file is None) == (relative not in present):
                file = rng.choice([entry.durable, entry.current, *entry.changes])
                if file is None:
                    continue
            elif relative not in present:
                continue
            if any(is_below(relative, folder) for folder in lost):
                continue
            then = relative
            for old, new in reversed(undone):
                then = _renamed(then, new, old)
            yield relative, then, file


def parent_of(relative: str) -> str:
    """The folder of an entry; empty for the directory itself."""
    return relative.rpartition("/")[0]


def is_below(relative: str, folder: str) -> bool:
    """Whether an entry is in a folder, or in one below it."""
    return relative.startswith(f"{folder}/")


def _renamed(relative: str, old: str, new: str) -> str:
    if relative == old or is_below(relative, old):
        return new + relative[len(old) :]
    return relative
