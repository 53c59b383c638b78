"""A spool's files read page by page, without SQLite and however damaged: what is left of the rows.

The format: sqlite.org/fileformat2.html. SQLite gives up a whole table for one broken page; here each page, and each row
on it, is looked at by itself. Nothing read here is to be believed as such: a record's checksum, or numbers that agree
with others, must speak for it.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from struct import Struct
from typing import NamedTuple, Self, TypeAlias

from spoold.spool.journal import DATABASE_NAME
from spoold.spool.wal import PAGE_BYTES, read_overlay

Value: TypeAlias = int | float | str | bytes | None

_HEADER_BYTES = 100
#: The kinds of b-tree pages, by their first byte.
TABLE_LEAF, INDEX_LEAF = 0x0D, 0x0A
_TABLE_INTERIOR, _INDEX_INTERIOR = 0x05, 0x02
_HAS_CHILD = (_TABLE_INTERIOR, _INDEX_INTERIOR)
_HEADER_SIZES = {TABLE_LEAF: 8, INDEX_LEAF: 8, _TABLE_INTERIOR: 12, _INDEX_INTERIOR: 12}
#: How much of a row stands on its page: section 1.6, for pages of 4 096 bytes.
_MIN_LOCAL = (PAGE_BYTES - 12) * 32 // 255 - 23
_MAX_LOCAL_TABLE = PAGE_BYTES - 35
_MAX_LOCAL_INDEX = (PAGE_BYTES - 12) * 64 // 255 - 23
#: The shortest row, and where it begins, take so much of a page.
_MAX_ROWS = (PAGE_BYTES - 8) // 6
#: No row of ours is nearly as large; a damaged length must not become a damaged memory.
_MAX_ROW_BYTES = 64 << 20
#: A pointer map's page tells of so many pages behind it, and what they are: section 1.8.
_POINTERS = PAGE_BYTES // 5
ROOT_PAGE, FREE_PAGE, TREE_PAGE = 1, 2, 5
#: The page that holds the byte at 1 GiB is never used: section 1.5.
_LOCK_PAGE = (1 << 30) // PAGE_BYTES + 1
_INTEGER_BYTES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
_REAL, _ZERO, _ONE, _FIRST_BLOB = 7, 8, 9, 12
_VARINT_BYTES = 9
_unpack_real = Struct(">d").unpack


class PageDamagedError(Exception):
    """A page, or a row on it, is not what it should be."""


class Row(NamedTuple):
    """One row. ``rowid`` is None where the table has none."""

    rowid: int | None
    values: tuple[Value, ...]


class Pages:
    """A database with its log over it. Reads only, and never through SQLite. Belongs to one thread."""

    def __init__(self, directory: Path, *, with_log: bool = True) -> None:
        """Open both; each may be missing.

        Args:
            with_log: Without it, the database is read as the last checkpoint left it.

        Raises:
            OSError: They are there and can't be read.
        """
        self._files: list[int] = []
        database = directory / DATABASE_NAME
        log = database.with_name(f"{DATABASE_NAME}-wal")
        self.damaged_frames = 0
        self._offsets: dict[int, int] = {}
        self._database = self._open(database)
        self._log: int | None = None
        if with_log:
            self._offsets, self.damaged_frames = read_overlay(log)
            self._log = self._open(log)
        sizes = [os.fstat(fd).st_size for fd in self._files]
        #: Size of the files; None when there is none.
        self.bytes = sum(sizes) if sizes else None
        pages = 0 if self._database is None else -(-sizes[0] // PAGE_BYTES)
        self.count = max(pages, max(self._offsets, default=0))

    def _open(self, file: Path) -> int | None:
        try:
            fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        self._files.append(fd)
        return fd

    def close(self) -> None:
        """Close the files. Idempotent."""
        while self._files:
            os.close(self._files.pop())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def read(self, number: int) -> bytes:
        """A page, from 1; zeros where the files end before it."""
        offset = self._offsets.get(number)
        if offset is not None and self._log is not None:
            data = os.pread(self._log, PAGE_BYTES, offset)
        elif self._database is not None and 0 < number <= self.count:
            data = os.pread(self._database, PAGE_BYTES, (number - 1) * PAGE_BYTES)
        else:
            data = b""
        return data.ljust(PAGE_BYTES, b"\0")

    def told_kind(self, number: int) -> int:
        """What the pointer map says that a page is; 0 where it says nothing. Deleted rows still stand on free pages."""
        map_page = (number - 2) // (_POINTERS + 1) * (_POINTERS + 1) + 2
        map_page += map_page == _LOCK_PAGE
        if not number > map_page > 1:
            return 0
        entry = self.read(map_page)[5 * (number - map_page - 1) :][:5]
        # What is free hangs on nothing. A map that is damaged must not hide what stands on a page.
        return 0 if entry[0] == FREE_PAGE and any(entry[1:]) else entry[0]

    def row_count(self, number: int) -> int:
        """How many rows a leaf says that it has."""
        # A damaged count must not hide the rows that are there.
        return min(int.from_bytes(self.read(number)[3:5]), _MAX_ROWS)

    def rows_on(self, number: int) -> Iterator[Row | None]:
        """The rows on a page as if it were a leaf of a table, or of an index; None for each that can't be read."""
        page = self.read(number)
        kind = INDEX_LEAF if page[0] == INDEX_LEAF else TABLE_LEAF
        for at in range(8, 8 + 2 * self.row_count(number), 2):
            try:
                yield self._row(page, int.from_bytes(page[at : at + 2]), kind)
            except PageDamagedError:
                yield None

    def tables(self) -> dict[str, int]:
        """Each table's first page.

        Raises:
            PageDamagedError: The list of tables can't be read as a whole.
        """
        rows = (row.values for row in self.walk(1))
        return {
            str(values[1]): values[3]
            for values in rows
            if len(values) == 5 and values[0] == "table" and isinstance(values[3], int)  # noqa: PLR2004 - a format
        }

    def walk(self, root: int) -> Iterator[Row]:
        """All rows of a table, whose first page is ``root``.

        Raises:
            PageDamagedError: Something on the way can't be read. What came before is part of the table.
        """
        seen: set[int] = set()
        waiting = [root]
        while waiting:
            number = waiting.pop()
            if number in seen or not 0 < number <= self.count:
                raise PageDamagedError(f"page {number} can't be where it is said to be")
            seen.add(number)
            page = self.read(number)
            first = _HEADER_BYTES if number == 1 else 0
            kind = page[first]
            cells = _cells(page, first)
            if kind != _TABLE_INTERIOR:
                yield from (self._row(page, start, kind) for start in cells)
            if kind in _HAS_CHILD:
                children = [int.from_bytes(page[start : start + 4]) for start in cells]
                waiting += [int.from_bytes(page[first + 8 : first + 12]), *reversed(children)]

    def last_rowid(self, root: int) -> int:
        """The highest rowid of a table. Raises PageDamagedError likewise."""
        number = root
        for _ in range(20):
            page = self.read(number)
            first = _HEADER_BYTES if number == 1 else 0
            if page[first] == TABLE_LEAF:
                cells = _cells(page, first)
                return _varint(page, _varint(page, cells[-1])[1])[0] if cells else 0
            if page[first] != _TABLE_INTERIOR:
                break
            number = int.from_bytes(page[first + 8 : first + 12])
        raise PageDamagedError(f"page {number} is not a table's")

    def _row(self, page: bytes, start: int, kind: int) -> Row:
        try:
            at = start + 4 if kind == _INDEX_INTERIOR else start
            size, at = _varint(page, at)
            rowid: int | None = None
            if kind == TABLE_LEAF:
                rowid, at = _varint(page, at)
                rowid = _signed(rowid)
            return Row(rowid, _values(self._payload(page, at, size, kind)))
        except (IndexError, ValueError, KeyError, UnicodeDecodeError) as exc:
            raise PageDamagedError(f"a row can't be read: {exc}") from exc

    def _payload(self, page: bytes, at: int, size: int, kind: int) -> bytes:
        if size > _MAX_ROW_BYTES:
            raise PageDamagedError(f"a row can't have {size} bytes")
        most = _MAX_LOCAL_TABLE if kind == TABLE_LEAF else _MAX_LOCAL_INDEX
        if size <= most:
            return _exactly(page[at : at + size], size)
        local = _MIN_LOCAL + (size - _MIN_LOCAL) % (PAGE_BYTES - 4)
        local = local if local <= most else _MIN_LOCAL
        parts = [_exactly(page[at : at + local], local)]
        number = int.from_bytes(page[at + local : at + local + 4])
        left = size - local
        while left > 0:
            if not 0 < number <= self.count:
                raise PageDamagedError(f"a row can't go on at page {number}")
            further = self.read(number)
            parts.append(further[4 : 4 + left])
            left -= PAGE_BYTES - 4
            number = int.from_bytes(further[:4])
        return b"".join(parts)


def _cells(page: bytes, first: int) -> list[int]:
    """Where a page's cells begin, in order."""
    size = _HEADER_SIZES.get(page[first])
    if size is None:
        raise PageDamagedError(f"a page can't be of kind {page[first]}")
    count = int.from_bytes(page[first + 3 : first + 5])
    start = first + size
    if start + 2 * count > PAGE_BYTES:
        raise PageDamagedError(f"a page can't have {count} rows")
    return [int.from_bytes(page[at : at + 2]) for at in range(start, start + 2 * count, 2)]


def _values(payload: bytes) -> tuple[Value, ...]:
    end, at = _varint(payload, 0)
    kinds = []
    while at < end:
        kind, at = _varint(payload, at)
        kinds.append(kind)
    values = []
    for kind in kinds:
        size = _size(kind)
        values.append(_value(kind, _exactly(payload[end : end + size], size)))
        end += size
    return tuple(values)


def _size(kind: int) -> int:
    if kind >= _FIRST_BLOB:
        return (kind - _FIRST_BLOB) // 2
    if kind == _REAL:
        return 8
    return 0 if kind in (0, _ZERO, _ONE) else _INTEGER_BYTES[kind]


def _value(kind: int, data: bytes) -> Value:
    if kind >= _FIRST_BLOB:
        return data.decode() if kind % 2 else data
    if kind == 0:
        return None
    if kind == _REAL:
        real: float = _unpack_real(data)[0]
        return real
    return kind - _ZERO if kind in (_ZERO, _ONE) else int.from_bytes(data, signed=True)


def _exactly(data: bytes, size: int) -> bytes:
    if len(data) != size:
        raise PageDamagedError(f"a row can't end after {len(data)} of {size} bytes")
    return data


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number in one to nine bytes, and where it ends: section 1.6."""
    value = 0
    for index in range(at, at + _VARINT_BYTES - 1):
        byte = data[index]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:  # noqa: PLR2004 - the mark that another byte follows
            return value, index + 1
    return value << 8 | data[at + _VARINT_BYTES - 1], at + _VARINT_BYTES


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value
