"""What is left of a damaged spool: its events, what stood aside, and which lanes had what pending."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from spoold.spool.facts import (
    FoundAside,
    agreeing_lanes,
    are_integers,
    aside_row,
    is_aside,
    is_record,
    is_whole,
    lane_row,
    read_facts,
    spool_row,
)
from spoold.spool.pages import FREE_PAGE, INDEX_LEAF, ROOT_PAGE, TABLE_LEAF, TREE_PAGE, Pages, Row, Value
from spoold.spool.rows import Gap, LaneRow, SpoolRow

#: Where the id stands in a record (design: record).
_ID = slice(2, 18)
_DEFERRED = "deferred"
_PAGE_BITS, _COUNT_BITS = 32, 12


class _Leaf(NamedTuple):
    """A page of the journal: its first seq, how many rows it says it has, and where it is."""

    first: int
    rows: int
    page: int

    def pack(self) -> int:
        """As one number, in the order of the seqs."""
        return (self.first << _COUNT_BITS | self.rows) << _PAGE_BITS | self.page


def _unpack(key: int) -> _Leaf:
    seqs, page = key >> _PAGE_BITS, key & (1 << _PAGE_BITS) - 1
    return _Leaf(seqs >> _COUNT_BITS, seqs & (1 << _COUNT_BITS) - 1, page)


class Found(NamedTuple):
    """An event whose checksum is right, and its seq in the damaged spool."""

    seq: int
    event_id: bytes
    record: bytes


class Wanted(NamedTuple):
    """Which lanes had an event pending.

    Attributes:
        lanes: Those that are known to.
        unknown: And every lane of which nothing is known.
    """

    lanes: frozenset[str]
    unknown: bool


class Piece(NamedTuple):
    """What stands on one page.

    Attributes:
        events: With who wants each.
        dead: Dead letters. What stood aside and was pending is among the events.
        damaged: Rows that can't be read, or whose checksum is wrong.
        is_aside: The events stood aside; the journal may hold them too.
    """

    events: list[tuple[Found, Wanted]]
    dead: list[FoundAside]
    damaged: int
    is_aside: bool


class Remains:
    """A damaged spool's files, looked through in steps. Changes nothing. Belongs to one thread.

    ``look`` until it is done; then each page from 0 to ``count`` gives its piece: what stood aside first, then the
    journal in the order of its seqs. The same files always give the same pieces, so a position outlives a restart.
    """

    def __init__(self, directory: Path) -> None:
        """Open the files.

        Raises:
            OSError: They can't be read.
        """
        self._pages = _open(directory)
        self.facts = read_facts(self._pages)
        self._next = 1
        self._asides: list[int] = []
        #: Packed: a list of tuples would take three times the memory.
        self._journal: list[int] = []
        #: Seq → the lanes in which it stands aside and is pending; some ten thousand a lane at most.
        self._deferred: dict[int, set[str]] = {}
        self._spools: list[SpoolRow] = []
        self._lanes: list[LaneRow] = []
        self._gaps: list[tuple[Value, ...]] = []

    def close(self) -> None:
        """Close the files. Idempotent."""
        self._pages.close()

    @property
    def damaged_frames(self) -> int:
        """Of the log: those that are damaged, with committed ones behind them."""
        return self._pages.damaged_frames

    @property
    def bytes(self) -> int | None:
        """Size of the files; None when there is none."""
        return self._pages.bytes

    @property
    def count(self) -> int:
        """How many pieces there are."""
        return len(self._asides) + len(self._journal)

    @property
    def progress(self) -> float:
        """How much ``look`` has looked through, 0 to 1."""
        return min(1.0, self._next / max(1, self._pages.count))

    @property
    def is_known(self) -> bool:
        """Whether everything was looked at."""
        return self._next >= self._pages.count

    def look(self, max_pages: int) -> bool:
        """Look at the next pages; True when all were looked at. Not to be called again then."""
        end = min(self._next + max_pages, self._pages.count)
        for number in range(self._next + 1, end + 1):
            self._look_at(number)
        self._next = end
        if end < self._pages.count:
            return False
        self._journal.sort()
        if not self.facts.knows_everything:
            self._guess()
        return True

    def _look_at(self, number: int) -> None:
        kind, told = self._pages.read(number)[0], self._pages.told_kind(number)
        # Deleted rows still stand on pages that are free. A page whose kind is damaged is looked at all the same.
        if told == FREE_PAGE or not (kind in (TABLE_LEAF, INDEX_LEAF) or told in (ROOT_PAGE, TREE_PAGE)):
            return
        if kind == INDEX_LEAF and self.facts.knows_everything:
            return
        for index, row in enumerate(self._pages.rows_on(number)):
            if row is None:
                continue
            if is_record(row):
                self._journal.append(_Leaf(max(0, row.rowid - index), self._pages.row_count(number), number).pack())
                return
            if is_aside(row.values):
                self._asides.append(number)
                self._note_deferred(number)
                return
            self._note(row.values)

    def _note_deferred(self, number: int) -> None:
        for row in self._asides_on(number):
            if row.kind == _DEFERRED:
                self._deferred.setdefault(row.seq, set()).add(row.lane)

    def _asides_on(self, number: int) -> list[FoundAside]:
        rows = self._pages.rows_on(number)
        return [one for row in rows if row is not None and (one := aside_row(row.values)) is not None]

    def _note(self, values: tuple[Value, ...]) -> None:
        spool, lane = spool_row(values), lane_row(values)
        if spool is not None:
            self._spools.append(spool)
        elif lane is not None:
            self._lanes.append(lane)
        elif len(values) == len(Gap._fields) + 1 and isinstance(values[0], str) and are_integers(values[1:]):
            self._gaps.append(values)

    def _guess(self) -> None:
        # The way to the small tables is broken, and their rows may still be there.
        spool = self.facts.spool or max(self._spools, key=lambda row: row.accepted, default=None)
        lanes = agreeing_lanes(spool, self._lanes, self._gaps) | dict(self.facts.lanes)
        self.facts = replace(self.facts, spool=spool, lanes=lanes)

    def expected(self) -> tuple[int, int]:
        """Which seqs the journal held, both ends included; (1, 0) when nothing is known of it."""
        spool = self.facts.spool
        if spool is not None:
            return spool.last_seq - (spool.accepted - spool.trimmed) + 1, spool.last_seq
        if not self._journal:
            return 1, 0
        first, last = _unpack(self._journal[0]), _unpack(self._journal[-1])
        return first.first, last.first + last.rows - 1

    def lost_of(self, found: int) -> int:
        """How many events the journal held beside those that were found, and how many stood aside beside those.

        Of one that was in both and is gone from both, both are counted: which ones stood aside is not known any more.
        """
        first, last = self.expected()
        aside = sum(map(len, self._deferred.values()))
        stood_aside = sum(lane.deferred for lane in self.facts.lanes.values())
        return max(0, last - first + 1 - (found - aside)) + max(0, stood_aside - aside)

    def holes(self) -> list[tuple[int, int]]:
        """Stretches of seqs, both ends included, of which no page is left."""
        at, end = self.expected()
        found: list[tuple[int, int]] = []
        for leaf in map(_unpack, self._journal):
            if at < leaf.first <= end:
                found.append((at, leaf.first - 1))
            if leaf.first <= end:
                at = max(at, leaf.first + leaf.rows)
        return [*found, (at, end)] if at <= end else found

    def piece(self, position: int) -> Piece:
        """What stands on the ``position``-th page."""
        if position < len(self._asides):
            return self._aside_piece(self._asides[position])
        return self._journal_piece(position - len(self._asides))

    def _aside_piece(self, number: int) -> Piece:
        rows = self._asides_on(number)
        pending = [Found(row.seq, row.record[_ID], row.record) for row in rows if row.kind == _DEFERRED]
        events = [(event, self._who_wants(event.seq, is_sure=True)) for event in pending]
        dead = [row for row in rows if row.kind != _DEFERRED]
        return Piece(events, dead, self._pages.row_count(number) - len(rows), is_aside=True)

    def _journal_piece(self, index: int) -> Piece:
        rows = list(self._pages.rows_on(_unpack(self._journal[index]).page))
        is_sure = self._is_regular(index, rows)
        events = [(event, self._who_wants(event.seq, is_sure=is_sure)) for event in _events(rows)]
        return Piece(events, [], len(rows) - len(events), is_aside=False)

    def _is_regular(self, index: int, rows: list[Row | None]) -> bool:
        """Whether the seqs on a page are what they should be.

        No checksum covers a seq. But seqs follow each other without a hole and none is there twice, so a damaged one
        does not fit in.
        """
        first = _unpack(self._journal[index]).first
        last = first + len(rows) - 1
        if [None if row is None else row.rowid for row in rows] != list(range(first, last + 1)):
            return False
        low, high = self.expected()
        before = self._journal[max(0, index - 1) : index]
        behind = self._journal[index + 1 : index + 2]
        is_alone = all(_unpack(key).first < first for key in before) and all(
            _unpack(key).first > last for key in behind
        )
        return low <= first and last <= high and is_alone

    def _who_wants(self, seq: int, *, is_sure: bool) -> Wanted:
        # In a lane an event is ahead, or it stands aside: then it may be forgotten in the journal.
        names = set(self._deferred.get(seq, ()))
        if not is_sure or self.facts.spool is None:
            return Wanted(frozenset(names.union(self.facts.lanes)), unknown=True)
        names.update(name for name, spans in self._spans.items() if any(after < seq <= upto for after, upto in spans))
        return Wanted(frozenset(names), unknown=not self.facts.has_all_lanes)

    @cached_property
    def _spans(self) -> dict[str, list[tuple[int, int]]]:
        """Where each lane had events ahead. Asked for when everything was looked at."""
        spool = self.facts.spool
        return {} if spool is None else {name: list(row.seqs_ahead(spool)) for name, row in self.facts.lanes.items()}


def _open(directory: Path) -> Pages:
    """The files with the log over the database, unless it is another's or an older one."""
    pages = Pages(directory)
    with Pages(directory, with_log=False) as bare:
        alone, both = read_facts(bare).spool, read_facts(pages).spool
    if alone is None or both is None or (alone.id_tag == both.id_tag and alone.last_seq <= both.last_seq):
        return pages
    pages.close()
    return Pages(directory, with_log=False)


def _events(rows: list[Row | None]) -> Iterator[Found]:
    for row in rows:
        if row is not None and is_record(row) and is_whole(data := row.values[1]):
            yield Found(row.rowid, data[_ID], data)
