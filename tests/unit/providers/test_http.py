"""The pure parts of providers/http.py."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoold.errors import ConfigError
from spoold.providers.base import HttpReply, Outcome, Retry, Stop
from spoold.providers.http import (
    MAX_REASON_CHARACTERS,
    checked_url,
    common_outcome,
    plain_text,
    retry_after_seconds,
    status_reason,
)

#: Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110.
RFC_MOMENT_MS = 784_111_777_000


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("", None),
        ("0", 0.0),
        (" 120 ", 120.0),
        ("1.5", 1.5),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 37.0),
        ("Sun, 06 Nov 1994 09:49:37 +0100", 37.0),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 37.0),
        ("Sun, 06 Nov 1994 08:49:37 -0000", 37.0),
        ("Sun, 06 Nov 1994 08:48:00 GMT", 0.0),
        ("-5", None),
        ("nan", None),
        ("soon", None),
        ("Sun, 99 Nov 1994 08:49:37 GMT", None),
        ("9" * 400, 1e9),
        ("5, 7", None),
    ],
)
def test_retry_after_names_seconds_or_a_date(header: str | None, expected: float | None) -> None:
    assert retry_after_seconds(header, RFC_MOMENT_MS - 37_000) == expected


@given(st.text())
def test_no_retry_after_breaks_anything(header: str) -> None:
    wait = retry_after_seconds(header, RFC_MOMENT_MS)
    assert wait is None or 0 <= wait <= 1e9


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (408, Retry("HTTP 408: busy", after_seconds=9.0, blames_content=True)),
        *[
            (status, Retry(f"HTTP {status}: busy", after_seconds=9.0, blames_content=True))
            for status in (500, 501, 502, 503, 504, 599)
        ],
        *[(status, Stop(f"HTTP {status}: busy")) for status in (404, 405, 421)],
        *[(status, None) for status in (100, 200, 204, 400, 401, 403, 413, 429, 600)],
    ],
)
def test_what_a_status_means_for_every_provider(status: int, expected: Outcome | None) -> None:
    assert common_outcome(HttpReply(status, b"busy", 9.0)) == expected


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
def test_a_redirect_stops_whatever_its_body(status: int) -> None:
    assert isinstance(common_outcome(HttpReply(status, b"1")), Stop)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("two\r\n  lines\x00\x1b[31m", "two lines [31m"),
        ("<html><style>p{}</style><h1>502 Bad\nGateway</h1></html>", "502 Bad Gateway"),
        ("<script>steal()", ""),
        ("a < b and c > d", "a < b and c > d"),
        ("key K3y and k3Y", "key *** and ***"),
        ("x" * 501, "x" * 499 + "…"),
        ("x" * 498 + "K3y", "x" * 498 + "*…"),
    ],
)
def test_a_providers_words_become_one_short_line(text: str, expected: str) -> None:
    assert plain_text(text, ["K3y", ""]) == expected


@given(st.text(), st.text(min_size=4, alphabet="abcXYZ019=+/"), st.text())
def test_a_secret_is_masked_wherever_it_stands(before: str, secret: str, after: str) -> None:
    masked = plain_text(before + secret + after, [secret])
    assert secret not in masked or secret in plain_text(before, [secret]) + plain_text(after, [secret])
    assert len(masked) <= MAX_REASON_CHARACTERS


def test_a_secret_across_the_cut_leaves_no_half() -> None:
    for room in range(3_900, 4_010):
        assert "S3CR" not in plain_text("<i>" * (room // 3) + "S3CR3T-KEY", ["S3CR3T-KEY"])


def test_a_mib_of_noise_is_cheap_to_read() -> None:
    assert status_reason(HttpReply(500, b"<" * 1_048_576)).startswith("HTTP 500: <<<")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://api.mixpanel.com", "https://api.mixpanel.com"),
        ("http://127.0.0.1:8080/base//", "http://127.0.0.1:8080/base"),
        ("http://[::1]:80", "http://[::1]:80"),
    ],
)
def test_a_base_url_loses_its_last_slash(url: str, expected: str) -> None:
    assert checked_url(url, "endpoint") == expected


@pytest.mark.parametrize(
    "url",
    [
        *("", "api.mixpanel.com", "ftp://host", "http://", "http://h:99999", "http://h:x", "http://[::1", "http://h:0"),
        *("http://h/?a=1", "http://h/#f", "http://h /x", "http://h/\n"),
    ],
)
def test_what_is_no_base_url_is_refused_with_its_key(url: str) -> None:
    with pytest.raises(ConfigError, match=r"^endpoint: not a base URL") as caught:
        checked_url(url, "endpoint")
    assert caught.value.key == "endpoint"


def test_a_login_in_a_url_is_refused_without_quoting_it() -> None:
    with pytest.raises(ConfigError, match="login") as caught:
        checked_url("https://user:pw-hidden@host", "endpoint")
    assert "hidden" not in str(caught.value)
