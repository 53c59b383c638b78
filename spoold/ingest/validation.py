"""The rules at the door: what makes an event acceptable (design: rules at the door).

Each rule reports the field and the reason with the fix; an event's violations are all reported at once.
"""

import math
from collections.abc import Iterable, Mapping

from spoold.api.analytics.v1 import service_pb2
from spoold.clock import Clock
from spoold.errors import InvalidEventError
from spoold.ingest.ids import CallerIds
from spoold.record import Draft, Event, Kind, canonical_json, event_fields, frozen_time_ms, plain_properties

#: Lists and maps inside one another, at most. Protobuf's own limit is about twice that, so any deeper is refused too.
MAX_DEPTH = 16

#: Events further ahead of our clock are refused; nearer ones are taken as now.
MAX_AHEAD_MS = 24 * 3600 * 1000

#: Violations by values that are reported for one event: a reply must stay small whatever was sent.
MAX_VIOLATIONS = 16

#: Characters of a path that are reported: keys are the caller's, and may be long.
_MAX_PATH_CHARACTERS = 96

#: JSON needs at most six bytes for one byte of protobuf (a control character is written as ``\\u0001``), and at most
#: so many more for what frames every event: field names, ids and times.
_JSON_BYTES_PER_BYTE = 6
_JSON_FRAME_BYTES = 320

#: A count of seconds, milliseconds, … that says a time from here on (March 1973) may be meant in that unit.
_OLDEST_PLAUSIBLE_SECONDS = 100_000_000
_UNITS = ((1_000, "milliseconds"), (1_000_000, "microseconds"), (1_000_000_000, "nanoseconds"))

_ANY_UUID = "00000000-0000-0000-0000-000000000000"

Request = service_pb2.TrackEventRequest | service_pb2.IdentifyUserRequest
Violations = list[tuple[str, str]]


#: An event that may pass, and whether its time is ahead of our clock and will be taken as now. A bare tuple: one is
#: made for each event.
Admission = tuple[Draft, bool]


class Rules:
    """The rules with their limits. Touches neither disk nor network.

    Args:
        max_event_bytes: Largest event, as its canonical JSON in bytes.
        ids: What becomes of the callers' ids.
        clock: For the time of receipt.
    """

    def __init__(self, *, max_event_bytes: int, ids: CallerIds, clock: Clock) -> None:
        self.limit_events(max_event_bytes)
        self._ids = ids
        self._clock = clock

    def limit_events(self, max_event_bytes: int) -> None:
        """Take events up to this size from now on, as their canonical JSON in bytes."""
        self._max_event_bytes = max_event_bytes
        self._surely_small_bytes = (max_event_bytes - _JSON_FRAME_BYTES) // _JSON_BYTES_PER_BYTE
        self._surely_large_bytes = max_event_bytes * _JSON_BYTES_PER_BYTE

    def check_bytes(self, body: bytes) -> None:
        """Refuse what is too large whatever it says: a message takes some 25 times its bytes when it is decoded.

        No JSON of so much is within the limit, unless most of it is nothing that we know: what is stored is the message
        as received, so that must be bounded too.

        Raises:
            InvalidEventError: ``body`` has more bytes than the limit allows.
        """
        if len(body) > self._surely_large_bytes:
            text = f"the event is too large: {len(body)} bytes, more than {self._max_event_bytes} as JSON"
            raise InvalidEventError([("properties", text)])

    def track(self, body: bytes, message: service_pb2.TrackEventRequest, *, is_plain: bool) -> Admission:
        """Admit ``message``, which was decoded from ``body`` after ``check_bytes`` had let that pass.

        Args:
            is_plain: What ``wire.is_plain`` said of these bytes.

        Raises:
            InvalidEventError: With every rule that the event breaks.
        """
        name = message.event_name
        # A name of blanks is a missing name: no provider shows it, and two that differ in length look the same.
        violations = [] if name and not name.isspace() else [("event_name", "is required and must not be blank")]
        return self._admit("track", body, message, is_plain=is_plain, violations=violations)

    def identify(self, body: bytes, message: service_pb2.IdentifyUserRequest, *, is_plain: bool) -> Admission:
        """Like ``track``."""
        user = message.user_id
        violations = [] if user and not user.isspace() else [("user_id", "is required and must not be blank")]
        return self._admit("identify", body, message, is_plain=is_plain, violations=violations)

    def _admit(self, kind: Kind, body: bytes, message: Request, *, is_plain: bool, violations: Violations) -> Admission:
        event_id, caller_id, is_ahead = None, "", False
        if message.event_id:
            try:
                event_id, caller_id = self._ids.resolve(message.event_id)
            except ValueError as exc:
                violations.append(("event_id", str(exc)))
        if message.timestamp_ms:
            is_ahead = self._check_time("timestamp_ms", message.timestamp_ms, 1_000, violations)
        elif message.timestamp:
            is_ahead = self._check_time("timestamp", message.timestamp, 1, violations)
        if not is_plain:
            _check_fields(message.properties, "properties", 0, violations)
        if len(body) > self._surely_small_bytes:
            self._check_size(kind, message, violations)
        if violations:
            raise InvalidEventError(violations)
        return Draft(kind, body, event_id, caller_id), is_ahead

    def _check_time(self, field: str, value: int, per_second: int, violations: Violations) -> bool:
        """Report a time that can't be meant; say whether it is ahead of our clock."""
        now_ms = self._clock.wall_ms()
        said_ms = value * (1_000 // per_second)
        if value < 0:
            violations.append((field, "must not be negative; 0 means now"))
        elif said_ms > now_ms + MAX_AHEAD_MS:
            violations.append((field, _why_too_late(value, per_second, now_ms)))
        return said_ms > now_ms

    def _check_size(self, kind: Kind, message: Request, violations: Violations) -> None:
        limit = self._max_event_bytes
        size = len(canonical_json(event_fields(self._as_event(kind, message))))
        if size > limit:
            violations.append(("properties", f"the event is too large: {size} bytes as JSON, the limit is {limit}"))

    def _as_event(self, kind: Kind, message: Request) -> Event:
        now_ms = self._clock.wall_ms()
        return Event(
            seq=0,
            event_id=_ANY_UUID,
            kind=kind,
            event_name=message.event_name if isinstance(message, service_pb2.TrackEventRequest) else "",
            user_id=message.user_id,
            anonymous_id=message.anonymous_id,
            properties=plain_properties(message.properties),
            timestamp_ms=frozen_time_ms(message.timestamp, message.timestamp_ms, now_ms),
            received_at_ms=now_ms,
        )


def _why_too_late(value: int, per_second: int, now_ms: int) -> str:
    """The reason, with a hint where the number makes sense in a finer unit than the field's."""
    latest_seconds = (now_ms + MAX_AHEAD_MS) // 1_000
    for units_per_second, name in _UNITS:
        if units_per_second > per_second and _OLDEST_PLAUSIBLE_SECONDS <= value // units_per_second <= latest_seconds:
            return f"{value} can only be {name}: timestamp takes seconds, timestamp_ms takes milliseconds"
    return f"{value} is more than 24 hours ahead of our clock"


def _check_fields(
    fields: Mapping[str, service_pb2.PropertyValue], path: str, depth: int, violations: Violations
) -> None:
    _check_values(((f'{path}["{key}"]', fields[key]) for key in sorted(fields)), depth, violations)


def _check_values(values: Iterable[tuple[str, service_pb2.PropertyValue]], depth: int, violations: Violations) -> None:
    for path, value in values:
        if len(violations) >= MAX_VIOLATIONS:
            return
        which = value.WhichOneof("value")
        if which == "number_value":
            if not math.isfinite(value.number_value):
                violations.append((_short(path), f"must be a finite number, is {value.number_value}"))
        elif which in ("list_value", "map_value") and depth == MAX_DEPTH:
            violations.append((_short(path), f"lists and maps must be nested at most {MAX_DEPTH} deep"))
        elif which == "list_value":
            items = enumerate(value.list_value.values)
            _check_values(((f"{path}[{index}]", item) for index, item in items), depth + 1, violations)
        elif which == "map_value":
            _check_fields(value.map_value.fields, path, depth + 1, violations)


def _short(path: str) -> str:
    return path if len(path) <= _MAX_PATH_CHARACTERS else path[:_MAX_PATH_CHARACTERS] + "…"
