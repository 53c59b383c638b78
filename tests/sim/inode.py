"""A file on the simulated disk: what its last sync made durable, and each write since."""

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

SECTOR_BYTES = 512

#: What a write is to the model: an offset and the bytes, or a new size and None for a truncation.
Change = tuple[int, bytes | None]


@dataclass(slots=True)
class Inode:
    """A file's content: what is surely on the platter, and what is only in the page cache."""

    durable: bytearray = field(default_factory=bytearray)
    pending: list[Change] = field(default_factory=list)
    size: int = 0

    def __post_init__(self) -> None:
        self.size = len(self.durable)

    def change(self, change: Change) -> None:
        """A write or a truncation."""
        offset, data = change
        self.size = offset if data is None else max(self.size, offset + len(data))
        self.pending.append(change)

    def spoil(self, offset: int, data: bytes) -> None:
        """Damage, in the cache and on the platter. What was not synced counts as stored by then."""
        apply_changes(self.durable, [*self.pending, (offset, data)])
        self.pending = []

    def flush(self, survivors: Iterable[Change]) -> None:
        """Store these of the pending writes, and forget the others."""
        apply_changes(self.durable, survivors)
        self.pending = []

    def image(self, rng: random.Random) -> bytes:
        """What the platter may hold."""
        content = bytearray(self.durable)
        apply_changes(content, survivors(self.pending, rng))
        return bytes(content)


def survivors(pending: list[Change], rng: random.Random) -> Iterator[Change]:
    """Draw which writes reach the platter without a sync. The page cache goes to disk in any order, in sectors."""
    mode = rng.choice(("none", "all", "prefix", "subset"))
    prefix = rng.randint(0, len(pending)) if mode == "prefix" else len(pending)
    if mode != "none":
        for change in pending[:prefix]:
            fate = "whole" if mode != "subset" else rng.choice(("whole", "whole", "torn", "lost", "lost"))
            if fate == "whole":
                yield change
            elif fate == "torn":
                yield from _torn(change, rng)
        if prefix < len(pending):
            yield from _torn(pending[prefix], rng)


def _torn(change: Change, rng: random.Random) -> Iterator[Change]:
    """Draw which sectors of a write are stored. Sectors are the disk's, so they start at multiples in the file."""
    start, data = change
    if data is None:
        return
    offset, end = start, start + len(data)
    while offset < end:
        following = min(end, (offset // SECTOR_BYTES + 1) * SECTOR_BYTES)
        if rng.random() < 0.5:
            yield offset, data[offset - start : following - start]
        offset = following


def apply_changes(content: bytearray, changes: Iterable[Change]) -> None:
    """Apply changes in their order; what a file grows over without a write is zeros."""
    for offset, data in changes:
        if offset > len(content):
            content.extend(bytes(offset - len(content)))
        if data is None:
            del content[offset:]
        else:
            content[offset : offset + len(data)] = data
