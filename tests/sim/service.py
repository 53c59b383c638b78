"""A provider of the simulated world: it answers as its kind does, when it is in the mood."""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from spoold.providers.base import HttpReply, HttpRequest
from spoold.providers.http import TransportError
from tests.sim.dialects import Dialect, Letter, Told, reply
from tests.sim.parts import SimClock, hold

Mood = Literal[
    "well",
    "refused",
    "lost_reply",
    "unavailable",
    "throttled",
    "throttling",
    "unauthorized",
    "split",
    "small",
    "nonsense",
    "bad_key",
    "choking",
]
MOODS: tuple[Mood, ...] = get_args(Mood)[1:]
POISON = "poison"
_SMALL_PARTS = 7
#: Each so many-th event is one that a service chokes on, while it is in that mood.
_CHOKES_ON = 19
_REFUSALS: Mapping[Mood, tuple[int, object]] = {
    "unavailable": (503, {"error": "try again"}),
    "throttled": (429, {"code": 429, "error": "rate limit", "status": "Too Many Requests"}),
    "bad_key": (400, {"error": "this project takes nothing", "status": 0}),
    "small": (413, {"code": 413, "error": "request exceeds max limit"}),
    "choking": (500, {"error": "internal error"}),
}


@dataclass
class Arrival:
    """What first arrived for an event; every repeat must be the same (I3)."""

    content: str
    told: Told
    times: int


@dataclass
class Service:
    """One provider, seen from the far end of the wire.

    Attributes:
        arrived: By the number that the world gave the event.
        taken: Their numbers.
        taken_parts: Which parts of the last request it took, whether or not anybody heard so.
        refused: Numbers of events that it refused alone, although there is nothing wrong with them.
        hidden: Names of events that its lane's filter keeps back.
        chokes: There are events on which it always chokes.
        purges: Its lane would rather lose its oldest events than refuse new ones.
    """

    name: str
    dialect: Dialect
    clock: SimClock
    rng: random.Random
    mood: Mood = "well"
    arrived: dict[int, Arrival] = field(default_factory=dict)
    taken: set[int] = field(default_factory=set)
    taken_parts: set[int] = field(default_factory=set)
    refused: set[int] = field(default_factory=set)
    hidden: tuple[str, ...] = ()
    chokes: bool = False
    purges: bool = False

    def post(self, request: HttpRequest, timeout_seconds: float | None = None) -> HttpReply:
        """Take a request as an HTTP transport hands it over."""
        del timeout_seconds
        self.taken_parts = set()
        if self.mood == "refused":
            raise TransportError("connection refused", was_sent=False)
        letter = self.dialect.open(request)
        is_lost = self.mood == "lost_reply"
        if is_lost and self.rng.random() < 0.5:
            # Sent, but nobody was there to take it.
            raise TransportError("connection closed", was_sent=True)
        answer = self._answer(letter)
        if is_lost:
            raise TransportError("connection closed", was_sent=True)
        return answer

    def abort(self) -> None:
        """Nothing runs beside the script."""

    def close(self) -> None:
        """Nothing is open."""

    def _answer(self, letter: Letter) -> HttpReply:
        told = [self.dialect.tell(record) for record in letter.records]
        numbers = [int(one.properties["n"]) for one in told]
        refusal = self._refuse(numbers)
        if refusal is not None:
            return refusal
        if self.mood == "throttling":
            put_off = [index for index, number in enumerate(numbers) if number % 3 == 0]
            answer = self.dialect.throttled(put_off) if put_off else None
            if answer is not None:
                # Whether the others of such a request were stored is only implied (providers.md 11, 7): they were not.
                return answer
        bad = [index for index, one in enumerate(told) if one.properties["text"] == POISON]
        is_listed = self.dialect.lists_bad and self.mood != "split" and not letter.takes_profiles
        if bad and not is_listed:
            return self.dialect.well(letter, bad) if letter.takes_profiles else reply(400, {"error": "bad data"})
        if not bad or self.dialect.keeps_rest:
            for index, number in enumerate(numbers):
                if index not in bad:
                    self._take(number, letter.records[index], told[index])
                    self.taken_parts.add(index)
        return self.dialect.well(letter, bad)

    def _refuse(self, numbers: list[int]) -> HttpReply | None:
        """The answer to a whole request that is not even looked at; None when it is."""
        is_digestible = all(number % _CHOKES_ON for number in numbers)
        mood: Mood = "choking" if self.chokes and self.mood == "well" and not is_digestible else self.mood
        is_looked_at = {"small": len(numbers) <= _SMALL_PARTS, "choking": is_digestible}
        if is_looked_at.get(mood):
            return None
        if mood in ("bad_key", "choking") and len(numbers) == 1:
            self.refused.add(numbers[0])
        if mood == "throttled":
            throttled = reply(*_REFUSALS[mood])
            return HttpReply(throttled.status, throttled.body, float(self.rng.choice([5, 60, 4000])))
        if mood in ("unauthorized", "nonsense"):
            return reply(*getattr(self.dialect, mood))
        return reply(*_REFUSALS[mood]) if mood in _REFUSALS else None

    def _take(self, number: int, record: dict[str, object], told: Told) -> None:
        # As it stands on the wire: keys in another order are other bytes. What was forgotten and handed in again was
        # received at another time.
        content = json.dumps({name: value for name, value in record.items() if name != "received_at_ms"})
        first = self.arrived.setdefault(number, Arrival(content, told, times=0))
        hold("I3: a repeat has the same bytes", first.content == content, first.content[-300:], content[-300:])
        first.times += 1
        self.taken.add(number)
