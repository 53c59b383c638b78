"""A receiver's side of Standard Webhooks 1.0.0 and of CloudEvents 1.0 (providers.md 8), written from their words."""

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tests.support.provider_taken import Taken
from tests.support.provider_wire import Reply, Request

#: What is required, what may be there, and the extensions that spoold adds.
_REQUIRED = {"specversion", "id", "source", "type"}
_OPTIONAL = {"time", "subject", "datacontenttype", "dataschema", "data"}
_EXTENSION = re.compile(r"[a-z0-9]{1,20}")


def answer(request: Request, body: bytes | None, taken: Taken) -> Reply:
    """A receiver's reply: it believes a signature with its token alone, and one bad event spoils the request."""
    key = base64.b64decode(taken.token.removeprefix("whsec_"))
    if body is None or not {"webhook-id", "webhook-timestamp"} <= request.headers.keys():
        return Reply(400, b"not a webhook")
    if not is_genuine(key, request.headers, body):
        return Reply(401, b"the signature is not of our secret")
    for record in request.records:
        faults = cloudevent_faults(record) if "specversion" in record else []
        if faults:
            return Reply(400, faults[0].encode())
        if (refusal := taken.refusal(record)) is not None:
            return Reply(400, f"{refusal.field}: {refusal.message}".encode())
    for record in request.records:
        taken.take_event(record.get("event_id") or record["id"], record)
    return Reply(204)


def secret_of(key: bytes) -> str:
    """How a key is shown to people."""
    return "whsec_" + base64.b64encode(key).decode()


def signature_of(key: bytes, webhook_id: str, timestamp: str, body: bytes) -> str:
    """What stands in ``webhook-signature`` for one key."""
    digest = hmac.new(key, b".".join([webhook_id.encode(), timestamp.encode(), body]), hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def is_genuine(key: bytes, headers: Mapping[str, str], body: bytes) -> bool:
    """Whether one of the signatures is of ``key``; header names in lower case."""
    expected = signature_of(key, headers["webhook-id"], headers["webhook-timestamp"], body)
    return expected in headers.get("webhook-signature", "").split(" ")


def cloudevent_faults(event: Mapping[str, Any]) -> list[str]:
    """What CloudEvents 1.0 would not take of ``event``."""
    faults = [f"{name} is missing" for name in _REQUIRED - event.keys()]
    for name, value in event.items():
        if name not in _REQUIRED | _OPTIONAL and _EXTENSION.fullmatch(name) is None:
            faults.append(f"{name} is no name of an attribute")
        if name != "data" and (not isinstance(value, str) or not value):
            faults.append(f"{name} is no text, or empty")
    if event.get("specversion") != "1.0":
        faults.append("specversion")
    if "time" in event and datetime.fromisoformat(event["time"]).tzinfo is None:
        faults.append("time is without a zone")
    return faults
