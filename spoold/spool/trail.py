"""What the commits of this process did that the tables do not tell: with it a recount in pages is exact.

Kept in memory only. Used by the writer's thread alone.
"""

from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple

#: So many changes are remembered, some MiB at most; a recount that is further behind begins again.
_MAX_CHANGES = 20_000


class AsideChange(NamedTuple):
    """One event that was set aside, came back, or changed its kind; each number is what was added.

    Attributes:
        dead: 1, 0 or -1.
        deferred: 1, 0 or -1.
        dead_bytes: Of its record, where it became or ceased to be a dead letter.
    """

    lane: str
    seq: int
    dead: int
    deferred: int
    dead_bytes: int


class Trail:
    """Remembers the last changes to the table ``set_aside``, and numbers the rows of the ledger.

    Args:
        ledger_id: The highest id in the ledger, or 0.
    """

    def __init__(self, ledger_id: int) -> None:
        self._ledger_id = ledger_id
        self._changes: deque[AsideChange] = deque(maxlen=_MAX_CHANGES)
        #: How many changes to ``set_aside`` were ever committed by this process.
        self.count = 0

    def next_ledger_id(self) -> int:
        """An id above all that were given before. SQLite's own would come again when the newest row was trimmed."""
        self._ledger_id += 1
        return self._ledger_id

    def committed(self, changes: Iterable[AsideChange]) -> None:
        """A commit made these true."""
        for change in changes:
            self._changes.append(change)
            self.count += 1

    def since(self, count: int) -> tuple[AsideChange, ...] | None:
        """The changes after the first ``count``, or None where some of them are forgotten."""
        missed = self.count - count
        if missed > len(self._changes):
            return None
        return tuple(islice(reversed(self._changes), missed))
