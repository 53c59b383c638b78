"""Webhook: batches of events to any URL, signed by Standard Webhooks 1.0.0 (providers.md 8).

The body is a JSON array, of one event too. Its elements have an event's fields (``event_id``, ``type``,
``event_name``, ``user_id``, ``anonymous_id``, ``properties``, ``timestamp_ms``, ``received_at_ms``), or
CloudEvents 1.0. ``webhook-id`` names the batch, whose events are the same on each attempt; each event has an id of its
own besides, to be known again by.

What is guarded: a redirect is never followed, a reply's body is read only to tell the owner what it says, and no header
of ours can be replaced. What is not: the URL is the owner's own word, so it may name a host of the private network, and
the name's address is not checked. Who may write the configuration may send events anywhere.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import orjson

from spoold.errors import ConfigError
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
    Retry,
    Split,
    Stamp,
    Stop,
    Unsendable,
    whole_option,
)
from spoold.providers.http import checked_url, common_outcome, plain_text, status_reason
from spoold.providers.wire import iso_time
from spoold.record import Event, canonical_json, event_fields

_ROUTE = "hook"
#: One batch of ``batch.size`` events as it is configured by default. A receiver that wants a backlog in larger requests
#: says so: CloudEvents asks for its consent, and many take no body above some 100 KB.
_MAX_EVENTS = 50
_MAX_EVENTS_BOUNDS = (1, 1000)
#: What nginx takes by default, and room for the largest event that the door can be told to take.
_MAX_BODY_BYTES = 1_048_576

_JSON = "json"
_CLOUDEVENTS = "cloudevents"
_CONTENT_TYPES = {_JSON: "application/json", _CLOUDEVENTS: "application/cloudevents-batch+json"}
_SOURCE = "spoold"

_SECRET_PREFIX = "whsec_"  # noqa: S105 - what each secret begins with
_SECRET_BYTES = range(24, 65)

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")
_URI_REFERENCE = re.compile(r"(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+")
#: Headers that say how the body is framed, typed and signed, or that belong to the connection.
_OUR_HEADERS = frozenset(
    {"host", "content-length", "content-type", "content-encoding", "transfer-encoding", "connection", "keep-alive"}
    | {"accept-encoding", "expect", "te", "trailer", "upgrade"}
)
_OUR_PREFIX = "webhook-"
#: A word of a header's value that may be the credential behind ``Bearer``; shorter ones are too common to be masked.
_MIN_TOKEN_CHARACTERS = 8

_OK = range(200, 300)
_TOO_LARGE = 413
_TOO_EARLY = 425
_RATE_LIMITED = 429
_CLIENT_ERRORS = range(400, 500)
#: 401, 403 and 410 by providers.md 5. The others are about the account, the proxy, the URL, the format or the headers,
#: which each request has in common: never about an event.
_NOTHING_PASSES = frozenset({401, 402, 403, 407, 410, 414, 415, 431})
#: "A few times" (providers.md 5): receivers answer 400 when something behind them is out, too.
_RETRIES = 3


class Webhook:
    """Posts to the URL that the lane names.

    Args:
        settings: ``endpoint`` is the full URL, kept as it is. The credential is one secret or several with blanks
            between them, each of which makes a signature (to change keys without a gap); without one nothing is signed.

    Raises:
        ConfigError: The endpoint is no URL, a secret is none of Standard Webhooks, a header can't be sent or is one of
            ours, or the source is no URI reference.
    """

    def __init__(self, settings: ProviderSettings) -> None:
        self._url = _checked_endpoint(settings.endpoint)
        self._keys = [_key(text) for text in settings.credential.split() or [""]] if settings.credential else []
        self._format = str(settings.options.get("format", _JSON))
        self._source = _checked_source(settings.options.get("source", _SOURCE))
        further = _checked_headers(settings.options.get("headers"))
        self._headers: Mapping[str, str] = {**further, "Content-Type": _CONTENT_TYPES[self._format]}
        self._routes: Mapping[str, Limits] = MappingProxyType(
            {_ROUTE: Limits(whole_option(settings, "max_events", _MAX_EVENTS), _MAX_BODY_BYTES, keeps_batches=True)}
        )
        self._secrets = _secrets(settings.credential, further, self._url)

    @property
    def routes(self) -> Mapping[str, Limits]:
        """One, which keeps its batches: receivers know them by ``webhook-id`` (providers.md 8)."""
        return self._routes

    def encode(self, event: Event) -> Encoded | Unsendable:
        """``event`` as an element of the array, the same bytes for the same event, always (I3).

        Profiles go in order: who stores the last one as it comes must not be left with an older one.
        """
        fields = _json_fields(event) if self._format == _JSON else self._cloudevent(event)
        try:
            part = canonical_json(fields)
        except orjson.JSONEncodeError as exc:
            return Unsendable(plain_text(f"can't be written as JSON: {exc}"))
        size = len(part) + 2
        if size > _MAX_BODY_BYTES:
            return Unsendable(f"{size} bytes as JSON; a request holds at most {_MAX_BODY_BYTES}")
        return Encoded(_ROUTE, (part,), in_order=event.kind == "identify")

    def request(self, route: str, parts: Sequence[bytes], stamp: Stamp) -> HttpRequest:
        """The POST of ``parts`` as one JSON array, never compressed: what is signed are the bytes that are sent."""
        del route
        body = b"[" + b",".join(parts) + b"]"
        webhook_id, seconds = f"msg_{stamp.batch_id}", str(stamp.now_ms // 1000)
        headers = {**self._headers, "webhook-id": webhook_id, "webhook-timestamp": seconds}
        if self._keys:
            signed = f"{webhook_id}.{seconds}.".encode() + body
            headers["webhook-signature"] = " ".join(_signature(key, signed) for key in self._keys)
        return HttpRequest(self._url, headers, body)

    def read_reply(self, route: str, parts: Sequence[bytes], reply: HttpReply) -> Outcome:
        """What ``reply`` means (providers.md 5 and 8). Never raises.

        Any 2xx is a success whatever it says, and nothing else is. No reply tells one event from another.
        """
        del route, parts
        if reply.status in _OK:
            return Delivered()
        reason = status_reason(reply, secrets=self._secrets)
        if reply.status in _NOTHING_PASSES:
            return Stop(reason)
        if reply.status == _TOO_LARGE:
            return Split(reason, too_large=True)
        outcome = common_outcome(reply, self._secrets)
        if outcome is not None:
            return outcome
        if reply.status in _CLIENT_ERRORS and reply.status not in (_TOO_EARLY, _RATE_LIMITED):
            # 400, 422 and what nobody documents: halving finds the event, if it is one.
            return Split(reason, retries=_RETRIES)
        return Retry(reason, after_seconds=reply.retry_after_seconds)

    def _cloudevent(self, event: Event) -> dict[str, object]:
        """CloudEvents 1.0 (providers.md 8): what has no attribute there is an extension, so that nothing is lost."""
        fields: dict[str, object] = {
            "specversion": "1.0",
            "id": event.event_id,
            "source": self._source,
            "type": f"spoold.{event.kind}.v1",
            "time": iso_time(event.timestamp_ms),
            "recordedtime": iso_time(event.received_at_ms),
            "datacontenttype": "application/json",
            "data": event.properties,
        }
        # An attribute that is there must not be empty.
        who = {"subject": event.user_id, "anonymousid": event.anonymous_id, "eventname": event.event_name}
        return fields | {name: value for name, value in who.items() if value}


def _json_fields(event: Event) -> dict[str, object]:
    # Not the place in this machine's journal: a receiver of several machines would see each number many times.
    return {name: value for name, value in event_fields(event).items() if name != "seq"}


def _signature(key: bytes, signed: bytes) -> str:
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(_SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(_SECRET_PREFIX) or len(key) not in _SECRET_BYTES:
        raise ConfigError(
            f"secret: not as Standard Webhooks has it: write {_SECRET_PREFIX} and the base64 of 24 to 64 random bytes,"
            f' such as "{_SECRET_PREFIX}$(openssl rand -base64 32)" makes; several have a blank between them',
            key="secret",
        )
    return key


def _checked_endpoint(url: str) -> str:
    """``url`` as it is: a slash at its end and a query are part of where a receiver listens."""
    if not url:
        raise ConfigError(
            "endpoint: is missing: name the full URL to post to, such as https://host/hook", key="endpoint"
        )
    base, _, query = url.partition("?")
    checked_url(base, "endpoint")
    if re.search(r"[\s\x00-\x1f\x7f#]", query):
        raise ConfigError("endpoint: the URL holds a blank or a #; write them as %20 and %23", key="endpoint")
    return url


def _checked_source(source: object) -> str:
    if not isinstance(source, str) or _URI_REFERENCE.fullmatch(source) is None:
        raise ConfigError(
            f"source: {source!r} is no URI reference; write it as spoold, /spoold/eu or https://host/spoold",
            key="source",
        )
    return source


def _checked_headers(headers: object) -> Mapping[str, str]:
    further = dict(headers) if isinstance(headers, Mapping) else {}
    seen: set[str] = set()
    for name, value in further.items():
        known = name.lower()
        if _HEADER_NAME.fullmatch(name) is None:
            raise ConfigError(
                f"headers: {name!r} is no name of an HTTP header; use letters, digits and -", key="headers"
            )
        if known in _OUR_HEADERS or known.startswith(_OUR_PREFIX):
            raise ConfigError(f"headers: {name!r} is set by spoold or by the connection; remove it", key="headers")
        if known in seen:
            raise ConfigError(f"headers: {name!r} stands there twice, in other letters; remove one", key="headers")
        if _HEADER_VALUE.fullmatch(value) is None:
            raise ConfigError(
                f"headers: the value of {name!r} is empty, or not printable ASCII without blanks around it",
                key="headers",
            )
        seen.add(known)
    return further


def _secrets(credential: str, headers: Mapping[str, str], url: str) -> tuple[str, ...]:
    """What must not be told, should a receiver repeat it: wholes before their parts."""
    given = [*headers.values(), *credential.split(), url.partition("?")[2]]
    words = [word for value in headers.values() for word in value.split() if len(word) >= _MIN_TOKEN_CHARACTERS]
    return (*given, *words, *(text.removeprefix(_SECRET_PREFIX) for text in credential.split()))


#: No default endpoint: each lane names its own.
KIND = Kind(
    Webhook,
    credential="secret",
    needs_credential=False,
    # Each of several signs while they are changed (providers.md 8).
    takes_several=True,
    options={
        "format": Option(default=_JSON, choices=(_JSON, _CLOUDEVENTS)),
        "source": Option(default=_SOURCE),
        "headers": Option("table", is_secret=True),
        "max_events": Option("integer", _MAX_EVENTS, bounds=_MAX_EVENTS_BOUNDS),
    },
)
