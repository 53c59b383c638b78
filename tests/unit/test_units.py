import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoold.units import format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("10s", 10.0),
        ("500ms", 0.5),
        ("0.1s", 0.1),
        ("5m", 300.0),
        ("24h", 86400.0),
        ("7d", 604800.0),
        (" 10 s ", 10.0),
        ("10", 10.0),
        (10, 10.0),
        (1.5, 1.5),
        (-1, -1.0),
    ],
)
def test_a_duration_is_a_number_of_seconds_or_has_a_unit(value: object, seconds: float) -> None:
    assert parse_duration(value) == seconds


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ("1GiB", 1024**3),
        ("256MiB", 256 * 1024**2),
        ("10GB", 10 * 10**9),
        ("1.5KiB", 1536),
        ("32kB", 32_000),
        ("7 B", 7),
        ("7", 7),
        (7, 7),
        (1e9, 10**9),
    ],
)
def test_a_size_is_a_number_of_bytes_or_has_a_unit(value: object, size: int) -> None:
    assert parse_size(value) == size


BAD = ["", "s", "10 apples", "10S", "-5s", "1e3", "10s5", "٣s", True, None, [], {}, float("nan"), float("inf")]


@pytest.mark.parametrize("value", BAD)
def test_what_is_no_duration_is_refused_with_examples(value: object) -> None:
    with pytest.raises(ValueError, match='must be a duration such as "500ms", "10s", "24h"'):
        parse_duration(value)


@pytest.mark.parametrize("value", BAD)
def test_what_is_no_size_is_refused_with_examples(value: object) -> None:
    with pytest.raises(ValueError, match='must be a size such as "256MiB", "10GiB"'):
        parse_size(value)


def test_part_of_a_byte_is_refused() -> None:
    with pytest.raises(ValueError, match="whole number of bytes"):
        parse_size("0.3KiB")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0s"), (0.001, "1ms"), (1.5, "1500ms"), (10.0, "10s"), (90.0, "90s"), (120.0, "2m"), (86400.0, "24h")],
)
def test_a_duration_is_written_in_the_largest_unit_that_fits(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.integers(min_value=0, max_value=3650 * 86_400_000))
def test_a_written_duration_reads_as_itself(milliseconds: int) -> None:
    assert parse_duration(format_duration(milliseconds / 1000)) == milliseconds / 1000


@given(st.integers(min_value=0, max_value=2**60))
def test_a_written_size_reads_as_itself(size: int) -> None:
    assert parse_size(format_size(size)) == size
