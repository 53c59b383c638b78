"""What Segment demands, and what it answers (providers.md 4), for ``provider_server``: 200, but for the grossest."""

import base64
from datetime import datetime
from typing import Any

import orjson

from tests.support.provider_taken import Refusal, Taken
from tests.support.provider_wire import Json, Reply, Request, parsed

_MAX_EVENTS = 2500
_MAX_BODY_BYTES = 500_000
_MAX_EVENT_BYTES = 32_768
_MAX_ID_CHARACTERS = 99
#: What goes by as a key; whether it is one is found out later, and told nobody.
_MIN_KEY_CHARACTERS = 5
_FIELDS = frozenset({"type", "messageId", "userId", "anonymousId", "timestamp", "context"})
_CONTENT = {"track": {"event", "properties"}, "identify": {"traits"}}
_SUCCESS = Reply(200, {"success": True})


def answer(request: Request, body: bytes | None, taken: Taken) -> Reply:
    """Segment's reply; what is bad is dropped without a word."""
    envelope = parsed(body)
    if body is None or not isinstance(envelope, dict) or not isinstance(envelope.get("batch"), list):
        return Reply(400, b"Bad Request")
    sizes = [len(orjson.dumps(event)) for event in envelope["batch"]]
    if len(body) > _MAX_BODY_BYTES or any(size > _MAX_EVENT_BYTES for size in sizes):
        return Reply(400, b"Exceed payload limit")
    key = envelope.get("writeKey") or _basic_user(request.headers.get("authorization", ""))
    if not isinstance(key, str) or len(key) < _MIN_KEY_CHARACTERS:
        return Reply(400, b"Bad Request")
    if key != taken.token or len(request.records) > _MAX_EVENTS or not _is_time(envelope.get("sentAt")):
        return _SUCCESS
    if any(taken.refusal(event) for event in request.records):
        return Reply(400, b"Bad Request")
    for event in request.records:
        if event_refusal(event) is None:
            _take(event, taken)
    return _SUCCESS


def event_refusal(event: Json) -> Refusal | None:
    """Segment's rules for one event (providers.md 4.2), and this server's: no field that we did not mean."""
    content = _CONTENT.get(event.get("type", ""), set())
    bad = [] if content else ["type"]
    bad += [name for name in event if name not in _FIELDS | content]
    bad += [
        name for name in ("messageId", "userId", "anonymousId", "event") if not isinstance(event.get(name, ""), str)
    ]
    bad += [name for name in ("context", "properties", "traits") if not isinstance(event.get(name, {}), dict)]
    if "event" in content and not event.get("event"):
        bad.append("event")
    if not event.get("userId") and not event.get("anonymousId"):
        bad.append("userId")
    if not 0 < len(str(event.get("messageId", ""))) <= _MAX_ID_CHARACTERS:
        bad.append("messageId")
    if not _is_time(event.get("timestamp")):
        bad.append("timestamp")
    return Refusal(bad[0], "is invalid") if bad else None


def _is_time(value: Any) -> bool:
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except (TypeError, ValueError):
        return False


def _basic_user(header: str) -> str:
    try:
        return base64.b64decode(header.removeprefix("Basic ")).decode().partition(":")[0]
    except ValueError:
        return ""


def _take(event: Json, taken: Taken) -> None:
    taken.take_event(event["messageId"], event)
    if event["type"] == "identify":
        traits = event.get("traits", {})
        values = {name: value for name, value in traits.items() if value is not None}
        taken.update_profile(
            event.get("userId") or event["anonymousId"], values, [n for n in traits if traits[n] is None]
        )
