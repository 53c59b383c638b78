"""The clients of the simulated world: they call, repeat what is in doubt, and remember what they were told."""

import random

from spoold.errors import SpoolClosedError, SpoolCorruptError, SpoolFailedError, SpoolFullError
from spoold.spool.local import LocalSpool
from spoold.spool.values import Receipt
from tests.sim.ledger import Figures, Submitted, Waiting, make_event
from tests.sim.parts import SimClock, Trace, hold

#: How far back a client looks for something to repeat.
_RECENT = 60


class Clients:
    """All of them, over all lives of the daemon.

    Attributes:
        submitted: Every event ever handed in; an event's number is its index.
        in_doubt: Calls that nobody answered, or whose fate the answer left open: the next start tells.
    """

    def __init__(self, rng: random.Random, clock: SimClock, trace: Trace, figures: Figures) -> None:
        self.submitted: list[Submitted] = []
        self.in_doubt: list[list[Submitted]] = []
        self._waiting: list[Waiting] = []
        self._rng = rng
        self._clock = clock
        self._trace = trace
        self._figures = figures

    @property
    def waiting(self) -> int:
        """Calls that were not answered yet."""
        return len(self._waiting)

    def submit(self, spool: LocalSpool, *, has_room: bool) -> None:
        """A call with one event or many, some of them repeats."""
        events: list[Submitted] = []
        for _ in range(self._rng.choice([1, 1, 1, 2, 5, 30])):
            again = self._repeatable() if self._rng.random() < 0.2 else None
            events.append(again or self._new_event(self._rng))
        self._hand_in(spool, events, has_room=has_room)

    def submit_fresh(self, spool: LocalSpool) -> Submitted:
        """A call with one event that was never seen before and that no service minds."""
        event = self._new_event(random.Random(0))
        self._hand_in(spool, [event], has_room=True)
        return event

    def collect(self) -> None:
        """Read the answers."""
        for call in [call for call in self._waiting if call.future.done()]:
            self._waiting.remove(call)
            error = call.future.exception()
            self._note("answer", [event.number for event in call.events], type(error).__name__)
            if isinstance(error, SpoolFullError | SpoolClosedError):
                self._figures.refused += len(call.events)
                reason = getattr(error, "reason", "")
                self._figures.refused_for_max_bytes += len(call.events) if reason == "max_bytes" else 0
                self._figures.refused_for_disk += len(call.events) if reason in ("disk", "min_free_bytes") else 0
                for event in call.events:
                    event.is_refused = event.receipt is None and event.draft.event_id is None
            elif error is None:
                hold("I7: where there is no room nothing is taken", call.has_room, len(call.events))
                for event, receipt in zip(call.events, call.future.result(), strict=True):
                    self._take_receipt(event, receipt)
            else:
                hold(
                    "a failed append has a known kind",
                    isinstance(error, SpoolFailedError | SpoolCorruptError),
                    repr(error),
                )
                self.in_doubt.append(call.events)

    def note_room(self) -> None:
        """The disk has other room than it had: what waits may be taken or not."""
        for call in self._waiting:
            call.has_room = True

    def lose_answers(self) -> None:
        """The process is gone, and the answers that were not read with it."""
        self.in_doubt += [call.events for call in self._waiting]
        self._waiting.clear()

    def _new_event(self, rng: random.Random) -> Submitted:
        event = make_event(len(self.submitted), rng, self._clock)
        self.submitted.append(event)
        return event

    def _hand_in(self, spool: LocalSpool, events: list[Submitted], *, has_room: bool) -> None:
        now_ms = self._clock.wall_ms()
        for event in events:
            event.handed_in_ms.add(now_ms)
            event.handed_in_at = self._clock.now
        self._waiting.append(Waiting(events, spool.append([event.draft for event in events]), has_room))
        self._note("submit", [event.number for event in events])

    def _repeatable(self) -> Submitted | None:
        # Only what carries its time: where the spool sets it, a repeat of what was forgotten meanwhile gets another.
        recent = self.submitted[-_RECENT:]
        with_id = [e for e in recent if e.draft.event_id is not None and not e.is_refused and e.is_repeatable]
        return self._rng.choice(with_id) if with_id else None

    def _take_receipt(self, event: Submitted, receipt: Receipt) -> None:
        first = event.receipt
        if first is not None:
            hold("a repeat is answered with the same id", receipt.event_id == first.event_id, event.number)
        self._figures.acknowledged += not receipt.duplicate
        event.receipt = receipt
        # From now on it can be repeated under the id that the spool gave it.
        event.draft = event.draft._replace(event_id=receipt.event_id)

    def _note(self, *words: object) -> None:
        self._trace.note(self._clock.now, *words)
