"""Amplitude: events and profiles to one endpoint, ``/2/httpapi`` or ``/batch`` (providers.md 3)."""

import gzip
import re
from collections.abc import Container, Mapping, Sequence
from types import MappingProxyType

import orjson

from spoold.providers.base import (
    Deferral,
    Delivered,
    Encoded,
    HttpReply,
    HttpRequest,
    Kind,
    Limits,
    Option,
    Outcome,
    ProviderSettings,
    Rejected,
    Retry,
    Split,
    Stamp,
    Stop,
    Unsendable,
)
from spoold.providers.http import checked_url, common_outcome, plain_text, status_reason
from spoold.providers.placeholders import FORBIDDEN_BY_AMPLITUDE, usable_id
from spoold.providers.wire import iso_time, parsed_json, whole_number
from spoold.record import Event, canonical_json

_PATHS = {"httpapi": "/2/httpapi", "batch": "/batch"}
_DEFAULT_API = "httpapi"
#: Providers.md 3.4: 2000 events; 1 MB, or 20 MB for /batch, before compression. What is left is for the envelope.
_LIMITS = {"httpapi": Limits(2000, 980_000), "batch": Limits(2000, 19_800_000)}

#: Event types that are commands: what they carry as event properties is dropped without a word.
_COMMANDS = frozenset({"$identify", "$groupidentify"})

#: For each list of a reply, by field name, what is wrong with the events in it (providers.md 3.5).
_DEAD_LISTS = {
    "events_with_invalid_fields": "is invalid",
    "events_with_missing_fields": "is missing",
    "events_with_invalid_id_lengths": "has an invalid length",
}
_SILENCED = "silenced_events"
_THROTTLED = "throttled_events"
#: For each of an event's ids, what a reply calls those that send too fast, and those whose day is used up.
_THROTTLED_IDS = {"user_id": "throttled_users", "device_id": "throttled_devices"}
_QUOTA_IDS = {"user_id": "exceeded_daily_quota_users", "device_id": "exceeded_daily_quota_devices"}

#: Providers.md 5: the least waits after a 429.
_THROTTLED_SECONDS = 30.0
_DAILY_QUOTA_SECONDS = 3600.0
_WHY_LATER = {
    0.0: "nothing of the request was stored",
    _THROTTLED_SECONDS: "throttled",
    _DAILY_QUOTA_SECONDS: "the daily quota is used up",
}
#: A firewall refuses one event for what it says, or everything for where we are (providers.md 5).
_SUSPICIOUS_FORBIDDEN = 5

#: Speed before size, as for Mixpanel.
_GZIP_LEVEL = 1

_OK = 200
_BAD_REQUEST = 400
_FORBIDDEN = 403
_TOO_LARGE = 413
_TOO_EARLY = 425
_RATE_LIMITED = 429
_CLIENT_ERRORS = range(400, 500)
#: Amplitude documents none of these; each is about the account, the proxy or the address, never about an event.
_NOTHING_PASSES = frozenset({401, 402, 407, 410})

Fields = Mapping[str, object]


class Amplitude:
    """Speaks Amplitude's HTTP API with a project's API key.

    Args:
        settings: The credential is the API key; the option ``api`` says which endpoint: ``httpapi``, or ``batch`` with
            higher limits and later results.

    Raises:
        ConfigError: The endpoint can't be the base of a URL.
    """

    def __init__(self, settings: ProviderSettings) -> None:
        endpoint = checked_url(settings.endpoint, "endpoint")
        api = str(settings.options.get("api", _DEFAULT_API))
        self._url = endpoint + _PATHS[api]
        self._api = api
        self._routes: Mapping[str, Limits] = MappingProxyType({api: _LIMITS[api]})
        self._secrets = (settings.credential,)
        # Ids of one character are ids: databases count from 1 (providers.md 3.3).
        head = {"api_key": settings.credential, "options": {"min_id_length": 1}}
        self._body_head = orjson.dumps(head)[:-1] + b',"client_upload_time":"'
        self._max_part_bytes = self._routes[api].max_body_bytes - len(self._body((), 0))
        self._headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}

    @property
    def routes(self) -> Mapping[str, Limits]:
        """The one endpoint, with the limits of providers.md 3.4."""
        return self._routes

    def encode(self, event: Event) -> Encoded | Unsendable:
        """``event`` as Amplitude's JSON (providers.md 3.2), the same bytes for the same event, always (I3)."""
        fields = _identify_fields(event) if event.kind == "identify" else _track_fields(event)
        if isinstance(fields, Unsendable):
            return fields
        try:
            part = canonical_json(fields)
        except orjson.JSONEncodeError as exc:
            return Unsendable(plain_text(f"can't be written as JSON: {exc}"))
        if len(part) > self._max_part_bytes:
            return Unsendable(f"{len(part)} bytes as JSON; Amplitude takes {self._max_part_bytes} in one request")
        # User properties apply to later events, and not to earlier ones (providers.md 3.2).
        return Encoded(self._api, (part,), in_order=event.kind == "identify")

    def request(self, route: str, parts: Sequence[bytes], stamp: Stamp) -> HttpRequest:
        """The POST of ``parts``, with the time of this attempt as the time of upload."""
        del route
        body = self._body(parts, stamp.now_ms)
        # mtime=0: the time of day must not make the same events other bytes.
        return HttpRequest(self._url, self._headers, gzip.compress(body, _GZIP_LEVEL, mtime=0))

    def read_reply(self, route: str, parts: Sequence[bytes], reply: HttpReply) -> Outcome:
        """What ``reply`` means (providers.md 3.5 and 5). Never raises.

        Nothing counts as delivered but in Amplitude's own words: a 200 that is anything else comes from a proxy or a
        captive portal. A reply that names events stored none of them, so the others go again at once; it counts at any
        status, and before what the reply says about the whole request.
        """
        del route
        answer = parsed_json(reply.body)
        fields = answer if isinstance(answer, dict) else {}
        dead = self._dead(fields, len(parts))
        waits = _waits(fields, parts)
        is_success = reply.status == _OK and _whole(fields.get("code")) == _OK
        if dead or waits:
            if not is_success:
                waits = {index: waits.get(index, 0.0) for index in range(len(parts))}
            return Delivered(tuple(dead.values()), self._deferrals(waits, dead, self._reason(reply, fields)))
        if is_success:
            return _success(fields, len(parts))
        if reply.status == _OK:
            return Retry(plain_text(f"not an answer of Amplitude: {self._reason(reply, fields)}"))
        return self._read_status(reply, fields)

    def _body(self, parts: Sequence[bytes], now_ms: int) -> bytes:
        return b"".join((self._body_head, iso_time(now_ms).encode(), b'","events":[', b",".join(parts), b"]}"))

    def _dead(self, fields: Fields, count: int) -> dict[int, Rejected]:
        """The events that are refused for good: the union of all lists."""
        notes: dict[int, list[str]] = {}
        for name, trouble in _DEAD_LISTS.items():
            listed = fields.get(name)
            for field, entries in listed.items() if isinstance(listed, dict) else ():
                for index in _indexes(entries, count):
                    notes.setdefault(index, []).append(f"{field} {trouble}")
        for index in _indexes(fields.get(_SILENCED), count):
            notes.setdefault(index, []).append("silenced")
        error = fields.get("error")
        said = error if isinstance(error, str) and error else "refused"
        return {
            index: Rejected(index, plain_text(f"{said} ({'; '.join(notes[index])})", self._secrets))
            for index in sorted(notes)
        }

    def _deferrals(self, waits: Mapping[int, float], dead: Container[int], reason: str) -> tuple[Deferral, ...]:
        # One text for all that wait alike: there may be 2000 of them.
        reasons = {wait: plain_text(f"{why}: {reason}") for wait, why in _WHY_LATER.items()}
        return tuple(
            Deferral(index, waits[index], reasons[waits[index]]) for index in sorted(waits) if index not in dead
        )

    def _read_status(self, reply: HttpReply, fields: Fields) -> Outcome:
        reason = self._reason(reply, fields)
        if reply.status in _NOTHING_PASSES or (reply.status == _BAD_REQUEST and _is_about_the_key(fields)):
            return Stop(reason)
        if reply.status == _FORBIDDEN:
            return Split(reason, suspicious_after=_SUSPICIOUS_FORBIDDEN)
        if reply.status == _TOO_LARGE:
            return Split(reason, too_large=True)
        if reply.status == _RATE_LIMITED:
            return Retry(reason, after_seconds=reply.retry_after_seconds, min_seconds=_THROTTLED_SECONDS)
        outcome = common_outcome(reply, self._secrets)
        if outcome is not None:
            return outcome
        # 400 without usable indexes (providers.md 5), and what nobody documents: see Mixpanel.
        is_refusal = reply.status in _CLIENT_ERRORS and reply.status != _TOO_EARLY
        return Split(reason) if is_refusal else Retry(reason, after_seconds=reply.retry_after_seconds)

    def _reason(self, reply: HttpReply, fields: Fields) -> str:
        error = fields.get("error")
        return status_reason(reply, error if isinstance(error, str) else "", secrets=self._secrets)


def _track_fields(event: Event) -> dict[str, object] | Unsendable:
    """One event; the caller's properties stay together, under the names that the caller gave them.

    None of them moves to the top, where Amplitude reads meaning into it: ``revenue``, ``price`` and ``quantity`` count
    as money, ``ip`` and ``country`` say where the user is, ``session_id`` when a session began, and one of the wrong
    type is a refusal of the whole event. Without a top-level ``ip`` no place is made up from where this machine stands.
    Nulls stay: they show as "(none)".
    """
    if event.event_name in _COMMANDS:
        return Unsendable(f"event name {event.event_name!r} is a command to Amplitude, which would not keep the event")
    # Names that begin with "[Amplitude]" are reserved, but taken: Amplitude's own SDKs send such events this way.
    fields = _head(event, event.event_name, _usable_ids(event))
    # Somebody of its own for each event of nobody: Amplitude deduplicates and throttles by device (providers.md 3.3).
    if not fields.keys() & {"user_id", "device_id"}:
        fields["device_id"] = event.event_id
    fields["event_properties"] = event.properties
    return fields


def _identify_fields(event: Event) -> dict[str, object] | Unsendable:
    """``$set`` for values, ``$unset`` for nulls: a property set to null might stay, as null (providers.md 3.2)."""
    ids = _usable_ids(event)
    if not any(ids):
        return Unsendable(
            f"user id {event.user_id!r} is a placeholder that Amplitude refuses" if event.user_id else "no user id"
        )
    values = {name: value for name, value in event.properties.items() if value is not None}
    unset = {name: "-" for name, value in event.properties.items() if value is None}
    operations: dict[str, object] = {}
    if values or not unset:
        operations["$set"] = values
    if unset:
        operations["$unset"] = unset
    return {**_head(event, "$identify", ids), "user_properties": operations}


def _head(event: Event, event_type: str, ids: tuple[str, str]) -> dict[str, object]:
    """What, who, when and which: all that deduplication compares comes from the accepted event alone."""
    user_id, device_id = ids
    fields: dict[str, object] = {
        "event_type": event_type,
        "time": event.timestamp_ms,
        "insert_id": event.event_id,
    }
    if user_id:
        fields["user_id"] = user_id
    if device_id:
        fields["device_id"] = device_id
    return fields


def _usable_ids(event: Event) -> tuple[str, str]:
    return (
        usable_id(event.user_id, FORBIDDEN_BY_AMPLITUDE),
        usable_id(event.anonymous_id, FORBIDDEN_BY_AMPLITUDE),
    )


def _success(fields: Fields, sent: int) -> Delivered:
    taken = _whole(fields.get("events_ingested"))
    is_short = taken is not None and taken != sent
    return Delivered(warning=f"Amplitude counts {taken} events where {sent} were to be taken" if is_short else "")


def _is_about_the_key(fields: Fields) -> bool:
    """Amplitude says 400 to a wrong key, not 401 (providers.md 3.5)."""
    error = fields.get("error")
    is_wrong = isinstance(error, str) and error.lower().startswith("invalid api key")
    return is_wrong or fields.get("missing_field") == "api_key"


def _waits(fields: Fields, parts: Sequence[bytes]) -> dict[int, float]:
    """The events that must wait, in seconds; a day's quota outlasts a throttling.

    The list of throttled events is exact. Where it names none, the ids beside it have to do.
    """
    throttled = _indexes(fields.get(_THROTTLED), len(parts)) or _sent_by(fields, _THROTTLED_IDS, parts)
    waits = dict.fromkeys(throttled, _THROTTLED_SECONDS)
    return waits | dict.fromkeys(_sent_by(fields, _QUOTA_IDS, parts), _DAILY_QUOTA_SECONDS)


def _sent_by(fields: Fields, lists: Mapping[str, str], parts: Sequence[bytes]) -> list[int]:
    """The events whose ``user_id`` or ``device_id`` is in the reply's list of such ids."""
    named: dict[str, set[str]] = {}
    for key, name in lists.items():
        listed = fields.get(name)
        if isinstance(listed, dict | list):
            named[key] = {entry for entry in listed if isinstance(entry, str)}
    if not any(named.values()):
        return []
    events = map(orjson.loads, parts)
    return [index for index, event in enumerate(events) if any(event.get(key) in named[key] for key in named)]


def _indexes(listed: object, count: int) -> list[int]:
    """What of ``listed`` can be a position in a request of ``count`` events, each once."""
    found = map(_whole, listed) if isinstance(listed, list) else ()
    return list(dict.fromkeys(index for index in found if index is not None and 0 <= index < count))


def _whole(value: object) -> int | None:
    """``value`` as an integer, whether it came as a number or as its digits."""
    return int(value) if isinstance(value, str) and re.fullmatch("[0-9]{1,9}", value) else whole_number(value)


#: The US host is the default; Europe by name (providers.md 3.1).
KIND = Kind(
    Amplitude,
    endpoint="https://api2.amplitude.com",
    regions={"us": "https://api2.amplitude.com", "eu": "https://api.eu.amplitude.com"},
    options={"api": Option("string", _DEFAULT_API, choices=tuple(_PATHS))},
)
