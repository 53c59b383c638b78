"""What the model of a lane is made of: a provider, what callers send and providers say, what is known of an event."""

from dataclasses import dataclass
from pathlib import Path

import hypothesis.strategies as st

from spoold.delivery.backoff import RetryPolicy
from spoold.delivery.batch import Call
from spoold.providers.base import (
    Deferral,
    Delivered,
    Encoded,
    Limits,
    Outcome,
    Rejected,
    Retry,
    Split,
    Stop,
    Unsendable,
)
from spoold.record import Draft, Event
from tests.support.events import make_draft, make_identify_draft
from tests.support.lanes import PlainProvider
from tests.support.spools import MIB

MAX_RETRY_AFTER_SECONDS = 60.0
STOPPED_SECONDS = 300.0
#: Waits are stored in whole milliseconds.
ROUNDED_SECONDS = 0.002
CHOKES = Retry("HTTP 500", blames_content=True)
RETRY = RetryPolicy(
    max_attempts=2,
    initial_delay_seconds=1.0,
    max_delay_seconds=4.0,
    max_retry_after_seconds=MAX_RETRY_AFTER_SECONDS,
)


@dataclass(frozen=True)
class Setup:
    """A provider and its owner's settings. One that keeps batches has one route."""

    has_two_routes: bool
    keeps_batches: bool
    max_parts: int
    batch_size: int
    in_flight: int
    most_aside: int

    @property
    def profiles(self) -> str:
        """The route of profiles."""
        return "profiles" if self.has_two_routes and not self.keeps_batches else "events"


class ModelProvider(PlainProvider):
    """Profiles keep their place, on a route of their own or among the events; some events are two records."""

    def __init__(self, setup: Setup) -> None:
        super().__init__()
        limits = Limits(setup.max_parts, MIB, keeps_batches=setup.keeps_batches)
        self._profiles = setup.profiles
        self._by_route = dict.fromkeys(["events", setup.profiles], limits)

    @property
    def routes(self) -> dict[str, Limits]:
        return self._by_route

    def encode(self, event: Event) -> Encoded | Unsendable:
        encoded = super().encode(event)
        if isinstance(encoded, Unsendable):
            return encoded
        is_profile = event.kind == "identify"
        parts = encoded.parts * 2 if event.event_name == "double" else encoded.parts
        return Encoded(self._profiles if is_profile else "events", parts, in_order=is_profile)


#: What a caller sends: a letter an event.
DRAFTS: dict[str, Draft] = {
    "t": make_draft("plain"),
    "2": make_draft("double"),
    "i": make_identify_draft(),
    "u": make_draft("unsendable"),
    "h": make_draft("hidden"),
}

Answer = str | Retry | Split | Stop

#: What a provider says. A text is said of the parts, over and over: taken, refused, later, again at once.
ANSWERS: list[Answer] = [
    *("o", "o", "o", "ox", "xo", "x", "o+", "+o", "+", "o0", "0o", "0", "ox+0", "+0", "0x", "oooox"),
    *(Retry("HTTP 500", blames_content=True, min_seconds=seconds) for seconds in (0.0, 0.0, 2.0)),
    *(Retry("no connection", min_seconds=seconds) for seconds in (0.0, 2.0)),
    *(Retry("HTTP 503", after_seconds=seconds, blames_content=True) for seconds in (0.5, 7.5, 90.0)),
    *(Split("HTTP 400", suspicious_after=count) for count in (2, 3, 5, 20)),
    *(Split("HTTP 422", retries=count, suspicious_after=4) for count in (1, 2)),
    Split("HTTP 413", too_large=True),
    Stop("HTTP 401"),
]


def outcome_of(call: Call, answer: Answer) -> Outcome:
    """The answer to this call: marks are said of its parts."""
    if not isinstance(answer, str):
        return answer
    said = [(index, answer[index % len(answer)]) for index in range(len(call.parts))]
    return Delivered(
        dead=tuple(Rejected(index, "refused") for index, mark in said if mark == "x"),
        deferred=tuple(
            Deferral(index, {"+": 20.0, "0": 0.0}[mark], "throttled") for index, mark in said if mark in "+0"
        ),
    )


@dataclass(eq=False)
class Known:
    """What the model knows of one event.

    Attributes:
        sent: How often.
        fate: What is known since the last start, settled or not; empty: nothing.
        confirmed: The provider took it at some time.
        refused: It may be dead: the provider said so, or it can't be sent.
        not_before: Monotonic seconds.
        request: The events of the request that carried it; a kept batch repeats it.
        is_cut: A reply told its events apart, or blamed it: what is left of it is another request.
        failed_at: How many events had been delivered when a request that held it failed for its content.
        lone_failures: How often it failed alone with others delivered since it failed before.
        is_blamed: It failed for its content, perhaps, since the last start.
        may_be_aside: The lane may go on without it, as far as is known since the last start.
    """

    route: str
    in_order: bool
    is_sendable: bool
    is_hidden: bool
    sent: int = 0
    fate: str = ""
    confirmed: bool = False
    refused: bool = False
    not_before: float = 0.0
    request: tuple[int, ...] = ()
    is_cut: bool = False
    failed_at: int | None = None
    lone_failures: int = 0
    is_blamed: bool = False
    may_be_aside: bool = False


def shared_memory() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


#: Any kind of lane.
SETUPS = st.builds(
    Setup,
    has_two_routes=st.booleans(),
    keeps_batches=st.booleans(),
    max_parts=st.sampled_from([3, 2_000]),
    batch_size=st.sampled_from([1, 3, 6]),
    in_flight=st.integers(1, 4),
    most_aside=st.sampled_from([2, 10_000]),
)
#: Any answer.
ANYTHING = st.sampled_from(ANSWERS)
