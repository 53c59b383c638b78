"""Where the rows of a table stand in a database, so that one can say which of them a damage touched.

The format: sqlite.org/fileformat2.html. Written for a database that is whole, and apart from the program's own reading
of damaged ones.
"""

from collections.abc import Iterator

PAGE_BYTES = 4096
_INTERIOR, _LEAF = 0x05, 0x0D
_HEADER_BYTES = 100
_MAX_LOCAL = PAGE_BYTES - 35
_MIN_LOCAL = (PAGE_BYTES - 12) * 32 // 255 - 23
_OVERFLOW_BYTES = PAGE_BYTES - 4
_VARINT_BYTES = 9


def row_pages(image: bytes, root: int) -> dict[int, frozenset[int]]:
    """For each row of a table: its own pages, which are its leaf and those that it spills over to."""
    return {rowid: frozenset(pages) for rowid, pages in _rows_below(image, root)}


def tree_pages(image: bytes, root: int) -> set[int]:
    """All pages of a table with rowids."""
    pages = {root}
    if _page(image, root)[_start(root)] == _INTERIOR:
        for child in _children(image, root):
            pages |= tree_pages(image, child)
        return pages
    return pages.union(*(own for _, own in _rows_below(image, root)))


def _rows_below(image: bytes, number: int) -> Iterator[tuple[int, set[int]]]:
    page = _page(image, number)
    if page[_start(number)] == _INTERIOR:
        for child in _children(image, number):
            yield from _rows_below(image, child)
        return
    for cell in _cells(page, number):
        size, at = _varint(page, cell)
        rowid, at = _varint(page, at)
        pages = {number}
        local = _local_bytes(size)
        if local < size:
            following = int.from_bytes(page[at + local : at + local + 4])
            for _ in range(-(-(size - local) // _OVERFLOW_BYTES)):
                pages.add(following)
                following = int.from_bytes(_page(image, following)[:4])
        yield rowid, pages


def _children(image: bytes, number: int) -> Iterator[int]:
    page, start = _page(image, number), _start(number)
    for at in _cells(page, number):
        yield int.from_bytes(page[at : at + 4])
    yield int.from_bytes(page[start + 8 : start + 12])


def _cells(page: bytes, number: int) -> Iterator[int]:
    start = _start(number)
    first = start + (12 if page[start] == _INTERIOR else 8)
    for index in range(int.from_bytes(page[start + 3 : start + 5])):
        at = first + 2 * index
        yield int.from_bytes(page[at : at + 2])


def _local_bytes(size: int) -> int:
    if size <= _MAX_LOCAL:
        return size
    fitting = _MIN_LOCAL + (size - _MIN_LOCAL) % _OVERFLOW_BYTES
    return fitting if fitting <= _MAX_LOCAL else _MIN_LOCAL


def _varint(page: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index in range(_VARINT_BYTES):
        byte = page[at + index]
        if index == _VARINT_BYTES - 1:
            return value << 8 | byte, at + _VARINT_BYTES
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + index + 1
    raise AssertionError("a varint has nine bytes at most")


def _page(image: bytes, number: int) -> bytes:
    return image[(number - 1) * PAGE_BYTES : number * PAGE_BYTES]


def _start(number: int) -> int:
    return _HEADER_BYTES if number == 1 else 0
