"""Mixpanel: events to ``/import``, profiles to ``/engage`` (providers.md 2)."""

import base64
import gzip
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import orjson

from spoold.providers.base import (
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
    whole_option,
)
from spoold.providers.http import checked_url, common_outcome, plain_text, status_reason
from spoold.providers.placeholders import FORBIDDEN_BY_MIXPANEL, usable_id
from spoold.providers.wire import parsed_json, whole_number
from spoold.record import Event, canonical_json

#: Providers.md 2.4.
_MAX_PARTS = 2000
#: 1.9 MB is right whether the provider's cap is 2 MiB or 10 MB (providers.md 11, 1); 9.5 MB where it is 10.
_MAX_BODY_BYTES = 1_900_000
_MAX_BODY_BOUNDS = (100_000, 9_500_000)
_PATHS = {"import": "/import?strict=1", "engage": "/engage?verbose=1&strict=1&ip=0"}

#: Property names that say who, when and which event; ours stand there, or nothing does.
_RESERVED = frozenset({"time", "distinct_id", "$insert_id", "$user_id", "$device_id", "token"})

#: Mixpanel's advice after a 429: start at 2 s, add 1 to 5 s of jitter (providers.md 2.5).
_RATE_LIMIT_MIN_SECONDS = 2.0
_RATE_LIMIT_JITTER_SECONDS = (1.0, 5.0)

#: Speed before size: level 6 takes twice the CPU for a tenth fewer bytes.
_GZIP_LEVEL = 1

_OK = 200
_BAD_REQUEST = 400
_TOO_LARGE = 413
_TOO_EARLY = 425
_RATE_LIMITED = 429
_CLIENT_ERRORS = range(400, 500)
#: 401 and 403 are Mixpanel's (providers.md 5). It documents none of 402, 407 and 410; each is about the account, the
#: proxy or the address, never about an event.
_NOTHING_PASSES = frozenset({401, 402, 403, 407, 410})


class _Failures(NamedTuple):
    """What ``failed_records`` says: the parts that are named, and whether every entry names one."""

    dead: tuple[Rejected, ...]
    is_clear: bool


class Mixpanel:
    """Speaks Mixpanel's ingestion API with a project token.

    Who, when and which event an event is decides Mixpanel's deduplication (event, time, distinct_id, ``$insert_id``),
    so those come from the accepted event alone: a caller's properties ``time``, ``distinct_id``, ``$insert_id``,
    ``$user_id``, ``$device_id`` and ``token`` are not sent.

    Args:
        settings: The credential is the project token; the option ``max_body_bytes`` bounds a request.

    Raises:
        ConfigError: The endpoint can't be the base of a URL.
    """

    def __init__(self, settings: ProviderSettings) -> None:
        self.endpoint = checked_url(settings.endpoint, "endpoint")
        self._token = settings.credential
        # The token alone with an empty password: no project_id needed (providers.md 2.1).
        basic = base64.b64encode(f"{self._token}:".encode()).decode()
        self._secrets = (basic, self._token)
        self._max_body_bytes = whole_option(settings, "max_body_bytes", _MAX_BODY_BYTES)
        limits = Limits(_MAX_PARTS, self._max_body_bytes)
        self._routes: Mapping[str, Limits] = MappingProxyType({"import": limits, "engage": limits})
        self._headers: Mapping[str, Mapping[str, str]] = {
            "import": {
                "Authorization": f"Basic {basic}",
                "Content-Type": "application/json",
                "Content-Encoding": "gzip",
            },
            # No gzip: /engage does not take it (providers.md 1). The token is in each record.
            "engage": {"Content-Type": "application/json"},
        }

    @property
    def routes(self) -> Mapping[str, Limits]:
        """Events before profiles, with the limits of providers.md 2.4."""
        return self._routes

    def encode(self, event: Event) -> Encoded | Unsendable:
        """``event`` as Mixpanel's JSON (providers.md 2.2), the same bytes for the same event, always (I3)."""
        try:
            encoded = self._encode_identify(event) if event.kind == "identify" else _encode_track(event)
        except orjson.JSONEncodeError as exc:
            return Unsendable(plain_text(f"can't be written as JSON: {exc}"))
        if isinstance(encoded, Encoded) and (size := _body_bytes(encoded.parts)) > self._max_body_bytes:
            return Unsendable(f"{size} bytes as JSON; Mixpanel takes less than 1 MB for one event")
        return encoded

    def request(self, route: str, parts: Sequence[bytes], stamp: Stamp) -> HttpRequest:
        """The POST of ``parts`` as one JSON array; Mixpanel is not told when."""
        del stamp
        body = b"[" + b",".join(parts) + b"]"
        if route == "import":
            # mtime=0: the time of day must not make the same events other bytes.
            body = gzip.compress(body, _GZIP_LEVEL, mtime=0)
        return HttpRequest(self.endpoint + _PATHS[route], self._headers[route], body)

    def read_reply(self, route: str, parts: Sequence[bytes], reply: HttpReply) -> Outcome:
        """What ``reply`` means (providers.md 2.5 and 5). Never raises.

        Nothing counts as delivered but in Mixpanel's own words: a 200 that is anything else comes from a proxy or a
        captive portal, so the whole request is sent again. ``failed_records`` count at any status, provided that
        the reply also accounts for every record that it does not list.
        """
        answer = parsed_json(reply.body)
        fields = answer if isinstance(answer, dict) else {}
        outcome = self._read_failures(route, len(parts), reply, fields)
        if outcome is None and reply.status == _OK:
            outcome = self._read_success(route, len(parts), reply, answer)
        return outcome or self._read_status(reply, fields)

    def _encode_identify(self, event: Event) -> Encoded | Unsendable:
        """``$set`` for values, ``$unset`` for nulls; one operator per record (providers.md 2.2).

        A property set to null would stay, as null. Both operators are idempotent, so a repeat is harmless.
        """
        user_id, device_id = _usable_ids(event)
        distinct_id = user_id or _device(device_id)
        if not distinct_id:
            return Unsendable(
                f"user id {event.user_id!r} is a placeholder that Mixpanel refuses" if event.user_id else "no user id"
            )
        head = {"$token": self._token, "$distinct_id": distinct_id, "$ip": "0"}
        values = {name: value for name, value in event.properties.items() if value is not None}
        nulls = sorted(name for name, value in event.properties.items() if value is None)
        records: list[dict[str, object]] = []
        if values or not nulls:
            records.append({**head, "$set": values})
        if nulls:
            records.append({**head, "$unset": nulls})
        return Encoded("engage", tuple(canonical_json(record) for record in records), in_order=True)

    def _read_failures(self, route: str, parts: int, reply: HttpReply, fields: Mapping[str, object]) -> Outcome | None:
        """What a reply with ``failed_records`` means; None when it has none, or they settle nothing."""
        listed = fields.get("failed_records")
        if not isinstance(listed, list) or not listed:
            return None
        dead, is_clear = self._failures(listed, parts)
        taken = _taken(fields)
        is_counted = len(dead) == parts or (taken is not None and taken + len(dead) >= parts)
        if is_clear and (is_counted or _vouches_for_rest(route, reply.status, fields, taken)):
            is_exact = taken is None or taken + len(dead) == parts
            return Delivered(dead=dead, warning="" if is_exact else _mismatch(parts - len(dead), taken))
        if reply.status == _OK:
            # Some were refused, but which, or what became of the others, stays open: find out one by one.
            return Split(self._reason(reply, fields))
        return None

    def _failures(self, listed: Sequence[object], parts: int) -> _Failures:
        """The listed records by index: their ids come in two spellings, the index in one (providers.md 11, 3)."""
        reasons: dict[int, list[str]] = {}
        is_clear = True
        for entry in listed:
            index = _index(entry.get("index"), parts) if isinstance(entry, dict) else None
            if isinstance(entry, dict) and index is not None:
                reasons.setdefault(index, []).append(_failure_text(entry))
            else:
                is_clear = False
        dead = tuple(Rejected(index, self._words(reasons[index])) for index in sorted(reasons))
        return _Failures(dead, is_clear)

    def _words(self, said: Sequence[str]) -> str:
        # Asked last: what is left of words that nobody can print is nothing.
        return plain_text("; ".join(said), self._secrets) or "refused without a reason"

    def _read_success(self, route: str, parts: int, reply: HttpReply, answer: object) -> Outcome:
        fields = answer if isinstance(answer, dict) else {}
        taken = _taken(fields)
        is_short = taken is not None and taken != parts
        delivered = Delivered(warning=_mismatch(parts, taken) if is_short else "")
        if route == "import":
            if _is_number(fields.get("code"), _OK):
                return delivered
        elif fields.get("error") or _is_number(fields.get("status"), 0) or _is_number(answer, 0):
            return Split(self._reason(reply, fields))
        elif _is_engage_success(answer):
            return delivered
        return Retry(plain_text(f"not an answer of Mixpanel: {self._reason(reply, fields)}"))

    def _read_status(self, reply: HttpReply, fields: Mapping[str, object]) -> Outcome:
        reason = self._reason(reply, fields)
        if reply.status in _NOTHING_PASSES:
            return Stop(reason)
        if reply.status == _TOO_LARGE:
            return Split(reason, too_large=True)
        if reply.status == _RATE_LIMITED:
            return Retry(
                reason,
                after_seconds=reply.retry_after_seconds,
                min_seconds=_RATE_LIMIT_MIN_SECONDS,
                extra_jitter_seconds=_RATE_LIMIT_JITTER_SECONDS,
            )
        outcome = common_outcome(reply, self._secrets)
        if outcome is not None:
            return outcome
        if reply.status in _CLIENT_ERRORS and reply.status != _TOO_EARLY:
            # 400 without usable failed_records (providers.md 5), and what nobody documents: a firewall that dislikes
            # one event answers 406 or 422. Halving finds it; a run of equal refusals stops the lane (design 5).
            return Split(reason)
        return Retry(reason, after_seconds=reply.retry_after_seconds)

    def _reason(self, reply: HttpReply, fields: Mapping[str, object]) -> str:
        error = fields.get("error")
        return status_reason(reply, error if isinstance(error, str) else "", secrets=self._secrets)


def _encode_track(event: Event) -> Encoded:
    user_id, device_id = _usable_ids(event)
    properties = event.properties.copy()
    if not _RESERVED.isdisjoint(properties):
        properties = {name: value for name, value in properties.items() if name not in _RESERVED}
    properties["time"] = event.timestamp_ms
    properties["$insert_id"] = event.event_id
    # "" when there is nobody: without a distinct_id Mixpanel makes one user of all our events (providers.md 2.3).
    properties["distinct_id"] = user_id or _device(device_id)
    # Without an ip Mixpanel places the user where this machine stands (providers.md 2.2).
    properties["ip"] = properties.get("ip") or "0"
    if user_id:
        properties["$user_id"] = user_id
    if device_id:
        properties["$device_id"] = device_id
    return Encoded("import", (canonical_json({"event": event.event_name, "properties": properties}),))


def _usable_ids(event: Event) -> tuple[str, str]:
    return (
        usable_id(event.user_id, FORBIDDEN_BY_MIXPANEL),
        usable_id(event.anonymous_id, FORBIDDEN_BY_MIXPANEL),
    )


def _device(device_id: str) -> str:
    """The distinct id that Mixpanel itself derives from a device id (providers.md 2.3)."""
    return f"$device:{device_id}" if device_id else ""


def _body_bytes(parts: Sequence[bytes]) -> int:
    """Length of ``parts`` as a JSON array."""
    return sum(map(len, parts)) + len(parts) + 1


def _is_number(value: object, number: int) -> bool:
    return whole_number(value) == number


def _index(value: object, parts: int) -> int | None:
    index = whole_number(value)
    return index if index is not None and 0 <= index < parts else None


def _taken(fields: Mapping[str, object]) -> int | None:
    """How many records the provider says it took; ``num_good_events`` is what /engage calls it (providers.md 2.5)."""
    taken = whole_number(fields.get("num_records_imported"))
    return taken if taken is not None else whole_number(fields.get("num_good_events"))


def _mismatch(expected: int, taken: int | None) -> str:
    return f"Mixpanel counts {taken} records where {expected} were to be taken"


def _vouches_for_rest(route: str, status: int, fields: Mapping[str, object], taken: int | None) -> bool:
    """Whether a reply that lists some records took the others, although its count does not say so.

    ``/import`` says it with code 200; a 400 without a count leaves it open (providers.md 5: split). ``/engage`` has no
    documented shape: the word about single records wins, unless a count contradicts it.
    """
    if route == "import":
        return status == _OK and _is_number(fields.get("code"), _OK)
    return status in (_OK, _BAD_REQUEST) and taken is None


def _failure_text(entry: Mapping[str, object]) -> str:
    """The provider's message, with the field unless the message names it; empty when it gives none."""
    said = [value for value in (entry.get("message"), entry.get("field")) if isinstance(value, str) and value.strip()]
    if not said:
        return ""
    return said[0] if len(said) == 1 or said[1] in said[0] else f"{said[0]} (field {said[1]})"


def _is_engage_success(answer: object) -> bool:
    """``1``, or ``status`` 1, or the shape of /import's success, which a strict /engage may share (unverified)."""
    if isinstance(answer, dict):
        return _is_number(answer.get("status"), 1) or _is_number(answer.get("code"), _OK)
    return _is_number(answer, 1)


#: The US host is the default; Europe and India by name (providers.md 2.1).
KIND = Kind(
    Mixpanel,
    endpoint="https://api.mixpanel.com",
    regions={
        "us": "https://api.mixpanel.com",
        "eu": "https://api-eu.mixpanel.com",
        "in": "https://api-in.mixpanel.com",
    },
    options={"max_body_bytes": Option("integer", _MAX_BODY_BYTES, bounds=_MAX_BODY_BOUNDS)},
)
