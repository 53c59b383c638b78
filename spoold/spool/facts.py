"""The rows of a damaged spool, known by their shape, and what its small tables still say.

Records have checksums. The small tables have none, so their numbers are believed only where they agree with each other:
a lane's cursor says how many events are ahead, and so do its counters.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from typing import NamedTuple, TypeGuard

from spoold.errors import RecordDamagedError
from spoold.record import check_record
from spoold.spool.pages import PageDamagedError, Pages, Row, Value
from spoold.spool.rows import Gap, LaneRow, SpoolRow

_KINDS = ("deferred", "dead")
_LANE_TYPES = tuple(field.type for field in fields(LaneRow) if field.name != "gaps")
#: What every format has: the columns of the first.
_MIN_LANE_COLUMNS = 23
_ASIDE_COLUMNS = (10, 12)
_JOURNAL_COLUMNS = 3
#: Numbers beyond these are damage: JSON's integers end here.
_MAX_SEQ = 1 << 53


class FoundAside(NamedTuple):
    """A row of ``set_aside`` whose record's checksum is right."""

    lane: str
    seq: int
    kind: str
    record: bytes
    reason: str
    status: int | None
    attempts: int
    set_aside_at_ms: int


@dataclass(frozen=True, slots=True)
class Facts:
    """What the small tables say; costs a few pages, whatever the backlog.

    Attributes:
        spool: The totals, or None.
        lanes: Those whose numbers agree.
        has_all_lanes: There were no others.
        last_seq: The highest seq that anything names, or None when nothing could be read.
        salvages: Rows of the table ``salvage``.
    """

    spool: SpoolRow | None
    lanes: Mapping[str, LaneRow]
    has_all_lanes: bool
    last_seq: int | None
    salvages: list[tuple[Value, ...]]

    @property
    def knows_everything(self) -> bool:
        """Whether nothing is left to be found out."""
        return self.spool is not None and self.has_all_lanes


def read_facts(pages: Pages) -> Facts:
    """Read the small tables. Never raises for damage."""
    rows, broken = _read_tables(pages, ("spool", "lane", "lane_gap", "salvage", "sqlite_sequence"))
    spool = next((row for one in rows["spool"] if (row := spool_row(one.values)) is not None), None)
    found = [lane for one in rows["lane"] if (lane := lane_row(one.values)) is not None]
    gaps = [one.values for one in rows["lane_gap"]]
    # A gap that is missing is a lane whose numbers don't agree.
    lanes = agreeing_lanes(spool, found, gaps)
    has_all = spool is not None and "lane" not in broken and len(lanes) == len(rows["lane"])
    ends = [lane.cursor for lane in lanes.values()] + [one.values[1] for one in rows["sqlite_sequence"]]
    ends += [spool.last_seq] if spool is not None else []
    with suppress(PageDamagedError, KeyError, IndexError):
        ends.append(pages.last_rowid(pages.tables()["queue_journal"]))
    known = [end for end in ends if _is_seq(end)]
    return Facts(spool, lanes, has_all, max(known, default=None), [one.values for one in rows["salvage"]])


def agreeing_lanes(spool: SpoolRow | None, rows: list[LaneRow], gaps: list[tuple[Value, ...]]) -> dict[str, LaneRow]:
    """The lanes whose cursor and counters say the same of what is ahead."""
    if spool is None:
        return {}
    found: dict[str, LaneRow] = {}
    for row in rows:
        mine = sorted(Gap(*gap[1:]) for gap in gaps if gap[0] == row.name and are_integers(gap[1:]))  # type: ignore[arg-type]
        lane = replace(row, gaps=tuple(mine))
        ahead = lane.ahead(spool)
        spans = list(lane.seqs_ahead(spool))
        is_sound = ahead == sum(upto - after for after, upto in spans) and lane.deferred >= 0
        if is_sound and all(0 <= after <= upto <= spool.last_seq for after, upto in spans):
            found[lane.name] = lane
    return found


class JournalRow(NamedTuple):
    """A row of the journal, as ``Row``: no value for the seq, the record, the hybrid time in seconds."""

    rowid: int
    values: tuple[None, bytes, Value]


def is_record(row: Row) -> TypeGuard[JournalRow]:
    """Whether a row is one of the journal; its record may be damaged."""
    values = row.values
    return row.rowid is not None and len(values) == _JOURNAL_COLUMNS and isinstance(values[1], bytes)


def is_aside(values: tuple[Value, ...]) -> bool:
    """Whether a row is one of ``set_aside``; its record may be damaged."""
    return len(values) in _ASIDE_COLUMNS and values[3] in _KINDS and isinstance(values[4], bytes)


def aside_row(values: tuple[Value, ...]) -> FoundAside | None:
    """A row of ``set_aside``; None for any other, or a damaged one."""
    if not is_aside(values) or not is_whole(values[4]):
        return None
    row = FoundAside(*values[1 : len(FoundAside._fields) + 1])  # type: ignore[arg-type]
    is_sound = isinstance(row.lane, str) and isinstance(row.reason, str) and _is_seq(row.seq)
    is_sound = is_sound and (row.status is None or isinstance(row.status, int))
    return row if is_sound and are_integers(tuple(row[6:])) else None


def spool_row(values: tuple[Value, ...]) -> SpoolRow | None:
    """The row of ``spool``; None for any other, or one that can't be."""
    if len(values) != len(SpoolRow._fields) + 1 or not isinstance(values[6], bytes):
        return None
    numbers = (*values[1:6], *values[7:])
    if not are_integers(numbers) or not _is_seq(values[4]):
        return None
    row = SpoolRow(*values[1:])  # type: ignore[arg-type]
    return row if 0 <= row.trimmed <= row.accepted <= row.last_seq else None


def lane_row(values: tuple[Value, ...]) -> LaneRow | None:
    """A row of ``lane``, without its gaps; None for any other."""
    if not _MIN_LANE_COLUMNS <= len(values) <= len(_LANE_TYPES):
        return None
    if any(type(value) is not kind for value, kind in zip(values, _LANE_TYPES, strict=False)):
        return None
    return LaneRow(*values)  # type: ignore[arg-type]


def _is_seq(value: Value) -> TypeGuard[int]:
    return isinstance(value, int) and 0 <= value < _MAX_SEQ


def are_integers(values: tuple[Value, ...]) -> bool:
    """Whether all are integers."""
    return all(isinstance(value, int) for value in values)


def is_whole(data: Value) -> TypeGuard[bytes]:
    """Whether it is a record whose checksum is right."""
    try:
        check_record(data if isinstance(data, bytes) else b"")
    except RecordDamagedError:
        return False
    return True


def _read_tables(pages: Pages, names: tuple[str, ...]) -> tuple[dict[str, list[Row]], set[str]]:
    """The rows of small tables as far as they can be read, and which of them can't be read to the end."""
    rows: dict[str, list[Row]] = {name: [] for name in names}
    try:
        roots = pages.tables()
    except PageDamagedError:
        return rows, set(names)
    broken = set()
    for name in names:
        try:
            rows[name].extend(pages.walk(roots[name]))
        except (PageDamagedError, KeyError):
            broken.add(name)
    return rows, broken
