"""Time and randomness that a test decides."""

import random

#: 2026-11-24T00:00:00Z.
START_MS = 1_795_478_400_000


class FakeClock:
    """Stands still until it is told otherwise."""

    def __init__(self, wall_ms: int = START_MS, monotonic: float = 1_000.0) -> None:
        self._wall_ms = wall_ms
        self._monotonic = monotonic

    def wall_ms(self) -> int:
        return self._wall_ms

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let time pass, on both clocks."""
        self._monotonic += seconds
        self.jump_wall(seconds)

    def jump_wall(self, seconds: float) -> None:
        """Set the wall clock forward or back; no time passes."""
        self._wall_ms += round(seconds * 1000)


class FakeEntropy:
    """Randomness from a seed.

    Attributes:
        jitter: Where in its bounds ``uniform`` falls: 0.0 the lower, 1.0 the upper; None leaves it to the seed.
    """

    def __init__(self, seed: int = 0, jitter: float | None = None) -> None:
        self._rng = random.Random(seed)
        self.jitter = jitter

    def random_bytes(self, count: int) -> bytes:
        return self._rng.randbytes(count)

    def uniform(self, low: float, high: float) -> float:
        return self._rng.uniform(low, high) if self.jitter is None else low + self.jitter * (high - low)
