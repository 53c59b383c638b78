"""Random events: any text that protobuf takes, nested values, numbers at the edges, and names that mean something."""

from collections.abc import Sequence

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from tests.sdk.logical import Logical, identify
from tests.support.events import EVENT_ID, TIME_MS

#: How many are compared. No time limits: a busy machine is no difference.
TRACKS = settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
PROFILES = settings(TRACKS, max_examples=200)

texts = st.text(max_size=8)
numbers = st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | numbers | texts | st.just("x" * 1_100)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=6
)
ids = st.text("abc-123üΩ😀", min_size=5, max_size=9)


def properties(special: Sequence[str]) -> st.SearchStrategy[dict[str, object]]:
    """Property maps in which the special names turn up often."""
    return st.dictionaries(texts | st.sampled_from(list(special)), values, max_size=5)


def random_tracks(*, placeholders: Sequence[str], special: Sequence[str]) -> st.SearchStrategy[Logical]:
    """Track events of users, devices, both, nobody, and, where there are any, ids that mean nobody."""
    who = st.just("") | ids | st.sampled_from([id_.title() for id_ in placeholders])
    return st.builds(
        Logical,
        name=st.text(min_size=1, max_size=12).filter(lambda name: not name.isspace()),
        user_id=who,
        anonymous_id=who,
        properties=properties(special),
        event_id=st.sampled_from(["", EVENT_ID]),
        timestamp_ms=st.sampled_from([0]) | st.integers(1, TIME_MS),
    )


def random_identifies(*, special: Sequence[str]) -> st.SearchStrategy[Logical]:
    """Identify events of users."""
    return st.builds(
        identify,
        user_id=ids,
        anonymous_id=st.just("") | ids,
        properties=properties(special),
        timestamp_ms=st.sampled_from([0]) | st.integers(1, TIME_MS),
    )
