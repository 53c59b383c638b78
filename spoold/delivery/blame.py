"""Whom to blame: when a request keeps failing, is it the provider, or what is in it? (design: whom to blame)."""

from typing import NamedTuple

from spoold.delivery.batch import Batch, Call
from spoold.spool.values import DeadLetter

#: An event is set aside for good after failing alone so often, with others delivered in between.
MAX_LONE_FAILURES = 5


class Blame:
    """Counts what was delivered, so that a failure can be told from an outage.

    A provider that is out fails everything; one that chokes on an event fails that while others pass. Nothing is ever
    blamed on an event without another's success since it failed before.
    """

    def __init__(self) -> None:
        self._delivered = 0
        self._lone_failures: dict[int, int] = {}

    def note_delivered(self, events: int) -> None:
        """Others passed."""
        self._delivered += events

    def prepare(self, call: Call) -> None:
        """A call of one event that failed alone before remembers when that was."""
        if len(call.items) == 1:
            call.failed_at = self._lone_failures.get(call.items[0].seq, call.failed_at)

    def is_to_blame(self, call: Call) -> bool:
        """Whether others were delivered since this call failed before; counts this failure."""
        is_guilty = call.failed_at is not None and self._delivered > call.failed_at
        call.failed_at = self._delivered
        call.is_suspect |= is_guilty
        if len(call.items) == 1:
            self._lone_failures[call.items[0].seq] = self._delivered
        return is_guilty

    def forget(self, seq: int) -> None:
        """The event's fate is known."""
        self._lone_failures.pop(seq, None)


class Refusal(NamedTuple):
    """A single event that the provider will never take, as it says.

    Attributes:
        is_replay: It was sent for a replay, so it is no dead letter of the lane.
    """

    batch: Batch
    call: Call
    letter: DeadLetter
    is_replay: bool


class Refusals:
    """Single events refused in a row, for the same reason: so many that the key is bad, not they (providers.md 5)."""

    def __init__(self) -> None:
        self._alike: list[Refusal] = []

    def clear(self) -> None:
        """Something was taken: the key is good."""
        self._alike.clear()

    def add(self, refusal: Refusal) -> None:
        """One more; another reason begins a new row."""
        if self._alike:
            last, letter = self._alike[-1].letter, refusal.letter
            if (last.reason, last.status) != (letter.reason, letter.status):
                self._alike.clear()
        self._alike.append(refusal)

    def take_suspicious(self, limit: int) -> list[Refusal]:
        """All of the row if it is ``limit`` or longer, which begins a new one; else nothing."""
        if len(self._alike) < limit:
            return []
        row, self._alike = self._alike, []
        return row
