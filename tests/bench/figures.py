"""A line of the table, and the alternating pairs behind it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Generic, TypeVar

Measured = TypeVar("Measured")


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table.

    Attributes:
        ratios: One of each pair.
        target: What their median should reach, or stay below.
        noise: The same ratio of runs that were identical.
        detail: The absolute figures behind it.
        unmeasured: Why there is no ratio: skipped or crashed.
    """

    name: str
    ratios: list[float] = field(default_factory=list)
    target: float = 0.0
    is_at_least: bool = True
    noise: list[float] = field(default_factory=list)
    detail: str = ""
    unmeasured: str = ""

    @property
    def verdict(self) -> str:
        """Whether the target is met: ok, below or above."""
        if self.unmeasured:
            return self.unmeasured
        ratio = median(self.ratios)
        if self.is_at_least:
            return "ok" if ratio >= self.target else "below"
        return "ok" if ratio <= self.target else "above"

    @property
    def ratio_text(self) -> str:
        """The median, and the range when there were several."""
        if not self.ratios:
            return "-"
        single = len(self.ratios) == 1
        return f"{median(self.ratios):.2f}" + ("" if single else f" ({span(self.ratios)})")

    @property
    def target_text(self) -> str:
        """With its sign."""
        return "-" if self.unmeasured else f"{'≥' if self.is_at_least else '≤'} {self.target:g}"

    @property
    def noise_text(self) -> str:
        """The range of what should all be 1."""
        return span(self.noise) if self.noise else "-"


@dataclass(frozen=True, slots=True)
class Pairs(Generic[Measured]):
    """What was measured (b) and what it is measured against (a): A B A B … A, so there is one more of a."""

    a: list[Measured]
    b: list[Measured]

    def ratios(self, value: Callable[[Measured], float]) -> list[float]:
        """Each b against the a before it."""
        return [value(ours) / value(theirs) for theirs, ours in zip(self.a, self.b, strict=False)]

    def noise(self, value: Callable[[Measured], float]) -> list[float]:
        """Each a against the a before it."""
        return [value(later) / value(earlier) for earlier, later in zip(self.a, self.a[1:], strict=False)]

    def medians(self, value: Callable[[Measured], float]) -> tuple[float, float]:
        """Of b and of a."""
        return median(map(value, self.b)), median(map(value, self.a))


def alternate(pairs: int, a: Callable[[], Measured], b: Callable[[], Measured]) -> Pairs[Measured]:
    """Measure them in turn, so that a machine that slows down slows both."""
    found: Pairs[Measured] = Pairs([], [])
    for _ in range(pairs):
        found.a.append(a())
        found.b.append(b())
    found.a.append(a())
    return found


def span(values: list[float]) -> str:
    """From the lowest to the highest."""
    return " … ".join(f"{value:.2f}" for value in sorted({min(values), max(values)}))
