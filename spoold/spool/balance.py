"""What an audit says: whether counters and what is on the disk tell the same (I2)."""

from dataclasses import dataclass
from typing import NamedTuple


class Imbalance(NamedTuple):
    """A counter, and what was counted where it should stand.

    Attributes:
        lane: Whose counter; empty for the spool's own.
        term: ``delivered``, ``dead``, ``filtered``, ``purged``, ``deferred`` or ``ahead`` (the two kinds of pending)
            of a lane; ``stored`` or ``dead_bytes`` of the spool.
        counter: What the counter says.
        counted: What was counted.
        place: Where: ``ledger``, ``set-aside`` or ``journal``.
    """

    lane: str
    term: str
    counter: int
    counted: int
    place: str

    @property
    def difference(self) -> int:
        """What was counted beyond what the counter says; it stays the same while events come and go."""
        return self.counted - self.counter

    @property
    def events(self) -> int:
        """By how many events they differ; none where bytes are counted."""
        return 0 if self.term == "dead_bytes" else abs(self.difference)

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

    def differs_from(self, earlier: "Audit | None") -> bool:
        """Whether something is wrong that was not, or the other way round."""
        return _differences(self) != ([] if earlier is None else _differences(earlier))

    @property
    def events(self) -> int:
        """By how many events counters and disk differ: absolute, summed over lanes and terms."""
        return sum(imbalance.events for imbalance in self.imbalances)


def _differences(audit: Audit) -> list[tuple[str, str, str, int]]:
    return sorted((one.lane, one.term, one.place, one.difference) for one in audit.imbalances)


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


class TallyPosition(NamedTuple):
    """Where counting stands: seqs, with what was there when it began as the end."""

    start: int
    after: int
    upto: int


class TallyGroup(NamedTuple):
    """What is counted together.

    Attributes:
        hour_ms: When the hour of acceptance began, Unix milliseconds.
        kind: ``track``, ``identify``, or ``damaged`` where nobody can say.
        event_name: Empty but for ``track``.
    """

    hour_ms: int
    kind: str
    event_name: str


class TallyPage(NamedTuple):
    """What a stretch of the journal holds.

    Attributes:
        counts: Events of each group.
        position: From where to go on; None at the end.
        progress: 0 to 1.
    """

    counts: dict[TallyGroup, int]
    position: TallyPosition | None
    progress: float
