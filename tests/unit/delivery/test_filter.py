"""What a lane sees of an event, and what it doesn't."""

import copy
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoold.delivery.filter import REDACTED, EventFilter
from spoold.record import canonical_json
from tests.support.events import make_event, make_identify

USER = {"email": "a@x", "name": {"first": "Ann", "ssn": 1}, "orders": [{"ssn": 2, "total": 5}, {"total": 7}]}


def seen(given: dict[str, Any], **lists: Any) -> dict[str, object]:
    """The properties that a lane sees of an event with those that are given."""
    event = EventFilter(**lists).apply(make_event(properties=given))
    assert event is not None
    return event.properties


def test_without_a_filter_the_event_is_the_answer() -> None:
    event = make_event()

    assert EventFilter().apply(event) is event


@pytest.mark.parametrize(
    ("include", "exclude", "name", "passes"),
    [
        ([], [], "Order Paid", True),
        (["Order Paid"], [], "Order Paid", True),
        (["Order"], [], "Order Paid", False),
        (["Order *"], [], "Order Paid", True),
        (["Order *"], [], "order paid", False),
        (["Cart *", "Order *"], [], "Order Paid", True),
        (["Order ????"], [], "Order Paid", True),
        (["Order ???"], [], "Order Paid", False),
        ([], ["Order *"], "Order Paid", False),
        ([], ["Cart *"], "Order Paid", True),
        (["Order *"], ["* Paid"], "Order Paid", False),
        (["*"], [], "two\nlines", True),
        (["a|b"], [], "a", False),
        (["[ab]"], [], "a", False),
        (["[ab]"], [], "[ab]", True),
        (["a.c"], [], "abc", False),
        ([], ["*"], "$identify", False),
    ],
)
def test_names_decide_which_events_pass(include: list[str], exclude: list[str], name: str, *, passes: bool) -> None:
    event = make_event(event_name=name)

    assert EventFilter(include=include, exclude=exclude).apply(event) == (event if passes else None)


@pytest.mark.parametrize(
    ("include", "exclude", "passes"),
    [
        (["Order Paid"], [], True),
        ([], ["*"], True),
        ([], ["$*"], True),
        ([], ["$identify"], False),
        (["$identify"], ["Order *", "$identify"], False),
    ],
)
def test_a_profile_passes_unless_it_is_excluded_by_its_own_name(
    include: list[str], exclude: list[str], *, passes: bool
) -> None:
    profile = make_identify()

    assert EventFilter(include=include, exclude=exclude).apply(profile) == (profile if passes else None)


@pytest.mark.parametrize(
    ("paths", "kept"),
    [
        (["email"], {"name": USER["name"], "orders": USER["orders"]}),
        (["name", "orders"], {"email": "a@x"}),
        (["name.ssn"], USER | {"name": {"first": "Ann"}}),
        (["*.ssn"], USER | {"name": {"first": "Ann"}, "orders": [{"total": 5}, {"total": 7}]}),
        (["n*.*"], USER | {"name": {}}),
        (["orders.total"], USER | {"orders": [{"ssn": 2}, {}]}),
        (["*ame"], {"email": "a@x", "orders": USER["orders"]}),
        (["*"], {}),
        (["ssn", "Email", "email.x", "name.first.x", "e?ail", "emai"], USER),
    ],
)
def test_a_path_that_is_dropped_is_gone(paths: list[str], kept: dict[str, object]) -> None:
    assert seen(USER, drop=paths) == kept


@pytest.mark.parametrize(
    ("paths", "changed"),
    [
        (["email"], {"email": REDACTED}),
        (["name"], {"name": REDACTED}),
        (["orders"], {"orders": REDACTED}),
        (
            ["*.ssn"],
            {"name": {"first": "Ann", "ssn": REDACTED}, "orders": [{"ssn": REDACTED, "total": 5}, {"total": 7}]},
        ),
    ],
)
def test_a_path_that_is_redacted_keeps_its_place_and_not_its_value(
    paths: list[str], changed: dict[str, object]
) -> None:
    assert seen(USER, redact=paths) == USER | changed


def test_a_path_goes_through_lists_of_lists() -> None:
    assert seen({"a": [[{"b": 1, "c": 2}], 3]}, drop=["a.b"]) == {"a": [[{"c": 2}], 3]}


def test_a_name_with_dots_counts_as_the_path_that_it_spells() -> None:
    given = {"address.city": "Bonn", "address.zip": {"code": 1}, "addresses": 2}

    assert seen(given, redact=["address.city"]) == given | {"address.city": REDACTED}
    assert seen(given, redact=["address.zip.code"]) == given | {"address.zip": {"code": REDACTED}}
    assert seen(given, drop=["address"]) == {"addresses": 2}


def test_what_is_dropped_is_not_redacted() -> None:
    assert seen({"a": {"b": 1}}, drop=["a"], redact=["a", "a.b"]) == {}


def test_a_null_is_not_redacted() -> None:
    assert seen({"email": None, "phone": ""}, redact=["*"]) == {"email": None, "phone": REDACTED}


def test_profiles_are_cleaned_as_events_are() -> None:
    profile = EventFilter(drop=["a"], redact=["b"]).apply(make_identify(properties={"a": 1, "b": 2, "c": 3}))

    assert profile is not None
    assert profile.properties == {"b": REDACTED, "c": 3}


def test_an_added_property_never_replaces_the_events_own() -> None:
    add = {"plan": "static", "m": 1.5, "is_test": True}

    assert seen({"plan": "own", "z": 1}, add=add) == {"is_test": True, "m": 1.5, "plan": "own", "z": 1}
    assert seen({"plan": "own"}, add={"plan": "static"}, drop=["plan"]) == {"plan": "static"}
    assert seen({"plan": None}, add={"plan": "static"}) == {"plan": None}


def test_an_added_property_is_not_redacted() -> None:
    assert seen({}, add={"email": "team@x"}, redact=["email"]) == {"email": "team@x"}


def test_a_profile_gets_no_added_property() -> None:
    profile = make_identify()

    assert EventFilter(add={"plan": "static"}).apply(profile) is profile


def test_only_properties_are_changed() -> None:
    event = make_event(properties={"a": 1, "user_id": "x"})

    view = EventFilter(redact=["*"], drop=["event_id"], add={"seq": 1}).apply(event)

    assert view is not None
    assert view.properties == {"a": REDACTED, "seq": 1, "user_id": REDACTED}
    assert replace(view, properties=event.properties) == event


NAMES = st.text("ab.", max_size=3)
SEGMENTS = st.text("ab*", min_size=1, max_size=2)
PATHS = st.lists(st.lists(SEGMENTS, min_size=1, max_size=3).map(".".join), max_size=3)
VALUES = st.recursive(
    st.just("leaf"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=12,
)


def numbered(value: Any, numbers: Iterator[int]) -> Any:
    """``value`` with a number of its own at each leaf."""
    if isinstance(value, dict):
        return {name: numbered(value[name], numbers) for name in sorted(value)}
    return [numbered(item, numbers) for item in value] if isinstance(value, list) else next(numbers)


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, object]]:
    """Each leaf with its path, which begins with a dot."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from leaves(item, f"{path}.{name}")
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item, path)
    else:
        yield path, value


def is_below(path: str, pattern: str) -> bool:
    """Whether ``path`` is where ``pattern`` leads, or below that."""
    regex = re.escape(f".{pattern}").replace(r"\*", "[^.]*")
    return re.match(rf"{regex}(\.|$)", path) is not None


@given(st.dictionaries(NAMES, VALUES, max_size=4), PATHS, PATHS)
def test_what_a_path_names_is_gone_and_all_else_is_as_it_was(
    shape: dict[str, Any], drop: list[str], redact: list[str]
) -> None:
    event = make_event(properties=numbered(shape, count()))
    before = copy.deepcopy(event)

    view = EventFilter(drop=drop, redact=redact).apply(event)

    assert view is not None
    assert event == before
    kept = [leaf for leaf in leaves(event.properties) if not any(is_below(leaf[0], path) for path in drop + redact)]
    assert [leaf for leaf in leaves(view.properties) if leaf[1] != REDACTED] == kept
    shown = [path for path, value in leaves(view.properties) if value == REDACTED]
    assert all(any(is_below(path, pattern) for pattern in redact) for path in shown)
    assert not any(is_below(path, pattern) for path in shown for pattern in drop)


@given(st.dictionaries(NAMES, VALUES, max_size=4), PATHS, st.dictionaries(NAMES, st.integers(-9, 9), max_size=3))
def test_the_view_is_the_same_bytes_each_time_and_its_keys_are_sorted(
    shape: dict[str, Any], redact: list[str], add: dict[str, int]
) -> None:
    event = make_event(properties=numbered(shape, count()))

    first, second = (EventFilter(redact=redact, add=add).apply(event) for _ in range(2))

    assert first is not None
    assert second is not None
    assert list(first.properties) == sorted(first.properties)
    assert canonical_json(first.properties) == canonical_json(second.properties)
    assert {name: first.properties[name] for name in add if name not in event.properties} == {
        name: value for name, value in add.items() if name not in event.properties
    }
