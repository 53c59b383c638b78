"""What a provider is: it turns frozen events into requests, and replies into outcomes. Nothing else.

A provider never sees the spool, keeps no state between calls, never waits and never retries. How long to wait
and what to do next is decided in ``delivery/``. All methods are pure and safe from any thread.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from spoold.record import Event


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request of a route may hold.

    Attributes:
        max_parts: Most JSON records in one request.
        max_body_bytes: Most bytes of the body before compression.
    """

    max_parts: int
    max_body_bytes: int


class Encoded(NamedTuple):
    """One event in a provider's own JSON.

    Attributes:
        route: Which of the provider's endpoints takes it. Events of one route share requests.
        parts: The JSON records it becomes, at least one, sent in this order in one request.
    """

    route: str
    parts: tuple[bytes, ...]


class Unsendable(NamedTuple):
    """The event can never be sent to this provider; it is set aside with this reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One POST. ``headers`` and ``url`` may hold secrets: never log them."""

    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class HttpReply:
    """What came back.

    Attributes:
        body: At most the first MiB.
        retry_after_seconds: The ``Retry-After`` header, whether it named seconds or a date; None without one.
    """

    status: int
    body: bytes
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """One part that the provider will never take.

    Attributes:
        index: Position of the part in the request.
        reason: The provider's own words, the field included where it names one.
    """

    index: int
    reason: str


@dataclass(frozen=True, slots=True)
class Deferral:
    """One part that the provider will take later."""

    index: int
    after_seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class Delivered:
    """The provider took the parts, except those listed.

    Attributes:
        dead: Parts refused for good.
        deferred: Parts to send again, each not before its wait.
        warning: Something to log although all is well, e.g. a count that does not match.
    """

    dead: tuple[Rejected, ...] = ()
    deferred: tuple[Deferral, ...] = ()
    warning: str = ""


@dataclass(frozen=True, slots=True)
class Retry:
    """The whole request again, later, byte for byte.

    Attributes:
        reason: What happened, for the operator.
        after_seconds: What the provider asked for; None leaves the wait to the backoff.
        min_seconds: Lower bound of the backoff (providers.md section 5: minimums on top of ``retry.*``).
        extra_jitter_seconds: (low, high) added to the wait.
    """

    reason: str
    after_seconds: float | None = None
    min_seconds: float = 0.0
    extra_jitter_seconds: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Split:
    """The request again in two halves; an event that fails alone is dead with this reason.

    Attributes:
        too_large: The size was the trouble: the lane remembers a smaller cap.
    """

    reason: str
    too_large: bool = False


@dataclass(frozen=True, slots=True)
class Stop:
    """Nothing will pass until the configuration changes (or the trouble in between passes): keep everything, probe."""

    reason: str


Outcome = Delivered | Retry | Split | Stop


class Provider(Protocol):
    """One way of speaking to one kind of service."""

    @property
    def routes(self) -> Mapping[str, Limits]:
        """The endpoints, in the order in which a batch is sent to them, with their limits."""
        ...

    def encode(self, event: Event) -> Encoded | Unsendable:
        """``event`` as this provider's JSON: the same bytes for the same event, always (I3)."""
        ...

    def request(self, route: str, parts: Sequence[bytes]) -> HttpRequest:
        """The POST that carries ``parts``, credentials included."""
        ...

    def read_reply(self, route: str, parts: int, reply: HttpReply) -> Outcome:
        """What ``reply`` to a request of ``parts`` records means. Takes any status and any body; never raises."""
        ...
