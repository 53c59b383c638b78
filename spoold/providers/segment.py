"""Segment, and what speaks its protocol: events and profiles to ``/v1/batch`` (providers.md 4, 10)."""

import base64
import gzip
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import orjson

from spoold.providers.base import (
    Delivered,
    Encoded,
    HttpReply,
    HttpRequest,
    Kind,
    Limits,
    Outcome,
    ProviderSettings,
    Retry,
    Split,
    Stamp,
    Stop,
    Unsendable,
)
from spoold.providers.http import checked_url, common_outcome, plain_text, status_reason
from spoold.providers.wire import iso_time, parsed_json
from spoold.record import Event, canonical_json

_ROUTE = "batch"
_PATH = "/v1/batch"
#: Providers.md 4.3. Above 2500 events Segment answers 200 and takes none; sizes are counted before compression, since
#: nobody says which is meant.
_MAX_PARTS = 1000
_MAX_BODY_BYTES = 475_000
_MAX_EVENT_BYTES = 32_000

#: Not the program's version: an event is the same bytes after an upgrade (I3).
_CONTEXT = {"library": {"name": "spoold", "version": "1"}}

#: The wait after a 429 that names none (providers.md 5).
_RATE_LIMITED_SECONDS = 60.0

#: Speed before size, as for Mixpanel.
_GZIP_LEVEL = 1

_SUCCESSES = range(200, 300)
_TOO_LARGE = 413
_RATE_LIMITED = 429
_CLIENT_ERRORS = range(400, 500)
#: 401 and 403 come with OAuth and from RudderStack (providers.md 5, 10); 402 and 407 are nobody's, and never about an
#: event.
_NOTHING_PASSES = frozenset({401, 402, 403, 407})
#: What Segment's own libraries send again beside 408 and 5xx (providers.md 4.4), and 425, which asks for it.
_SENT_AGAIN = frozenset({410, 425, 460})


class Segment:
    """Speaks Segment's batch API with a source's write key.

    Args:
        settings: The credential is the write key.

    Raises:
        ConfigError: The endpoint can't be the base of a URL.
    """

    def __init__(self, settings: ProviderSettings) -> None:
        self._url = checked_url(settings.endpoint, "endpoint") + _PATH
        basic = base64.b64encode(f"{settings.credential}:".encode()).decode()
        self._secrets = (basic, settings.credential)
        # The key in both places: Segment reads either, RudderStack the header alone (providers.md 4.1, 10).
        self._headers = {
            "Authorization": f"Basic {basic}",
            "Content-Type": "application/json",
            "Content-Encoding": "gzip",
        }
        self._body_head = orjson.dumps({"writeKey": settings.credential})[:-1] + b',"sentAt":"'
        limits = Limits(_MAX_PARTS, _MAX_BODY_BYTES - len(self._body((), 0)))
        self._routes: Mapping[str, Limits] = MappingProxyType({_ROUTE: limits})

    @property
    def routes(self) -> Mapping[str, Limits]:
        """The one endpoint, with the limits of providers.md 4.3 less the envelope."""
        return self._routes

    def encode(self, event: Event) -> Encoded | Unsendable:
        """``event`` as Segment's JSON (providers.md 4.2), the same bytes for the same event, always (I3).

        Nulls stay: a null trait removes it. Placeholder ids stay too: Segment forbids none, and passes them on to
        destinations that know what to do with theirs.
        """
        fields: dict[str, object] = {
            "type": event.kind,
            "messageId": event.event_id,
            "timestamp": iso_time(event.timestamp_ms),
            "context": _CONTEXT,
        }
        if event.user_id:
            fields["userId"] = event.user_id
        if event.anonymous_id or not event.user_id:
            # Somebody of its own for each event of nobody: an event without any id gets 200 and is dropped.
            fields["anonymousId"] = event.anonymous_id or event.event_id
        if event.kind == "identify":
            fields["traits"] = event.properties
        else:
            fields["event"] = event.event_name
            fields["properties"] = event.properties
        try:
            part = canonical_json(fields)
        except orjson.JSONEncodeError as exc:
            return Unsendable(plain_text(f"can't be written as JSON: {exc}"))
        if len(part) > _MAX_EVENT_BYTES:
            return Unsendable(f"{len(part)} bytes as JSON; Segment takes {_MAX_EVENT_BYTES} for one event")
        # Of two updates the later to arrive stays, and destinations read events with the profile of the moment.
        return Encoded(_ROUTE, (part,), in_order=event.kind == "identify")

    def request(self, route: str, parts: Sequence[bytes], stamp: Stamp) -> HttpRequest:
        """The POST of ``parts``.

        ``sentAt`` is the time of this attempt: Segment corrects each event's time by how far its clock is from ours,
        and a time of long ago would shift them all by what the spool held them (providers.md 4.2).
        """
        del route
        body = self._body(parts, stamp.now_ms)
        # mtime=0: the time of day must not make the same events other bytes.
        return HttpRequest(self._url, self._headers, gzip.compress(body, _GZIP_LEVEL, mtime=0))

    def read_reply(self, route: str, parts: Sequence[bytes], reply: HttpReply) -> Outcome:
        """What ``reply`` means (providers.md 4.4 and 5). Never raises.

        Segment names no single events, and answers 200 to bad ones and to bad keys: nothing better exists than a 2xx.
        """
        del route, parts
        reason = status_reason(reply, secrets=self._secrets)
        if reply.status in _SUCCESSES:
            return Delivered() if _is_success(reply.body) else Retry(plain_text(f"not an answer of Segment: {reason}"))
        if reply.status in _NOTHING_PASSES:
            return Stop(reason)
        if reply.status == _TOO_LARGE:
            return Split(reason, too_large=True)
        if reply.status == _RATE_LIMITED:
            min_seconds = _RATE_LIMITED_SECONDS if reply.retry_after_seconds is None else 0.0
            return Retry(reason, after_seconds=reply.retry_after_seconds, min_seconds=min_seconds)
        outcome = common_outcome(reply, self._secrets)
        if outcome is not None:
            return outcome
        # 400 (providers.md 5), and what nobody documents: see Mixpanel.
        is_refusal = reply.status in _CLIENT_ERRORS and reply.status not in _SENT_AGAIN
        return Split(reason) if is_refusal else Retry(reason, after_seconds=reply.retry_after_seconds)

    def _body(self, parts: Sequence[bytes], now_ms: int) -> bytes:
        return b"".join((self._body_head, iso_time(now_ms).encode(), b'","batch":[', b",".join(parts), b"]}"))


def _is_success(body: bytes) -> bool:
    """Whether a 2xx comes from a Segment: ``{"success":true}``, RudderStack's ``ok``, or nothing at all (a 204).

    Anything else that says 200 is a captive portal's or a proxy's page, or was cut off: sending it again costs a
    repeat that the message ids make harmless, and taking it for a success would lose the events.
    """
    answer = parsed_json(body)
    if isinstance(answer, dict):
        return answer.get("success") is True
    return body.strip().lower() in (b"", b"ok")


def _doubt(write_key: str) -> str:
    """Segment answers 200 to a bad key, so its looks are all there is to go by (providers.md 4.4)."""
    if re.fullmatch("[A-Za-z0-9]{24,40}", write_key):
        return ""
    return (
        "the key does not look like a write key of Segment (some 32 letters and digits); Segment answers 200 to a wrong"
        " one and drops the events: compare it with the source's settings"
    )


#: The US host is the default; Europe by name (providers.md 4.1).
KIND = Kind(
    Segment,
    endpoint="https://api.segment.io",
    regions={"us": "https://api.segment.io", "eu": "https://events.eu1.segmentapis.com"},
    credential="write_key",
    doubt_credential=_doubt,
)
