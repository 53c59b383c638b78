"""A provider of the simulated world: it answers as Mixpanel does, when it is in the mood."""

import gzip
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from spoold.providers.base import HttpReply, HttpRequest
from spoold.providers.http import TransportError
from tests.sim.parts import SimClock, hold

Mood = Literal[
    "well", "refused", "lost_reply", "unavailable", "throttled", "unauthorized", "split", "small", "nonsense", "bad_key"
]
MOODS: tuple[Mood, ...] = (
    "refused", "lost_reply", "unavailable", "throttled", "unauthorized", "split", "small", "nonsense", "bad_key",
)  # fmt: skip
POISON = "poison"
_SMALL_PARTS = 7
_REFUSALS: Mapping[Mood, tuple[int, object]] = {
    "unavailable": (503, {"error": "try again"}),
    "throttled": (429, {"code": 429, "error": "rate limit", "status": "Too Many Requests"}),
    "unauthorized": (401, {"code": 401, "error": "Invalid credentials", "status": "Unauthorized"}),
    "nonsense": (200, ["<html>captive portal</html>"]),
    "small": (413, {"code": 413, "error": "request exceeds max limit"}),
}


@dataclass
class Arrival:
    """What first arrived for an event; every repeat must be the same (I3)."""

    content: str
    times: int


@dataclass
class Service:
    """One provider, seen from the far end of the wire.

    Attributes:
        arrived: By the number that the world gave the event.
        taken: Their numbers.
        taken_parts: Which parts of the last request it took, whether or not anybody heard so.
        refused: Numbers of events that it refused alone, although there is nothing wrong with them.
    """

    name: str
    clock: SimClock
    rng: random.Random
    mood: Mood = "well"
    arrived: dict[int, Arrival] = field(default_factory=dict)
    taken: set[int] = field(default_factory=set)
    taken_parts: set[int] = field(default_factory=set)
    refused: set[int] = field(default_factory=set)
    calls: int = 0

    def post(self, request: HttpRequest, timeout_seconds: float | None = None) -> HttpReply:
        """Take a request as an HTTP transport hands it over."""
        del timeout_seconds
        self.calls += 1
        self.taken_parts = set()
        if self.mood == "refused":
            raise TransportError("connection refused", was_sent=False)
        is_import = "/import" in request.url
        records = json.loads(gzip.decompress(request.body) if is_import else request.body)
        is_lost = self.mood == "lost_reply"
        if is_lost and self.rng.random() < 0.5:
            # Sent, but nobody was there to take it.
            raise TransportError("connection closed", was_sent=True)
        reply = self._answer(records, is_import=is_import)
        if is_lost:
            raise TransportError("connection closed", was_sent=True)
        return reply

    def abort(self) -> None:
        """Nothing runs beside the script."""

    def close(self) -> None:
        """Nothing is open."""

    def _answer(self, records: list[dict[str, object]], *, is_import: bool) -> HttpReply:
        numbers = [_number(record, is_import=is_import) for record in records]
        refusal = self._refuse(numbers)
        if refusal is not None:
            return refusal
        poisoned = [index for index, record in enumerate(records) if POISON in json.dumps(record)]
        if poisoned and (not is_import or self.mood == "split"):
            return _reply(400 if is_import else 200, {"error": "bad data", "status": 0})
        for index, (number, record) in enumerate(zip(numbers, records, strict=True)):
            if index not in poisoned:
                self._take(number, record)
                self.taken_parts.add(index)
        if not is_import:
            return HttpReply(200, b'{"status":1,"error":null}')
        if not poisoned:
            return _reply(200, {"code": 200, "num_records_imported": len(records), "status": "OK"})
        failed = [{"index": index, "insert_id": "?", "field": "properties", "message": "bad"} for index in poisoned]
        counts = {"num_records_imported": len(records) - len(failed), "failed_records": failed}
        return _reply(400, {"code": 400, "status": "Bad Request", **counts})

    def _refuse(self, numbers: list[int]) -> HttpReply | None:
        """The answer to a whole request that is not even looked at; None when it is."""
        if self.mood == "throttled":
            throttled = _reply(*_REFUSALS[self.mood])
            return HttpReply(throttled.status, throttled.body, float(self.rng.choice([5, 60, 4000])))
        if self.mood == "bad_key":
            if len(numbers) == 1:
                self.refused.add(numbers[0])
            return _reply(400, {"error": "this project takes nothing", "status": 0})
        if self.mood == "small" and len(numbers) <= _SMALL_PARTS:
            return None
        return _reply(*_REFUSALS[self.mood]) if self.mood in _REFUSALS else None

    def _take(self, number: int, record: dict[str, object]) -> None:
        # As it stands on the wire: keys in another order are other bytes.
        content = json.dumps(record)
        first = self.arrived.setdefault(number, Arrival(content, times=0))
        hold("I3: a repeat has the same bytes", first.content == content, first.content, content)
        first.times += 1
        self.taken.add(number)


def _reply(status: int, body: object) -> HttpReply:
    return HttpReply(status, json.dumps(body).encode())


def _number(record: dict[str, object], *, is_import: bool) -> int:
    properties = record["properties" if is_import else "$set"]
    assert isinstance(properties, dict)
    return int(properties["n"])
