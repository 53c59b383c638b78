"""What an audit says: whether counters and what is on the disk tell the same (I2)."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

Place = Literal["ledger", "set-aside", "journal"]


class Imbalance(NamedTuple):
    """A counter, and what was counted where it should stand.

    Attributes:
        lane: Whose counter; empty for the spool's own.
        term: ``delivered``, ``dead``, ``filtered``, ``purged``, ``deferred`` or ``ahead`` (the two kinds of pending)
            of a lane; ``retained`` or ``dead_bytes`` of the spool.
        counter: What the counter says.
        counted: What was counted.
        place: Where.
    """

    lane: str
    term: str
    counter: int
    counted: int
    place: Place

    @property
    def events(self) -> int:
        """By how many events they differ; none where bytes are counted."""
        return 0 if self.term == "dead_bytes" else abs(self.counted - self.counter)

    def __str__(self) -> str:
        whose = f"lane {self.lane}" if self.lane else "the spool"
        what = self.term.replace("_", " ")
        return f"{whose}: {what} is {self.counter} by its counter, and {self.counted} by what is in the {self.place}"


class AuditedLane(NamedTuple):
    """The terms of I2 as they were counted; ``accepted`` is the counter that they are held against."""

    name: str
    accepted: int
    delivered: int
    dead: int
    filtered: int
    purged: int
    pending: int

    @property
    def balance(self) -> int:
        """Events that are in no term; negative where some are in two."""
        return self.accepted - self.delivered - self.dead - self.filtered - self.purged - self.pending


@dataclass(frozen=True, slots=True)
class Audit:
    """The outcome of an audit: all lanes, closed ones too, by name."""

    lanes: tuple[AuditedLane, ...]
    imbalances: tuple[Imbalance, ...]

    @property
    def is_ok(self) -> bool:
        """Whether everything tells the same."""
        return not self.imbalances

    @property
    def events(self) -> int:
        """By how many events counters and disk differ: absolute, summed over lanes and terms."""
        return sum(imbalance.events for imbalance in self.imbalances)


class AuditPosition:
    """How far an audit has come: what an engine needs to go on. Opaque."""

    __slots__ = ()


class AuditStep(NamedTuple):
    """One page of an audit.

    Attributes:
        position: From where to go on; None when the audit is over.
        progress: 0 to 1.
        audit: The outcome, when it is over.
    """

    position: AuditPosition | None
    progress: float
    audit: Audit | None
