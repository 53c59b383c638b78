"""What Mixpanel demands of a single record (providers.md 2.2, 2.4), for ``provider_server``."""

import re
import time
from typing import Any, NamedTuple

Json = dict[str, Any]

FORBIDDEN_IDS = frozenset(
    {"00000000-0000-0000-0000-000000000000", "anonymous", "nil", "none", "null", "n/a", "na", "undefined", "unknown"}
    | {"0", "-1", "{}", "anon", "<nil>", "true", "false", "[]"}
)
_MAX_PROPERTIES = 254
_YEAR_1971_SECONDS = 31_536_000
_HOUR_SECONDS = 3_600
_INSERT_ID = re.compile(r"[A-Za-z0-9-]{1,36}")


class Refusal(NamedTuple):
    """Why a record fails, as ``failed_records`` tells it."""

    field: str
    message: str


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
