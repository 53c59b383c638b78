"""Time and randomness: the one place that may ask the machine for them (with ``runtime.py``).

Everything else takes a ``Clock`` and an ``Entropy`` as constructor arguments, so that a simulation can give its own.
"""

import os
import random
import time
from typing import Protocol


class Clock(Protocol):
    """Wall and monotonic time. Safe from any thread."""

    def wall_ms(self) -> int:
        """Unix milliseconds; may jump either way."""
        ...

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never runs back."""
        ...


class Entropy(Protocol):
    """Randomness. Safe from any thread."""

    def random_bytes(self, count: int) -> bytes:
        """``count`` unpredictable bytes, for ids."""
        ...

    def uniform(self, low: float, high: float) -> float:
        """A float between the bounds, for jitter."""
        ...


class SystemClock:
    """The machine's clocks."""

    def wall_ms(self) -> int:
        """Unix milliseconds."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Seconds."""
        return time.monotonic()


class SystemEntropy:
    """The machine's randomness."""

    def __init__(self) -> None:
        self._jitter = random.SystemRandom()

    def random_bytes(self, count: int) -> bytes:
        """From the kernel."""
        return os.urandom(count)

    def uniform(self, low: float, high: float) -> float:
        """For jitter."""
        return self._jitter.uniform(low, high)
