"""Event ids made here: UUIDv7 (RFC 9562) in journal order, from a hybrid clock.

The time in an id is the wall clock, but never below the last one used, so ids and the journal's ``timestamp`` column
rise with seq whatever the clock does, and an id is found again by binary search. Layout: 48 bits of milliseconds, 12
bits of a counter within the millisecond, 46 random bits, and 16 bits that are the same for all ids of one spool: a
caller's own UUIDv7 is told from ours without a search.
"""

from spoold.clock import Clock, Entropy

_COUNTER_END = 1 << 12
_RANDOM_BYTES = 6
_POOL_BYTES = 6144
_VERSION = 0x7000
_VARIANT = 0x80


class IdMaker:
    """Makes ids. Not safe across threads: the caller's lock also gives ids their journal order."""

    def __init__(self, clock: Clock, entropy: Entropy, *, tag: bytes, last_ms: int) -> None:
        self._clock = clock
        self._entropy = entropy
        self._tag = tag
        # A restart begins a millisecond later: the counter that was reached is not stored.
        self._last_ms = last_ms + 1
        self._counter = -1
        self._pool = b""
        self._pool_used = 0

    def next_id(self) -> tuple[bytes, int]:
        """An id and the hybrid time in it, Unix milliseconds."""
        self._tick()
        return self._build(), self._last_ms

    def stamp(self) -> int:
        """The hybrid time for an event whose id a caller chose."""
        # It takes a place in its millisecond too: while the wall clock lags, all would get the same time, and the
        # search for an id by its time would walk over them.
        self._tick()
        return self._last_ms

    def _tick(self) -> None:
        now_ms = self._clock.wall_ms()
        if now_ms > self._last_ms:
            self._last_ms = now_ms
            self._counter = 0
        else:
            self._counter += 1
            if self._counter == _COUNTER_END:
                self._last_ms += 1
                self._counter = 0

    def _build(self) -> bytes:
        if self._pool_used + _RANDOM_BYTES > len(self._pool):
            self._pool = self._entropy.random_bytes(_POOL_BYTES)
            self._pool_used = 0
        start = self._pool_used
        self._pool_used += _RANDOM_BYTES
        head = ((self._last_ms << 16) | _VERSION | self._counter).to_bytes(8, "big")
        first = _VARIANT | (self._pool[start] & 0x3F)
        return head + bytes((first,)) + self._pool[start + 1 : start + _RANDOM_BYTES] + self._tag


def is_made_here(event_id: bytes, tag: bytes) -> bool:
    """Whether ``event_id`` has the shape of this spool's ids (one in 65 536 foreign UUIDv7 has it too)."""
    return event_id[14:] == tag and event_id[6] >> 4 == _VERSION >> 12


def time_in_id(event_id: bytes) -> int:
    """The milliseconds in a UUIDv7."""
    return int.from_bytes(event_id[:6], "big")
