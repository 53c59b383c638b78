"""What the spool has promised, and when: kept beside it, to be held against it after a power cut."""

from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from spoold.record import Draft, encode_record
from spoold.spool.values import Receipt


class Owed(NamedTuple):
    """An event that was acknowledged: where it stands, and its stored bytes."""

    at: int
    seq: int
    record: bytes


class Passed(NamedTuple):
    """A settlement that was acknowledged: the lane stands there or further on, and these are its dead letters."""

    at: int
    lane: str
    cursor: int
    dead: tuple[int, ...] = ()


class Kept(NamedTuple):
    """A small file that a call said is there."""

    at: int
    path: str
    content: bytes


class Saved(NamedTuple):
    """The stored bytes of an event that was moved aside with a damaged spool."""

    at: int
    record: bytes


_Promise = TypeVar("_Promise", Owed, Passed, Kept, Saved)


@dataclass
class Book:
    """Promises; ``at`` is the number of operations on the tape when each was given.

    Attributes:
        may_be_gone: Seqs of events that a trim forgets, and when it began.
        begun: How far each lane was ever asked to go, whether it was promised or not.
    """

    owed: list[Owed] = field(default_factory=list)
    passed: list[Passed] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    saved: list[Saved] = field(default_factory=list)
    may_be_gone: dict[int, int] = field(default_factory=dict)
    begun: dict[str, int] = field(default_factory=dict)

    def owe(self, at: int, drafts: list[Draft], receipts: list[Receipt], received_at_ms: int) -> None:
        """An append was acknowledged. What was there already is owed from then on."""
        self.owed += [
            Owed(at, receipt.seq, encode_record(draft, receipt.event_id, received_at_ms))
            for draft, receipt in zip(drafts, receipts, strict=True)
            if not receipt.duplicate
        ]

    def as_of(self, at: int) -> "Book":
        """What was promised by then, as the next recording begins with it. What was begun may have happened."""
        begun = {seq: 0 for seq, when in self.may_be_gone.items() if when <= at}
        return Book(
            _by(self.owed, at), _by(self.passed, at), _by(self.kept, at), _by(self.saved, at), begun, dict(self.begun)
        )


def _by(promises: list[_Promise], at: int) -> list[_Promise]:
    return [promise._replace(at=0) for promise in promises if promise.at <= at]
