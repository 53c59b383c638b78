"""What the official SDK sends to Mixpanel for an event, and what we send for the same one: each difference by name."""

import base64
import json
from collections.abc import Mapping, Sequence

import mixpanel
import pytest
from hypothesis import given

from spoold.providers.base import ProviderSettings, Unsendable
from spoold.providers.mixpanel import KIND
from spoold.providers.placeholders import FORBIDDEN_BY_MIXPANEL, usable_id
from tests.sdk.callers import CREDENTIAL, call_mixpanel
from tests.sdk.comparing import ABSENT, UUID4, Difference, Found, Like, check, check_envelopes, differing, numbers, text
from tests.sdk.logical import Logical, encoded, identify
from tests.sdk.randomly import PROFILES, TRACKS, random_identifies, random_tracks
from tests.sdk.recorder import Recorded
from tests.sdk.wire import Case, Wire, encode, exchange

PROPERTIES = (0, "properties")
RESERVED = ("time", "distinct_id", "$insert_id", "$user_id", "$device_id", "token")


def ours(event: Logical) -> dict[str, object]:
    """What we say under the reserved names."""
    user = usable_id(event.user_id, FORBIDDEN_BY_MIXPANEL)
    device = usable_id(event.anonymous_id, FORBIDDEN_BY_MIXPANEL)
    said = {"time": event.our_time_ms, "$insert_id": event.our_id, "$user_id": user, "$device_id": device}
    named = {name: value for name, value in said.items() if value}
    return {**named, "distinct_id": user or (f"$device:{device}" if device else "")}


def places(event: Logical, sdk: Mapping[str, object]) -> Found:
    """What the SDK says under reserved names, beside ours, unless the caller's property of that name is in its way."""
    mine = ours(event)
    return differing(
        {
            (*PROPERTIES, name): (value, text(mine[name]) if name in mine else ABSENT)
            for name, value in sdk.items()
            if name not in event.properties
        }
    )


def is_track(event: Logical) -> bool:
    return event.kind == "track"


def has_placeholder(event: Logical) -> bool:
    return any(usable_id(name, FORBIDDEN_BY_MIXPANEL) != name for name in (event.user_id, event.anonymous_id))


def time(event: Logical) -> Found:
    seconds = text(event.timestamp_ms / 1000) if event.timestamp_ms else Like(r"\d{10}\.\d+")
    return places(event, {"time": seconds}) if is_track(event) else {}


def insert_id(event: Logical) -> Found:
    return places(event, {"$insert_id": UUID4}) if is_track(event) and not event.event_id else {}


def token(event: Logical) -> Found:
    return places(event, {"token": text(CREDENTIAL)}) if is_track(event) else {}


def library(event: Logical) -> Found:
    sdk = {"mp_lib": '"python"', "$lib_version": Like(r'"5\.[\d.]+"')}
    return places(event, sdk) if is_track(event) else {}


def user_id(event: Logical) -> Found:
    applies = is_track(event) and event.user_id and not event.anonymous_id and not has_placeholder(event)
    return places(event, {"$user_id": ABSENT}) if applies else {}


def device_id(event: Logical) -> Found:
    applies = is_track(event) and event.anonymous_id and not event.user_id and not has_placeholder(event)
    return places(event, {"distinct_id": '""'}) if applies else {}


def placeholder(event: Logical) -> Found:
    if not is_track(event) or not has_placeholder(event):
        return {}
    said: dict[str, object] = {"distinct_id": text(event.user_id), "$user_id": ABSENT, "$device_id": ABSENT}
    if event.anonymous_id:
        said |= {"$device_id": text(event.anonymous_id)}
        said |= {"$user_id": text(event.user_id)} if event.user_id else {}
    return places(event, said)


def number(event: Logical) -> Found:
    if not is_track(event):
        return numbers(event.values, (0, "$set"))
    return numbers({name: value for name, value in event.properties.items() if name not in RESERVED}, PROPERTIES)


def ip(event: Logical) -> Found:
    if not is_track(event) or event.properties.get("ip"):
        return {}
    sdk = text(event.properties["ip"]) if "ip" in event.properties else ABSENT
    return {(*PROPERTIES, "ip"): (sdk, '"0"')}


def reserved(event: Logical) -> Found:
    if not is_track(event):
        return {}
    mine = ours(event)
    names = [name for name in RESERVED if name in event.properties]
    pairs = {name: (text(event.properties[name]), text(mine[name]) if name in mine else ABSENT) for name in names}
    return differing({(*PROPERTIES, name): pair for name, pair in pairs.items()})


def profile(event: Logical, name: str, sides: tuple[object, object]) -> Found:
    records = bool(event.values or not event.nulls) + bool(event.nulls)
    return {} if is_track(event) else {(index, name): sides for index in range(records)}


#: Where two speak of one place, the later one knows better.
DIFFERENCES = {
    "time": Difference("float seconds; we send integer ms (providers.md 2.2: 'Use integer ms')", time),
    "insert id": Difference("made at random per call; ours is the event's frozen id (1.1, 1 and 2)", insert_id),
    "token": Difference("in each event; /import has it in the header and needs it on /track only (2.1, 2.2)", token),
    "library": Difference("the SDK's own name and version; spoold adds no property of its own", library),
    "$user_id": Difference("we say which of the two ids it is, for the simplified ID merge (2.3)", user_id),
    "$device": Difference("empty beside a $device_id; /import wants one, we derive Mixpanel's own (2.3)", device_id),
    "placeholder": Difference("sent as it is; Mixpanel refuses these ids, so they count as none (1.1, 3)", placeholder),
    "number": Difference("the contract carries doubles: 42.0 is 42, beyond 2^53 the nearest (RFC 8259, 6)", number),
    "ip": Difference("a form field ip=0; on /import it is a property (2.2, Geo)", ip),
    "reserved": Difference("a caller's property replaces the SDK's; ours stand, dedup compares them (1.1)", reserved),
    "$time": Difference(
        "epoch seconds of the call; what Mixpanel does with it is unverified (2.2, and 4 in 11)",
        lambda event: profile(event, "$time", (Like(r"\d{10}\.\d+"), ABSENT)),
    ),
    "$ip": Difference(
        "a form field ip=0; we say it in the record too, as the fact sheet's body does (2.2)",
        lambda event: profile(event, "$ip", (ABSENT, '"0"')),
    ),
}  # fmt: skip

ALWAYS = {"time", "token", "library", "ip"}
PROFILE = {"$time", "$ip"}


CASES = {
    "user": Case(Logical(properties={"plan": "pro"}), ALWAYS | {"$user_id"}),
    "user and device": Case(Logical(anonymous_id="d-4f2a9"), ALWAYS),
    "device": Case(Logical(user_id="", anonymous_id="d-4f2a9"), ALWAYS | {"$device"}),
    "nobody": Case(Logical(user_id=""), ALWAYS),
    "now, no id": Case(Logical(timestamp_ms=0, event_id=""), ALWAYS | {"$user_id", "insert id"}),
    "long ago": Case(Logical(timestamp_ms=86_400_001), ALWAYS | {"$user_id"}),
    "nested": Case(Logical(properties={"a": {"b": [1, {"c": None}, ["x"]]}, "e": {}, "l": []}), ALWAYS | {"$user_id"}),
    "null": Case(Logical(properties={"coupon": None}), ALWAYS | {"$user_id"}),
    "unicode": Case(
        Logical(name="Köp 🛒", user_id="ü-Ω", properties={"naïve \u0000\u2028": '"\\/é\x7f😀'}), ALWAYS | {"$user_id"}
    ),
    "numbers": Case(
        Logical(properties={"i": 42, "n": -7, "f": 12.5, "t": True, "z": 0, "e": 1e300, "s": 5e-324}),
        ALWAYS | {"$user_id"},
    ),
    "whole and huge numbers": Case(
        Logical(properties={"w": 42.0, "z": -0.0, "h": 2**53 + 1, "l": [1.0, 2**63]}), ALWAYS | {"$user_id", "number"}
    ),
    "long string": Case(Logical(properties={"text": "é" * 9_000}), ALWAYS | {"$user_id"}),
    "reserved names": Case(
        Logical(properties={"time": "noon", "token": "t", "distinct_id": "x", "$insert_id": "mine", "$user_id": 7.0}),
        {"library", "ip", "reserved"},
    ),
    "money and place": Case(
        Logical(properties={"ip": "203.0.113.7", "revenue": 9.99, "country": "SE", "$city": "Umeå", "mp_lib": "web"}),
        ALWAYS - {"ip"} | {"$user_id"},
    ),
    "empty ip": Case(Logical(properties={"ip": ""}), ALWAYS | {"$user_id"}),
    "placeholder user": Case(Logical(user_id="Anonymous"), ALWAYS | {"placeholder"}),
    "placeholder user with a device": Case(Logical(user_id="null", anonymous_id="d-4f2a9"), ALWAYS | {"placeholder"}),
    "identify": Case(identify(properties={"plan": "pro", "seats": 3, "tags": ["a", None], "o": {"p": None}}), PROFILE),
    "identify and unset": Case(identify(properties={"plan": "pro", "coupon": None, "age": None}), PROFILE),
    "unset": Case(identify(properties={"coupon": None}), PROFILE),
    "identify without properties": Case(identify(), PROFILE),
    "identify with whole numbers": Case(identify(properties={"age": 42.0}), PROFILE | {"number"}),
    "identify with a device": Case(identify(anonymous_id="d-4f2a9", properties={"ip": "x", "token": "y"}), PROFILE),
}  # fmt: skip


def test_every_difference_has_a_case() -> None:
    assert set().union(*(case.names for case in CASES.values())) == DIFFERENCES.keys()


@pytest.fixture(scope="module")
def wire() -> dict[str, Wire]:
    """Everything sent once, by both."""
    return exchange("mixpanel", KIND, {name: case.event for name, case in CASES.items()}, records)


def records(request: Recorded) -> list[object]:
    """The SDK sends one record a request."""
    said = request.json
    return said if isinstance(said, list) else [said]


@pytest.mark.parametrize("name", CASES)
def test_the_records_differ_as_named(wire: dict[str, Wire], name: str) -> None:
    event, names = CASES[name]
    assert check(DIFFERENCES, event, wire[name].sdk, wire[name].ours) == names


BASIC = "Basic " + base64.b64encode(f"{CREDENTIAL}:".encode()).decode()
FORM = '"application/x-www-form-urlencoded"'
#: Place, the SDK, we, and why.
ALL_ENVELOPES = (
    ("content-type", FORM, '"application/json"', "JSON arrays are the documented body of /import and /engage (2.1)"),
    ("user-agent", Like(r'"python-requests/[\d.]+"'), Like(r'"spoold/[\d.]+.*"'), "each its own name"),
    ("form", '"ip=0&verbose=1"', '""', "in the query of /engage; /import has ip in events (2.1)"),
)
IMPORT_ENVELOPE = (
    ("content-encoding", ABSENT, '"gzip"', "/import takes gzip (1, gzip request)"),
    ("query", '""', '"strict=1"', "only strict=1 says which records failed (2.5)"),
)
#: Without a time the SDK sends to /track, which drops what is older than five days without a word (2.4, Age).
TRACK_ENVELOPE = (
    *IMPORT_ENVELOPE,
    ("path", '"/track"', '"/import"', "server side (2.1)"),
    ("authorization", ABSENT, text(BASIC), "on /track the token is in the event (2.1)"),
)
ENGAGE_ENVELOPE = (("query", '""', '"verbose=1&strict=1&ip=0"', "the form's fields, and strict (2.1)"),)


@pytest.mark.parametrize(
    ("name", "table"),
    [("user", IMPORT_ENVELOPE), ("now, no id", TRACK_ENVELOPE), ("identify", ENGAGE_ENVELOPE)],
)
def test_the_envelopes_differ_as_named(
    wire: dict[str, Wire], name: str, table: Sequence[tuple[str, object, object, str]]
) -> None:
    sent = wire[name]
    assert sent.sdk_request is not None
    check_envelopes((*ALL_ENVELOPES, *table), sent.sdk_request.envelope, sent.our_request.envelope)


def test_a_profile_of_nobody_is_ours_to_refuse() -> None:
    """The SDK updates the profile of the placeholder; Mixpanel refuses such ids (1.1, 3)."""
    provider = KIND.build(ProviderSettings(KIND.endpoint, CREDENTIAL))
    assert isinstance(encoded(provider, identify(user_id="null")), Unsendable)


class Kept:
    """A consumer, as the SDK calls what carries its messages: keeps them."""

    def __init__(self) -> None:
        self.records: list[object] = []

    def send(self, _endpoint: str, message: str, *_credentials: object) -> None:
        self.records.append(json.loads(message))


def compare(event: Logical) -> None:
    kept = Kept()
    call_mixpanel(mixpanel.Mixpanel(CREDENTIAL, consumer=kept), event)
    check(DIFFERENCES, event, kept.records, [json.loads(part) for part in encode(KIND, event).parts])


@TRACKS
@given(event=random_tracks(placeholders=sorted(FORBIDDEN_BY_MIXPANEL), special=[*RESERVED, "ip", "mp_lib", "revenue"]))
def test_random_events_differ_in_nothing_else(event: Logical) -> None:
    compare(event)


@PROFILES
@given(event=random_identifies(special=["$ip", "$time", "ip", "token", "$email"]))
def test_random_profiles_differ_in_nothing_else(event: Logical) -> None:
    compare(event)
