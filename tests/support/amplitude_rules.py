"""What Amplitude demands, and what it answers (providers.md 3), for ``provider_server``."""

import time

from tests.support.provider_taken import Refusal, Taken
from tests.support.provider_wire import Json, Reply, Request, as_object, parsed

FORBIDDEN_IDS = frozenset(
    {"00000000-0000-0000-0000-000000000000", "anonymous", "nil", "none", "null", "n/a", "na", "undefined", "unknown"}
    | {"0", "-1", "{}", "lmy47d", ""}
)
_MAX_EVENTS = 2000
_MAX_BODY_BYTES = {"/2/httpapi": 1_000_000, "/batch": 20_000_000}
_MIN_ID_LENGTH = 5
_FIELDS = frozenset({"event_type", "user_id", "device_id", "time", "insert_id", "event_properties", "user_properties"})
_OPERATORS = frozenset(
    {"$set", "$setOnce", "$add", "$append", "$prepend", "$preInsert", "$postInsert", "$remove", "$unset"}
)
_MISSING = "is missing"


def answer(request: Request, body: bytes | None, taken: Taken) -> Reply:
    """Amplitude's reply; one bad event, and nothing is taken."""
    envelope = parsed(body)
    if body is None or not isinstance(envelope, dict):
        return Reply(400, {"code": 400, "error": "Invalid JSON request body"})
    if len(body) > _MAX_BODY_BYTES[request.path] or len(request.records) > _MAX_EVENTS:
        return Reply(413, {"code": 413, "error": "Payload too large"})
    for name in ("api_key", "events"):
        if not envelope.get(name):
            return Reply(400, {"code": 400, "error": "Request missing required field", "missing_field": name})
    if envelope["api_key"] != taken.token:
        return Reply(400, {"code": 400, "error": f"Invalid API key: {envelope['api_key']}"})
    shortest = as_object(envelope.get("options")).get("min_id_length", _MIN_ID_LENGTH)
    refused = [
        (index, event_refusal(event, shortest) or taken.refusal(event)) for index, event in enumerate(request.records)
    ]
    failed = [(index, refusal) for index, refusal in refused if refusal is not None]
    if failed:
        return _bad_events(failed, is_first_only=request.path != "/batch")
    for event in request.records:
        _take(event, taken)
    told = {"payload_size_bytes": len(body), "server_upload_time": int(time.time() * 1000)}
    return Reply(200, {"code": 200, "events_ingested": len(request.records), **told})


def event_refusal(event: Json, shortest_id: int = 1) -> Refusal | None:
    """Amplitude's rules for one event (providers.md 3.2, 3.3), and this server's: no field that we did not mean."""
    if not event.get("event_type"):
        return Refusal("event_type", _MISSING)
    named = [name for name in ("user_id", "device_id") if isinstance(event.get(name), str)]
    if not any(len(event[name]) >= shortest_id for name in named):
        return Refusal("user_id", _MISSING)
    bad = [name for name in named if event[name].lower() in FORBIDDEN_IDS]
    bad += [name for name in event if name not in _FIELDS]
    bad += [
        name for name in ("event_type", "insert_id", "user_id", "device_id") if not isinstance(event.get(name, ""), str)
    ]
    bad += [name for name in ("event_properties", "user_properties") if not isinstance(event.get(name, {}), dict)]
    if type(event.get("time", 0)) is not int:
        bad.append("time")
    if event["event_type"] == "$identify" and not _is_update(event.get("user_properties")):
        bad.append("user_properties")
    return Refusal(bad[0], "is invalid") if bad else None


def _is_update(operations: object) -> bool:
    """Operators, and nothing beside them (providers.md 3.2)."""
    return (
        isinstance(operations, dict)
        and operations.keys() <= _OPERATORS
        and all(isinstance(operand, dict) for operand in operations.values())
        and set(operations.get("$unset", {}).values()) <= {"-"}
    )


def _bad_events(failed: list[tuple[int, Refusal]], *, is_first_only: bool) -> Reply:
    """The indexes by field; ``/2/httpapi`` names the first of each field alone (providers.md 3.5)."""
    invalid: dict[str, list[int]] = {}
    missing: dict[str, list[int]] = {}
    for index, refusal in failed:
        named = (missing if refusal.message == _MISSING else invalid).setdefault(refusal.field, [])
        if not (named and is_first_only):
            named.append(index)
    lists = {"events_with_invalid_fields": invalid, "events_with_missing_fields": missing}
    return Reply(400, {"code": 400, "error": "Request has events that are invalid", **lists})


def _take(event: Json, taken: Taken) -> None:
    taken.take_event(event["insert_id"], event)
    if event["event_type"] == "$identify":
        operations = event["user_properties"]
        owner = event.get("user_id") or event["device_id"]
        taken.update_profile(owner, operations.get("$set", {}), list(operations.get("$unset", {})))
