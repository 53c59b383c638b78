"""A provider of the simulated world: it answers as Mixpanel does, when it is in the mood."""

import gzip
import json
import random
from dataclasses import dataclass, field
from typing import Literal

from spoold.providers.base import HttpReply, HttpRequest
from spoold.providers.http import TransportError
from tests.sim.parts import SimClock, hold

Mood = Literal[
    "well", "refused", "lost_reply", "unavailable", "throttled", "unauthorized", "split", "small", "nonsense", "slow"
]
MOODS: tuple[Mood, ...] = (
    "refused", "lost_reply", "unavailable", "throttled", "unauthorized", "split", "small", "nonsense",
)  # fmt: skip
POISON = "poison"
_SMALL_PARTS = 7


@dataclass
class Arrival:
    """What first arrived for an event; every repeat must be the same (I3)."""

    content: str
    times: int = 1


@dataclass
class Service:
    """One provider, seen from the far end of the wire.

    Attributes:
        arrived: By the number that the world gave the event.
        not_before: True time before which it asked not to be called.
    """

    name: str
    clock: SimClock
    rng: random.Random
    mood: Mood = "well"
    arrived: dict[int, Arrival] = field(default_factory=dict)
    taken: set[int] = field(default_factory=set)
    calls: int = 0

    def post(self, request: HttpRequest, timeout_seconds: float | None = None) -> HttpReply:
        """Take a request as an HTTP transport hands it over."""
        del timeout_seconds
        self.calls += 1
        if self.mood == "refused":
            raise TransportError("connection refused", was_sent=False)
        is_import = "/import" in request.url
        records = json.loads(gzip.decompress(request.body) if is_import else request.body)
        reply = self._answer(records, is_import=is_import)
        if self.mood == "lost_reply":
            raise TransportError("connection closed", was_sent=True)
        return reply

    def abort(self) -> None:
        """Nothing runs beside the script."""

    def close(self) -> None:
        """Nothing is open."""

    def _answer(self, records: list[dict[str, object]], *, is_import: bool) -> HttpReply:
        moods = {
            "unavailable": (503, {"error": "try again"}),
            "throttled": (429, {"code": 429, "error": "rate limit", "status": "Too Many Requests"}),
            "unauthorized": (401, {"code": 401, "error": "Invalid credentials", "status": "Unauthorized"}),
            "nonsense": (200, ["<html>captive portal</html>"]),
        }
        if self.mood in moods:
            status, body = moods[self.mood]
            retry_after = float(self.rng.choice([5, 60, 4000])) if self.mood == "throttled" else None
            return HttpReply(status, json.dumps(body).encode(), retry_after)
        if self.mood == "small" and len(records) > _SMALL_PARTS:
            return HttpReply(413, json.dumps({"code": 413, "error": "request exceeds max limit"}).encode())
        numbers = [_number(record, is_import=is_import) for record in records]
        poisoned = [index for index, record in enumerate(records) if POISON in json.dumps(record)]
        if poisoned and (not is_import or self.mood == "split"):
            status = 400 if is_import else 200
            return HttpReply(status, json.dumps({"error": "bad data", "status": 0}).encode())
        for index, (number, record) in enumerate(zip(numbers, records, strict=True)):
            if index not in poisoned:
                self._take(number, record, is_import=is_import)
        if not is_import:
            return HttpReply(200, b'{"status":1,"error":null}')
        if not poisoned:
            return HttpReply(
                200, json.dumps({"code": 200, "num_records_imported": len(records), "status": "OK"}).encode()
            )
        failed = [{"index": index, "insert_id": "?", "field": "properties", "message": "bad"} for index in poisoned]
        body = {"code": 400, "num_records_imported": len(records) - len(failed), "failed_records": failed}
        return HttpReply(400, json.dumps(body | {"status": "Bad Request"}).encode())

    def _take(self, number: int, record: dict[str, object], *, is_import: bool) -> None:
        content = json.dumps(record, sort_keys=True)
        first = self.arrived.get(number)
        if first is None or not is_import:
            self.arrived[number] = Arrival(content)
        else:
            hold("I3: a repeat has the same bytes", first.content == content, first.content, content)
            first.times += 1
        self.taken.add(number)


def _number(record: dict[str, object], *, is_import: bool) -> int:
    if is_import:
        properties = record["properties"]
        assert isinstance(properties, dict)
        return int(properties["n"])
    return int(str(record["$distinct_id"]).removeprefix("i"))
