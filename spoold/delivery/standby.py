"""The events that a lane goes on without for a while, and when each is due again."""

import heapq
from collections.abc import Iterable

from spoold.spool.values import Deferred

#: So many at most; with that many the lane itself waits (design: lanes).
MAX_DEFERRED = 10_000


class Standby:
    """Who stands aside. Waits run on the monotonic clock, so that a wall clock that jumps delays nobody for long."""

    def __init__(self, deferred: Iterable[Deferred], now: float, wall_ms: int) -> None:
        """Take up what the spool holds: what is left of a wait is the shorter of its length and its end."""
        self._deferred: dict[int, Deferred] = {}
        self._due: list[tuple[float, int]] = []
        for one in deferred:
            self.add(one, now + max(0, min(one.wait_ms, one.not_before_ms - wall_ms)) / 1000)

    def __len__(self) -> int:
        """How many there are, those under way included."""
        return len(self._deferred)

    def __contains__(self, seq: int) -> bool:
        """Whether the event stands aside."""
        return seq in self._deferred

    def __getitem__(self, seq: int) -> Deferred:
        """What is known of it."""
        return self._deferred[seq]

    def add(self, deferred: Deferred, due_at: float) -> None:
        """One more, or the same once more, due at ``due_at`` (monotonic seconds)."""
        self._deferred[deferred.seq] = deferred
        heapq.heappush(self._due, (due_at, deferred.seq))

    def remove(self, seq: int) -> None:
        """Its fate is settled."""
        self._deferred.pop(seq, None)

    def hurry(self, now: float) -> None:
        """All are due now: an operator says so."""
        self._due = [(now, seq) for _, seq in sorted(self._due)]

    @property
    def next_due_at(self) -> float | None:
        """When the next one is due; None when nobody waits."""
        return self._due[0][0] if self._due else None

    def take_due(self, now: float, most: int) -> list[int]:
        """Up to ``most`` that are due, by seq; they are under way until they are added again or removed."""
        seqs: set[int] = set()
        while self._due and self._due[0][0] <= now and len(seqs) < most:
            _, seq = heapq.heappop(self._due)
            if seq in self._deferred:
                seqs.add(seq)
        return sorted(seqs)
