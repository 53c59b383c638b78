import json
import math
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoold.api.analytics.v1 import service_pb2
from spoold.errors import InvalidEventError
from spoold.ingest import validation, wire
from spoold.ingest.ids import CallerIds
from spoold.ingest.validation import MAX_AHEAD_MS, MAX_DEPTH, MAX_VIOLATIONS, Admission, Rules
from spoold.record import Draft, canonical_json, event_fields, plain_properties

NOW_MS = 1_790_000_000_000
LIMIT = 32_000
HOUR_MS = 3_600_000


class StoppedClock:
    def wall_ms(self) -> int:
        return NOW_MS

    def monotonic(self) -> float:
        return 0.0


RULES = Rules(max_event_bytes=LIMIT, ids=CallerIds(uuid.NAMESPACE_URL), clock=StoppedClock())


def track(**fields: object) -> Admission:
    message = service_pb2.TrackEventRequest(**{"event_name": "a", **fields})  # type: ignore[arg-type]
    body = message.SerializeToString()
    return RULES.track(body, message, is_plain=wire.is_plain(body, max_depth=MAX_DEPTH))


def violations(**fields: object) -> list[tuple[str, str]]:
    with pytest.raises(InvalidEventError) as caught:
        track(**fields)
    return caught.value.violations


def nested(depth: int) -> service_pb2.PropertyValue:
    value = service_pb2.PropertyValue(number_value=1)
    for level in range(depth):
        if level % 2:
            value = service_pb2.PropertyValue(map_value={"fields": {"k": value}})
        else:
            value = service_pb2.PropertyValue(list_value={"values": [value]})
    return value


def test_a_good_event_is_handed_on_as_received() -> None:
    message = service_pb2.TrackEventRequest(event_name="a", event_id="order-1")
    expected = uuid.uuid5(uuid.NAMESPACE_URL, "order-1").bytes
    assert track(event_id="order-1") == (Draft("track", message.SerializeToString(), expected, "order-1"), False)


def test_an_event_without_an_id_gets_one_from_the_spool() -> None:
    (draft, _) = track()
    assert draft.event_id is None


@pytest.mark.parametrize("name", ["", " ", "\t\n", "\u3000"])
def test_a_track_needs_a_name_that_is_not_blank(name: str) -> None:
    assert violations(event_name=name) == [("event_name", "is required and must not be blank")]


@pytest.mark.parametrize("user", ["", " "])
def test_an_identify_needs_a_user_that_is_not_blank(user: str) -> None:
    message = service_pb2.IdentifyUserRequest(user_id=user)
    with pytest.raises(InvalidEventError) as caught:
        RULES.identify(message.SerializeToString(), message, is_plain=True)
    assert caught.value.violations == [("user_id", "is required and must not be blank")]


def test_a_track_needs_no_user() -> None:
    track(user_id="")


@pytest.mark.parametrize("user", ["anonymous", "null", "0", "00000000-0000-0000-0000-000000000000"])
def test_placeholder_users_are_taken(user: str) -> None:
    """They count as no user for the provider that forbids them, which is that provider's matter."""
    track(user_id=user)


def test_all_violations_are_reported_at_once() -> None:
    fields = [
        field
        for field, _ in violations(
            event_name="",
            event_id=str(uuid.UUID(int=0)),
            timestamp=-1,
            properties={"a": service_pb2.PropertyValue(number_value=math.nan)},
        )
    ]
    assert fields == ["event_name", "event_id", "timestamp", 'properties["a"]']


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_must_be_finite_and_the_path_says_which(value: float) -> None:
    cart = service_pb2.PropertyValue(
        list_value={"values": [{"bool_value": True}, {"map_value": {"fields": {"price": {"number_value": value}}}}]}
    )
    ((field, reason),) = violations(properties={"cart": cart, "ok": service_pb2.PropertyValue(number_value=1)})
    assert field == 'properties["cart"][1]["price"]'
    assert "finite" in reason


def test_nesting_up_to_the_limit_is_taken() -> None:
    track(properties={"deep": nested(MAX_DEPTH)})


def test_nesting_below_the_limit_is_refused_with_its_path() -> None:
    ((field, reason),) = violations(properties={"deep": nested(MAX_DEPTH + 1)})
    assert field.startswith('properties["deep"]')
    assert "at most 16 deep" in reason


def test_reports_stay_small_whatever_was_sent() -> None:
    nan = service_pb2.PropertyValue(number_value=math.nan)
    found = violations(properties={"k" * 500 + str(index): nan for index in range(50)})
    assert len(found) == MAX_VIOLATIONS
    assert all(len(field) < 100 for field, _ in found)


@pytest.mark.parametrize("field", ["timestamp", "timestamp_ms"])
def test_negative_times_are_refused(field: str) -> None:
    ((named, reason),) = violations(**{field: -1})
    assert named == field
    assert "negative" in reason


@pytest.mark.parametrize(
    ("field", "value", "unit"),
    [
        ("timestamp", NOW_MS, "milliseconds"),
        ("timestamp", NOW_MS - 40 * 365 * 24 * HOUR_MS, "milliseconds"),
        ("timestamp", NOW_MS * 1_000, "microseconds"),
        ("timestamp", NOW_MS * 1_000_000, "nanoseconds"),
        ("timestamp_ms", NOW_MS * 1_000, "microseconds"),
        ("timestamp_ms", NOW_MS * 1_000_000, "nanoseconds"),
    ],
)
def test_a_time_that_can_only_be_in_another_unit_is_refused_with_that_hint(field: str, value: int, unit: str) -> None:
    ((named, reason),) = violations(**{field: value})
    assert named == field
    assert f"can only be {unit}" in reason


@pytest.mark.parametrize(
    ("fields", "is_ahead"),
    [
        ({}, False),
        ({"timestamp": 1}, False),
        ({"timestamp": NOW_MS // 1_000}, False),
        ({"timestamp_ms": NOW_MS}, False),
        ({"timestamp_ms": NOW_MS + 1}, True),
        ({"timestamp_ms": NOW_MS + MAX_AHEAD_MS}, True),
        ({"timestamp": (NOW_MS + MAX_AHEAD_MS) // 1_000}, True),
        # timestamp_ms wins, so nothing that timestamp says matters.
        ({"timestamp_ms": NOW_MS, "timestamp": -5}, False),
    ],
)
def test_a_time_up_to_a_day_ahead_is_taken_and_reported(fields: dict[str, object], *, is_ahead: bool) -> None:
    assert track(**fields)[1] is is_ahead


@pytest.mark.parametrize(
    "fields",
    [
        {"timestamp_ms": NOW_MS + MAX_AHEAD_MS + 1},
        {"timestamp": (NOW_MS + MAX_AHEAD_MS) // 1_000 + 1},
        {"timestamp": 2**63 - 1},
        {"timestamp_ms": 2**63 - 1},
    ],
)
def test_a_time_more_than_a_day_ahead_is_refused(fields: dict[str, object]) -> None:
    ((_, reason),) = violations(**fields)
    assert "ahead of our clock" in reason


def properties_of_json_size(size: int) -> dict[str, service_pb2.PropertyValue]:
    """Properties that make the whole event ``size`` bytes of JSON."""
    frame = {
        **dict.fromkeys(("anonymous_id", "user_id"), ""),
        "event_id": str(uuid.UUID(int=0)),
        "event_name": "a",
        "properties": {"p": ""},
        "received_at_ms": NOW_MS,
        "seq": 0,
        "timestamp_ms": NOW_MS,
        "type": "track",
    }
    fill = size - len(json.dumps(frame, separators=(",", ":")))
    return {"p": service_pb2.PropertyValue(string_value="x" * fill)}


def test_the_largest_event_is_taken_and_one_byte_more_is_refused() -> None:
    track(properties=properties_of_json_size(LIMIT))
    ((field, reason),) = violations(properties=properties_of_json_size(LIMIT + 1))
    assert field == "properties"
    assert reason == "the event is too large: 32001 bytes as JSON, the limit is 32000"


def test_the_size_that_counts_is_that_of_the_json() -> None:
    track(properties={"p": service_pb2.PropertyValue(string_value="x" * 6_000)})
    violations(properties={"p": service_pb2.PropertyValue(string_value="\x01" * 6_000)})


def test_megabytes_that_nothing_reads_are_refused() -> None:
    """The request is stored as received, unknown fields included."""
    message = service_pb2.TrackEventRequest(event_name="a")
    body = message.SerializeToString() + b"\x7a\x80\x80\x80\x01" + bytes(2 * 1024 * 1024)
    with pytest.raises(InvalidEventError, match="too large: 2097160 bytes, more than 32000 as JSON"):
        RULES.check_bytes(body)


VALUES = st.recursive(
    st.one_of(
        st.just(service_pb2.PropertyValue()),
        st.text(max_size=8).map(lambda text: service_pb2.PropertyValue(string_value=text)),
        st.floats(allow_nan=False, allow_infinity=False).map(lambda n: service_pb2.PropertyValue(number_value=n)),
        st.booleans().map(lambda flag: service_pb2.PropertyValue(bool_value=flag)),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda values: service_pb2.PropertyValue(list_value={"values": values})),
        st.dictionaries(st.text(max_size=4), inner, max_size=4).map(
            lambda fields: service_pb2.PropertyValue(map_value={"fields": fields})
        ),
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=6), VALUES, max_size=5), st.text(max_size=10))
def test_json_is_at_most_six_times_the_protobuf_and_the_frame(
    properties: dict[str, service_pb2.PropertyValue], user: str
) -> None:
    """What the shortcut for small events rests on, and the one for huge ones."""
    message = service_pb2.TrackEventRequest(event_name="a", user_id=user, properties=properties)
    body = message.SerializeToString()
    event = RULES._as_event("track", message)
    json_bytes = len(canonical_json(event_fields(event)))
    assert json_bytes <= 6 * len(body) + validation._JSON_FRAME_BYTES
    assert len(body) <= 6 * json_bytes
    assert plain_properties(message.properties) == event.properties
