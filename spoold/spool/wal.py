"""SQLite's write-ahead log, read without SQLite: which frames are whole, and what a damaged one hides.

The format: sqlite.org/fileformat2.html, section 4. A frame's checksum goes on from that of the one before, so SQLite
ends the log at the first frame that is damaged, in silence. But each frame *stores* its checksum, and the next one can
be held against that: what lies behind the damage is found.
"""

import os
import sys
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PAGE_BYTES = 4096
FRAME_HEADER_BYTES = 24
FRAME_BYTES = FRAME_HEADER_BYTES + PAGE_BYTES
LOG_HEADER_BYTES = 32
#: The last bit says in which byte order the checksums were made.
_MAGIC = 0x377F0682
_WORD = 0xFFFFFFFF
#: The first eight bytes of a frame's header are checked; salts and checksums are not.
_CHECKED_BYTES = 8


class Frame(NamedTuple):
    """One frame that carries the salts of the log's present generation.

    Attributes:
        number: From 1.
        page: Which page of the database it holds.
        is_commit: The last one of its transaction.
        is_whole: Its checksum goes on from the frame before.
    """

    number: int
    page: int
    is_commit: bool
    is_whole: bool

    @property
    def page_offset(self) -> int:
        """Where the page begins in the file."""
        return LOG_HEADER_BYTES + (self.number - 1) * FRAME_BYTES + FRAME_HEADER_BYTES


class Overlay(NamedTuple):
    """What a log puts over its database.

    Attributes:
        offsets: Page → where its newest whole, committed content begins in the log's file.
        damaged: Frames before the last whole commit that are damaged.
    """

    offsets: dict[int, int]
    damaged: int


def read_overlay(log: Path) -> Overlay:
    """The pages of a log, each in its newest whole, committed form; nothing where there is no log.

    Behind a damaged frame nothing is taken before a transaction's end is followed by a frame that continues its
    checksum: what a torn transaction left behind in the file must not come over what was written since.
    """
    offsets: dict[int, int] = {}
    group: dict[int, int] = {}
    damaged = in_doubt = last = 0
    end: int | None = None
    for frame in read_frames(log):
        missed = frame.number - last - 1 + (not frame.is_whole)
        if in_doubt and not missed and end == last:
            offsets.update(group)
            group, damaged, in_doubt = {}, damaged + in_doubt, 0
        last = frame.number
        in_doubt += missed
        if frame.is_whole:
            group[frame.page] = frame.page_offset
        if frame.is_commit:
            end = frame.number
            if not in_doubt:
                offsets.update(group)
                group = {}
    return Overlay(offsets, damaged)


def hides_commits(log: Path, frames: int) -> bool:
    """Whether the log goes on behind the ``frames`` that SQLite takes from it: a frame in its midst was damaged.

    What a power cut tears is the last transaction alone: those before it were synced. So a torn transaction whose
    end is followed by a frame that continues its checksum is damage. What an older, longer torn end left behind does
    not continue the checksum of what was written over it since.
    """
    end: Frame | None = None
    for frame in read_frames(log, start=frames + 1):
        if end is not None and frame.number == end.number + 1 and frame.is_whole:
            return True
        end = frame if frame.is_commit else None
    return False


def read_frames(log: Path, *, start: int = 1) -> Iterator[Frame]:
    """The frames of the log's present generation from the ``start``-th on, in order, whole or not.

    Where the log's header is damaged, the first frame's salts say which generation that is.
    """
    try:
        fd = os.open(log, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        yield from _frames_of(fd, start)
    finally:
        os.close(fd)


def _frames_of(fd: int, start: int) -> Iterator[Frame]:
    header = os.pread(fd, LOG_HEADER_BYTES, 0)
    is_sound = len(header) == LOG_HEADER_BYTES and int.from_bytes(header[:4]) & ~1 == _MAGIC
    is_swapped = is_sound and bool(header[3] & 1) == (sys.byteorder == "little")
    is_sound = is_sound and _checksum(header[:24], b"\0" * 8, is_swapped=is_swapped) == header[24:]
    before = os.pread(fd, FRAME_HEADER_BYTES, _offset(start - 1)) if start > 1 else header
    salts = header[16:24] if is_sound else os.pread(fd, FRAME_HEADER_BYTES, _offset(1))[8:16]
    number = start
    while len(frame := os.pread(fd, FRAME_BYTES, _offset(number))) == FRAME_BYTES:
        if frame[8:16] == salts:
            # The checksum to go on from stands in the last eight bytes of either header.
            actual = _checksum(frame[:_CHECKED_BYTES] + frame[FRAME_HEADER_BYTES:], before[-8:], is_swapped=is_swapped)
            page, size = int.from_bytes(frame[:4]), int.from_bytes(frame[4:8])
            yield Frame(number, page, size > 0, actual == frame[16:FRAME_HEADER_BYTES])
        before = frame[:FRAME_HEADER_BYTES]
        number += 1


def _offset(number: int) -> int:
    return LOG_HEADER_BYTES + (number - 1) * FRAME_BYTES


def _checksum(data: bytes, seed: bytes, *, is_swapped: bool) -> bytes:
    words = array("I", data)
    if is_swapped:
        words.byteswap()
    first, second = int.from_bytes(seed[:4]), int.from_bytes(seed[4:])
    pairs = iter(words)
    for one in pairs:
        first = (first + one + second) & _WORD
        second = (second + next(pairs) + first) & _WORD
    return first.to_bytes(4) + second.to_bytes(4)
