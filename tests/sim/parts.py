"""What a simulated world is made of besides the disk: time, randomness and waits that a script decides."""

import hashlib
import random
from collections.abc import Callable

#: So far from the truth the wall clock may get.
_MOST_WRONG_SECONDS = 10 * 86_400.0


class SimClock:
    """The true time of the world, and a wall clock that may lie about it."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self._wrong_seconds = 0.0
        self._wall_offset_ms = 1_795_000_000_000

    def wall_ms(self) -> int:
        return self._wall_offset_ms + int(self.now * 1000)

    def monotonic(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds

    def jump_wall(self, seconds: float) -> None:
        """Set the wall clock; the other way where it would get too far from the truth."""
        if abs(self._wrong_seconds + seconds) > _MOST_WRONG_SECONDS:
            seconds = -seconds
        self._wrong_seconds += seconds
        self._wall_offset_ms += int(seconds * 1000)


class SimEntropy:
    """Randomness from the seed."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def random_bytes(self, count: int) -> bytes:
        return self._rng.randbytes(count)

    def uniform(self, low: float, high: float) -> float:
        return self._rng.uniform(low, high)


class SimSignal:
    """Nobody waits in a world of one thread; a wait that would block is a mistake of the script."""

    def __init__(self) -> None:
        self._is_set = False

    def set(self) -> None:
        self._is_set = True

    def wait(self, timeout_seconds: float | None) -> bool:
        raise AssertionError(f"something waits {timeout_seconds} s in a simulation of one thread")


class Trace:
    """Everything that happened, as one hash: the same seed must give the same."""

    def __init__(self, echo: Callable[[str], None] | None) -> None:
        self._hash = hashlib.sha256()
        self._echo = echo

    def note(self, now: float, *words: object) -> None:
        line = f"{now:.3f} " + " ".join(map(str, words))
        self._hash.update(line.encode())
        if self._echo is not None:
            self._echo(line)

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()[:16]


class SimulationError(AssertionError):
    """A promise was broken."""


def hold(promise: str, is_true: bool, *facts: object) -> None:  # noqa: FBT001
    """An oracle: the promise, and what was seen instead."""
    if not is_true:
        raise SimulationError(f"{promise}: {' '.join(map(str, facts))}")
