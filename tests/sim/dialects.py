"""How each kind of provider is spoken to in the simulated world: what a request holds, and how it is answered.

Written from the fact sheet (providers.md), not from the program: what a reply means is for the program to find out.
"""

import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from spoold.providers.amplitude import Amplitude
from spoold.providers.base import HttpReply, HttpRequest, Provider, ProviderSettings
from spoold.providers.mixpanel import Mixpanel
from spoold.providers.segment import Segment
from spoold.providers.webhook import Webhook

Json = dict[str, Any]

_ENDPOINT = "http://sim.invalid"
_KEY = "sim-token"
_PORTAL = (200, ["<html>captive portal</html>"])


class Told(NamedTuple):
    """An event as a provider understood it.

    Attributes:
        name: Empty for a profile.
        time_ms: None where the provider is not told.
        event_id: None likewise.
    """

    name: str
    user_id: str
    time_ms: int | None
    event_id: str | None
    properties: Json


@dataclass(frozen=True)
class Letter:
    """A request, opened.

    Attributes:
        takes_profiles: Whether its records are profiles of an endpoint of their own.
    """

    records: list[Json]
    takes_profiles: bool = False


class Dialect(Protocol):
    """One kind of provider.

    Attributes:
        lists_bad: Whether it says which records are bad; else it only refuses.
        keeps_rest: Whether it stores the others then.
        keeps_batches: Its receivers know a request again by its events.
        has_profile_route: Profiles go to an endpoint of their own.
        unauthorized: What it says to a wrong key.
        nonsense: A reply that comes from somebody else: a captive portal, where its own replies can be told from that.
    """

    kind: str
    lists_bad: bool
    keeps_rest: bool
    keeps_batches: bool
    has_profile_route: bool
    unauthorized: tuple[int, object]
    nonsense: tuple[int, object]

    def provider(self) -> Provider: ...

    def open(self, request: HttpRequest) -> Letter: ...

    def tell(self, record: Json) -> Told: ...

    def well(self, letter: Letter, bad: Sequence[int]) -> HttpReply: ...

    def throttled(self, indexes: Sequence[int]) -> HttpReply | None:
        """A reply that puts off single records; None where there is no such thing."""
        ...


class MixpanelDialect:
    kind = "mixpanel"
    lists_bad = True
    keeps_rest = True
    keeps_batches = False
    has_profile_route = True
    unauthorized: tuple[int, object] = (401, {"code": 401, "error": "Invalid credentials", "status": "Unauthorized"})
    nonsense: tuple[int, object] = _PORTAL

    def provider(self) -> Provider:
        return Mixpanel(ProviderSettings(_ENDPOINT, _KEY))

    def open(self, request: HttpRequest) -> Letter:
        if "/import" in request.url:
            return Letter(json.loads(gzip.decompress(request.body)))
        return Letter(json.loads(request.body), takes_profiles=True)

    def tell(self, record: Json) -> Told:
        if "$set" in record:
            return Told("", record["$distinct_id"], None, None, dict(record["$set"]))
        properties = dict(record["properties"])
        time_ms, event_id = properties.pop("time"), properties.pop("$insert_id")
        user_id = properties.pop("distinct_id")
        assert (properties.pop("$user_id"), properties.pop("ip")) == (user_id, "0")
        return Told(record["event"], user_id, time_ms, event_id, properties)

    def well(self, letter: Letter, bad: Sequence[int]) -> HttpReply:
        if letter.takes_profiles:
            return reply(200, {"error": "bad data", "status": 0} if bad else {"status": 1, "error": None})
        count = len(letter.records) - len(bad)
        if not bad:
            return reply(200, {"code": 200, "num_records_imported": count, "status": "OK"})
        failed = [{"index": index, "insert_id": "?", "field": "properties", "message": "bad"} for index in bad]
        return reply(
            400, {"code": 400, "status": "Bad Request", "num_records_imported": count, "failed_records": failed}
        )

    def throttled(self, indexes: Sequence[int]) -> HttpReply | None:
        del indexes
        return None


class AmplitudeDialect:
    kind = "amplitude"
    lists_bad = True
    keeps_rest = False
    keeps_batches = False
    has_profile_route = False
    unauthorized: tuple[int, object] = (400, {"code": 400, "error": "Invalid API key: sim-token"})
    nonsense: tuple[int, object] = _PORTAL

    def provider(self) -> Provider:
        return Amplitude(ProviderSettings(_ENDPOINT, _KEY))

    def open(self, request: HttpRequest) -> Letter:
        return Letter(json.loads(gzip.decompress(request.body))["events"])

    def tell(self, record: Json) -> Told:
        time_ms, event_id, user_id = record["time"], record["insert_id"], record["user_id"]
        if record["event_type"] == "$identify":
            return Told("", user_id, time_ms, event_id, record["user_properties"]["$set"])
        return Told(record["event_type"], user_id, time_ms, event_id, record["event_properties"])

    def well(self, letter: Letter, bad: Sequence[int]) -> HttpReply:
        if bad:
            return reply(400, {"code": 400, "error": "bad", "events_with_invalid_fields": {"text": list(bad)}})
        return reply(200, {"code": 200, "events_ingested": len(letter.records)})

    def throttled(self, indexes: Sequence[int]) -> HttpReply | None:
        return reply(429, {"code": 429, "error": "Too many requests", "throttled_events": list(indexes)})


class SegmentDialect:
    kind = "segment"
    lists_bad = False
    keeps_rest = False
    keeps_batches = False
    has_profile_route = False
    unauthorized: tuple[int, object] = (401, {"success": False})
    nonsense: tuple[int, object] = _PORTAL

    def provider(self) -> Provider:
        return Segment(ProviderSettings(_ENDPOINT, _KEY))

    def open(self, request: HttpRequest) -> Letter:
        return Letter(json.loads(gzip.decompress(request.body))["batch"])

    def tell(self, record: Json) -> Told:
        time_ms = round(datetime.fromisoformat(record["timestamp"]).timestamp() * 1000)
        content = record["traits" if record["type"] == "identify" else "properties"]
        return Told(record.get("event", ""), record["userId"], time_ms, record["messageId"], content)

    def well(self, letter: Letter, bad: Sequence[int]) -> HttpReply:
        del letter
        return HttpReply(400, b"Bad Request") if bad else reply(200, {"success": True})

    def throttled(self, indexes: Sequence[int]) -> HttpReply | None:
        del indexes
        return None


class WebhookDialect:
    kind = "webhook"
    lists_bad = False
    keeps_rest = False
    keeps_batches = True
    has_profile_route = False
    unauthorized: tuple[int, object] = (401, {})
    # Any 2xx is a success (providers.md 8).
    nonsense: tuple[int, object] = (302, {})

    def provider(self) -> Provider:
        return Webhook(ProviderSettings(f"{_ENDPOINT}/hook", "", {}))

    def open(self, request: HttpRequest) -> Letter:
        return Letter(json.loads(request.body))

    def tell(self, record: Json) -> Told:
        name = record["event_name"]
        return Told(name, record["user_id"], record["timestamp_ms"], record["event_id"], record["properties"])

    def well(self, letter: Letter, bad: Sequence[int]) -> HttpReply:
        del letter
        return HttpReply(422 if bad else 204, b"")

    def throttled(self, indexes: Sequence[int]) -> HttpReply | None:
        del indexes
        return None


DIALECTS: Mapping[str, Dialect] = {
    dialect.kind: dialect for dialect in (MixpanelDialect(), AmplitudeDialect(), SegmentDialect(), WebhookDialect())
}


def reply(status: int, body: object) -> HttpReply:
    """A reply with a JSON body."""
    return HttpReply(status, json.dumps(body).encode())
