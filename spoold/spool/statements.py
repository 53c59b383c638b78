"""The named statements of ``queries.sql``, and the multi-row inserts that are built by count."""

import re
from functools import cache
from importlib import resources
from itertools import pairwise

#: SQLite takes 32 766 variables in one statement; this keeps a statement small enough to cache.
MAX_ROWS_PER_INSERT = 500


def _load() -> dict[str, str]:
    text = resources.files("spoold.spool").joinpath("queries.sql").read_text()
    marks = [*re.finditer(r"^-- name: (\w+)\n", text, re.MULTILINE)]
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    return {
        mark[1]: re.sub(r"^--.*\n", "", text[mark.end() : end], flags=re.MULTILINE).strip()
        for mark, end in zip(marks, ends, strict=True)
    }


SQL = _load()


@cache
def insert_records(rows: int) -> str:
    """One statement for many records: ``executemany`` gives up the GIL once per row."""
    return "INSERT INTO queue_journal (_id, data, timestamp) VALUES " + ",".join(["(?,?,?)"] * rows)  # noqa: S608 - built of question marks


@cache
def insert_caller_ids(rows: int) -> str:
    """One statement for many ids."""
    return "INSERT OR IGNORE INTO caller_id (key, seq) VALUES " + ",".join(["(?,?)"] * rows)  # noqa: S608 - built of question marks


@cache
def chunk_bounds(rows: int) -> tuple[tuple[int, int], ...]:
    """Cut ``rows`` into few sizes, so that SQLite's cache of prepared statements is hit."""
    cuts = [0]
    while (left := rows - cuts[-1]) > 0:
        step = next((size for size in (MAX_ROWS_PER_INSERT, 100) if left >= size), left)
        cuts.append(cuts[-1] + step)
    return tuple(pairwise(cuts))
