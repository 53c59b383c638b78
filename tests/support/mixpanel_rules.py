"""What Mixpanel demands, and what it answers (providers.md 2), for ``provider_server``."""

import base64
import re
import time

from tests.support.provider_taken import Refusal, Taken
from tests.support.provider_wire import Json, Reply, Request, as_object

__all__ = ["FORBIDDEN_IDS", "Refusal", "answer", "event_refusal", "update_refusal"]

FORBIDDEN_IDS = frozenset(
    {"00000000-0000-0000-0000-000000000000", "anonymous", "nil", "none", "null", "n/a", "na", "undefined", "unknown"}
    | {"0", "-1", "{}", "anon", "<nil>", "true", "false", "[]"}
)
_MAX_RECORDS = 2000
#: What Mixpanel's own sample of a 413 names (providers.md 2.4).
_MAX_BODY_BYTES = 2_097_152
_MAX_PROPERTIES = 254
_YEAR_1971_SECONDS = 31_536_000
_HOUR_SECONDS = 3_600
_INSERT_ID = re.compile(r"[A-Za-z0-9-]{1,36}")


def answer(request: Request, body: bytes | None, taken: Taken) -> Reply:
    """Mixpanel's reply; what is good is taken, whatever stands beside it."""
    is_import = request.path == "/import"
    expected = "Basic " + base64.b64encode(f"{taken.token}:".encode()).decode()
    if is_import and request.headers.get("authorization") != expected:
        return Reply(401, {"code": 401, "error": "Invalid credentials", "status": "Unauthorized"})
    if "strict=1" not in request.target:
        return _bad_request("this server wants strict=1")
    if body is None or (not is_import and "content-encoding" in request.headers):
        return _bad_request("content encoding not taken")
    if len(body) > _MAX_BODY_BYTES or len(request.records) > _MAX_RECORDS:
        error = f"request exceeds max limit of {_MAX_BODY_BYTES} bytes or {_MAX_RECORDS} records"
        return Reply(413, {"code": 413, "error": error, "status": "Request Entity Too Large"})
    if not request.records:
        return _bad_request("the body is no JSON array of objects")
    return _take_events(request.records, taken) if is_import else _take_updates(request.records, taken)


def event_refusal(record: Json) -> Refusal | None:  # noqa: PLR0911 - one rule, one return
    """Mixpanel's rules for one event (providers.md 2.2, 2.4)."""
    event, properties = record.get("event"), record.get("properties")
    if record.keys() != {"event", "properties"} or not isinstance(event, str) or not isinstance(properties, dict):
        return Refusal("event", "'event' and 'properties' are required, and nothing else is taken")
    moment, insert_id, distinct_id = (properties.get(key) for key in ("time", "$insert_id", "distinct_id"))
    if type(moment) is not int:
        return Refusal("properties.time", "'properties.time' is invalid: must be specified as seconds since epoch")
    seconds = moment / 1000 if moment > 100_000_000_000 else moment
    if not _YEAR_1971_SECONDS <= seconds <= time.time() + _HOUR_SECONDS:
        return Refusal("properties.time", "'properties.time' is invalid: before 1971 or in the future")
    if not isinstance(insert_id, str) or not _INSERT_ID.fullmatch(insert_id) or insert_id.lower() in FORBIDDEN_IDS:
        return Refusal("properties.$insert_id", "'properties.$insert_id' is invalid: must match ^[a-zA-Z0-9-]{1,36}$")
    if not isinstance(distinct_id, str) or distinct_id.lower() in FORBIDDEN_IDS:
        return Refusal("properties.distinct_id", "'properties.distinct_id' is invalid: not a string, or a placeholder")
    if len(properties) > _MAX_PROPERTIES:
        return Refusal("properties", "'properties' is invalid: must have fewer than 255 properties")
    return None


def update_refusal(record: Json) -> Refusal | None:
    """Mixpanel's rules for one profile update: one operator per record (providers.md 2.2)."""
    distinct_id = record.get("$distinct_id")
    if not isinstance(record.get("$token"), str):
        return Refusal("$token", "'$token' is required")
    if not isinstance(distinct_id, str) or not distinct_id or distinct_id.lower() in FORBIDDEN_IDS:
        return Refusal("$distinct_id", "'$distinct_id' is invalid: missing, or a placeholder")
    if ("$set" in record) == ("$unset" in record):
        return Refusal("$set", "one of '$set' and '$unset' is required")
    if not isinstance(record.get("$set", {}), dict) or not isinstance(record.get("$unset", []), list):
        return Refusal("$set", "'$set' is an object, '$unset' a list")
    return None


def _take_events(records: list[Json], taken: Taken) -> Reply:
    failed = []
    for index, record in enumerate(records):
        refusal = event_refusal(record) or taken.refusal(record)
        if refusal is None:
            taken.take_event(record["properties"]["$insert_id"], record)
        else:
            insert_id = as_object(record.get("properties")).get("$insert_id", "")
            failed.append({"index": index, "insert_id": insert_id, **refusal._asdict()})
    count = len(records) - len(failed)
    if not failed:
        return Reply(200, {"code": 200, "num_records_imported": count, "status": "OK"})
    told = as_object(_bad_request("some data points in the request failed validation").body)
    return Reply(400, {**told, "num_records_imported": count, "failed_records": failed})


def _take_updates(records: list[Json], taken: Taken) -> Reply:
    failed = []
    for index, record in enumerate(records):
        refusal = update_refusal(record) or taken.refusal(record)
        if refusal is not None:
            failed.append({"index": index, **refusal._asdict()})
        elif record["$token"] == taken.token:
            # A wrong token is not checked (providers.md 2.5): the update is taken and lost.
            taken.update_profile(record["$distinct_id"], record.get("$set", {}), record.get("$unset", []))
    count = len(records) - len(failed)
    if not failed:
        return Reply(200, {"status": 1, "error": None, "num_good_events": count})
    error = "some data points in the request failed validation"
    told = {"status": int(count > 0), "error": error, "num_good_events": count, "failed_records": failed}
    return Reply(200, told)


def _bad_request(error: str) -> Reply:
    return Reply(400, {"code": 400, "error": error, "status": "Bad Request"})
