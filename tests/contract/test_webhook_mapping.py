"""What a receiver of a webhook gets, and how it is signed (providers.md 8)."""

import base64
from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from spoold.errors import ConfigError
from spoold.providers.base import Encoded, HttpRequest, OptionValue, ProviderSettings, Stamp
from spoold.providers.webhook import KIND, Webhook
from spoold.record import Event, event_fields
from tests.support.events import EVENT_ID, TIME_MS, make_event, make_identify
from tests.support.webhook_rules import cloudevent_faults, is_genuine, secret_of

URL = "https://crm.example/hook/"
STAMP = Stamp(1_795_470_010_999, "0123456789abcdef" * 2)
#: The example of the specification: its words, its signature.
SPEC_KEY = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
OLD_KEY, NEW_KEY = b"o" * 24, b"n" * 64


def make(credential: str = "", endpoint: str = URL, **options: OptionValue) -> Webhook:
    return Webhook(ProviderSettings(endpoint, credential, options))


def record(webhook: Webhook, event: Event) -> dict[str, Any]:
    encoded = webhook.encode(event)
    assert isinstance(encoded, Encoded)
    (part,) = encoded.parts
    parsed: dict[str, Any] = orjson.loads(part)
    return parsed


def request(webhook: Webhook, *parts: bytes, stamp: Stamp = STAMP) -> HttpRequest:
    return webhook.request("hook", parts or [b'{"a":1}', b'{"b":2}'], stamp)


def lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def test_a_track_event_maps_field_by_field() -> None:
    assert record(make(), make_event(anonymous_id="d-4", properties={"amount": 12.5, "coupon": None})) == {
        "event_id": EVENT_ID,
        "type": "track",
        "event_name": "Order Paid",
        "user_id": "u-81",
        "anonymous_id": "d-4",
        "properties": {"amount": 12.5, "coupon": None},
        "timestamp_ms": TIME_MS,
        "received_at_ms": TIME_MS + 1000,
    }


def test_an_identify_event_has_the_same_fields_and_keeps_its_nulls() -> None:
    event = make_identify(properties={"plan": "pro", "coupon": None})
    assert record(make(), event) == {name: value for name, value in event_fields(event).items() if name != "seq"}


def test_a_cloudevent_maps_attribute_by_attribute() -> None:
    event = make_event(anonymous_id="d-4", properties={"amount": 12.5, "coupon": None})
    assert record(make(format="cloudevents"), event) == {
        "specversion": "1.0",
        "id": EVENT_ID,
        "source": "spoold",
        "type": "spoold.track.v1",
        "subject": "u-81",
        "time": "2026-11-23T21:40:00.123Z",
        "recordedtime": "2026-11-23T21:40:01.123Z",
        "datacontenttype": "application/json",
        "eventname": "Order Paid",
        "anonymousid": "d-4",
        "data": {"amount": 12.5, "coupon": None},
    }


def test_a_cloudevent_of_an_identify_has_its_own_type_and_no_event_name() -> None:
    sent = record(make(format="cloudevents"), make_identify())
    assert sent["type"] == "spoold.identify.v1"
    assert sent["data"] == {"plan": "pro"}
    assert "eventname" not in sent


@pytest.mark.parametrize("user_id", ["", "u-81", "Ünï ☃"])
@pytest.mark.parametrize("anonymous_id", ["", "d-4"])
def test_every_cloudevent_is_one(user_id: str, anonymous_id: str) -> None:
    webhook = make(format="cloudevents", source="https://shop.example/spoold?m=1")
    for event in (
        make_event(user_id=user_id, anonymous_id=anonymous_id, properties={}),
        make_identify(user_id=user_id, timestamp_ms=0),
    ):
        assert not cloudevent_faults(record(webhook, event))


def test_the_source_is_what_the_lane_says() -> None:
    assert record(make(format="cloudevents", source="/eu/spoold"), make_event())["source"] == "/eu/spoold"


def test_profiles_arrive_in_order_and_events_need_not() -> None:
    for format_ in ("json", "cloudevents"):
        results = [make(format=format_).encode(event) for event in (make_identify(), make_event())]
        assert [result.in_order for result in results if isinstance(result, Encoded)] == [True, False]


@pytest.mark.parametrize(
    ("format_", "content_type"),
    [("json", "application/json"), ("cloudevents", "application/cloudevents-batch+json")],
)
def test_the_body_is_a_plain_array_of_one_event_too(format_: str, content_type: str) -> None:
    webhook = make(format=format_)
    assert request(webhook).body == b'[{"a":1},{"b":2}]'
    assert request(webhook, b'{"a":1}').body == b'[{"a":1}]'
    assert request(webhook).headers == {
        "Content-Type": content_type,
        "webhook-id": "msg_0123456789abcdef0123456789abcdef",
        "webhook-timestamp": "1795470010",
    }


def test_the_signature_is_that_of_the_specifications_example() -> None:
    """The receiver's side is held to the example, and we to the receiver's side: we can't make the example's id."""
    headers = {"webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp": "1614265330"}
    headers["webhook-signature"] = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert is_genuine(SPEC_KEY, headers, b'{"test": 2432232314}')

    sent = request(make(secret_of(SPEC_KEY)))
    assert is_genuine(SPEC_KEY, sent.headers, sent.body)
    assert not is_genuine(SPEC_KEY, sent.headers, sent.body + b" ")
    assert not is_genuine(SPEC_KEY, {**sent.headers, "webhook-timestamp": "1"}, sent.body)
    assert not is_genuine(OLD_KEY, sent.headers, sent.body)


def test_each_secret_makes_a_signature() -> None:
    sent = request(make(f"{secret_of(NEW_KEY)} {secret_of(OLD_KEY)}"))
    assert len(sent.headers["webhook-signature"].split(" ")) == 2
    assert is_genuine(NEW_KEY, sent.headers, sent.body)
    assert is_genuine(OLD_KEY, sent.headers, sent.body)


def test_another_attempt_has_the_id_of_the_first_and_its_own_time() -> None:
    webhook = make(secret_of(OLD_KEY))
    first, again = request(webhook), request(webhook, stamp=Stamp(STAMP.now_ms + 5_000, STAMP.batch_id))
    assert again.body == first.body
    assert again.headers["webhook-id"] == first.headers["webhook-id"]
    assert again.headers["webhook-timestamp"] == "1795470015"
    assert is_genuine(OLD_KEY, again.headers, again.body)


def test_a_batch_keeps_its_events() -> None:
    (limits,) = make().routes.values()
    assert limits.keeps_batches
    assert limits.max_parts == 50
    (limits,) = make(max_events=1).routes.values()
    assert limits.max_parts == 1


@pytest.mark.parametrize(
    "url",
    [
        "https://h",
        "https://h/",
        "http://127.0.0.1:8080/a/b//",
        "https://h/hook?team=7&x=%20",
        "https://h/hook/?q=a/b?c",
    ],
)
def test_the_url_is_kept_letter_by_letter(url: str) -> None:
    assert request(make(endpoint=url)).url == url


def test_further_headers_are_sent_beside_ours() -> None:
    sent = lower(request(make(headers={"Authorization": "Bearer T0ken", "X-Team": "a b"})).headers)
    assert sent["authorization"] == "Bearer T0ken"
    assert sent["x-team"] == "a b"
    assert sent["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        *((name, "x", "is set by spoold") for name in ("Host", "content-LENGTH", "Content-Type", "Content-Encoding")),
        *((name, "x", "is set by spoold") for name in ("Transfer-Encoding", "Connection", "Accept-Encoding")),
        *((name, "x", "is set by spoold") for name in ("webhook-id", "Webhook-Signature", "webhook-anything")),
        *((name, "x", "no name of an HTTP header") for name in ("", "X Team", "X:Team", "Ä", "X\r\nY")),
        *(("X-Team", value, "the value of 'X-Team'") for value in ("", " hidden", "hid\r\nden: 1", "hïdden")),
    ],
)
def test_a_header_that_would_break_the_request_is_refused(name: str, value: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        make(headers={name: value})
    assert caught.value.key == "headers"
    assert "hid" not in str(caught.value)


def test_one_header_in_two_spellings_is_refused() -> None:
    with pytest.raises(ConfigError, match="'x-team' stands there twice"):
        make(headers={"X-Team": "a", "x-team": "b"})


@pytest.mark.parametrize(
    "secret",
    [
        "hidden",
        "whsec_",
        "whsec_hidden!",
        secret_of(b"x" * 23),
        secret_of(b"x" * 65),
        secret_of(OLD_KEY).removeprefix("whsec_"),
        secret_of(OLD_KEY).replace("whsec_", "whsk_"),
        f"{secret_of(OLD_KEY)} hidden",
        " ",
    ],
)
def test_what_is_no_secret_is_refused_without_quoting_it(secret: str) -> None:
    with pytest.raises(ConfigError, match="whsec_ and the base64 of 24 to 64 random bytes") as caught:
        make(secret)
    assert caught.value.key == "secret"
    for word in secret.split():
        assert word == "whsec_" or word.removeprefix("whsec_") not in f"{caught.value!s} {caught.value.__cause__!s}"


@pytest.mark.parametrize("key", [b"x" * 24, bytes(range(64))])
def test_secrets_of_24_to_64_bytes_are_taken(key: bytes) -> None:
    sent = request(make(secret_of(key)))
    assert is_genuine(key, sent.headers, sent.body)


@pytest.mark.parametrize("source", ["", "my spoold", "späold", "100%", 'a"b', "a<b>"])
def test_a_source_that_is_no_uri_reference_is_refused(source: str) -> None:
    with pytest.raises(ConfigError, match="no URI reference") as caught:
        make(format="cloudevents", source=source)
    assert caught.value.key == "source"


@pytest.mark.parametrize(
    "url", ["", "crm.example/hook", "ftp://h/", "https://me:hidden@h/", "https://h/a?b#c", "https://h/?a b"]
)
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"^endpoint: ") as caught:
        make(endpoint=url)
    assert caught.value.key == "endpoint"
    assert "hidden" not in str(caught.value)


def test_there_is_no_default_url_and_no_need_of_a_secret() -> None:
    assert KIND.endpoint == ""
    assert not KIND.needs_credential
