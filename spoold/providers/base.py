"""What a provider is: it turns frozen events into requests, and replies into outcomes. Nothing else.

A provider never sees the spool, keeps no state between calls, never waits and never retries. How long to wait
and what to do next is decided in ``delivery/``. All methods are pure and safe from any thread. A ``Kind`` tells the
configuration what a lane of this kind needs, and builds the provider for it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, NamedTuple, Protocol

from spoold.record import Event


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request of a route may hold.

    Attributes:
        max_parts: Most JSON records in one request.
        max_body_bytes: Most bytes of the body before compression.
        keeps_batches: The receiver knows a request again by its ``Stamp.batch_id``: which events share a request is
            decided once, on disk, and stays so over retries and restarts. Costs a commit a request.
    """

    max_parts: int
    max_body_bytes: int
    keeps_batches: bool = False


class Encoded(NamedTuple):
    """One event in a provider's own JSON.

    Attributes:
        route: Which of the provider's endpoints takes it. Events of one route share requests.
        parts: The JSON records it becomes, at least one, sent in this order in one request.
        in_order: Must arrive after everything before it on its route, and before everything behind it: a profile
            that later events are read with. Others may be under way at the same time.
    """

    route: str
    parts: tuple[bytes, ...]
    in_order: bool = False


class Stamp(NamedTuple):
    """What a request may say of itself beside its events.

    Attributes:
        now_ms: Wall clock of this attempt, Unix milliseconds.
        batch_id: 32 hexadecimal digits; the same for the same events in the same order, over retries and restarts.
    """

    now_ms: int
    batch_id: str


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
    """One part that the provider did not take, and will take later.

    Attributes:
        index: Position of the part in the request.
        after_seconds: Least wait; 0 sends it again at once, longer ones let the lane go on without it.
    """

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
        blames_content: What is in the request may be the cause (a 5xx, a time-out). When others pass while it keeps
            failing, it is halved, and an event that fails alone again and again is set aside.
    """

    reason: str
    after_seconds: float | None = None
    min_seconds: float = 0.0
    extra_jitter_seconds: tuple[float, float] = (0.0, 0.0)
    blames_content: bool = False


@dataclass(frozen=True, slots=True)
class Split:
    """The request again in two halves; an event that fails alone is dead with this reason.

    Attributes:
        too_large: The size was the trouble: the lane remembers a smaller cap.
        retries: So many times the whole is sent again first, with the waits of a failure.
        suspicious_after: So many single events refused alike in a row stop the lane instead: a bad key looks like
            bad data (providers.md 5).
    """

    reason: str
    too_large: bool = False
    retries: int = 0
    suspicious_after: int = 20


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

    def request(self, route: str, parts: Sequence[bytes], stamp: Stamp) -> HttpRequest:
        """The POST that carries ``parts``, credentials included.

        The same events are the same bytes, but for what must tell the time of the attempt (``stamp.now_ms``).
        """
        ...

    def read_reply(self, route: str, parts: Sequence[bytes], reply: HttpReply) -> Outcome:
        """What ``reply`` to a request of ``parts`` means. Takes any status and any body; never raises."""
        ...


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """What the owner configured for one lane.

    Attributes:
        endpoint: Base URL: the lane's own, else its region's, else the kind's.
        credential: The key in force; empty where the kind needs none and none was given.
        options: A value for each of the kind's options, defaults filled in.
    """

    endpoint: str
    credential: str = field(default="", repr=False)
    options: Mapping[str, "OptionValue"] = field(default_factory=dict, repr=False)


OptionValue = str | int | bool | Mapping[str, str] | None


@dataclass(frozen=True, slots=True)
class Option:
    """A further key that the lane's table may hold for this kind.

    Attributes:
        type: ``string``, ``integer``, ``boolean`` or ``table`` (of strings).
        default: What holds where the table has no such key.
        choices: The only values, where there are some to choose from.
        bounds: (lowest, highest) of an integer.
        is_secret: Never shown.
    """

    type: Literal["string", "integer", "boolean", "table"] = "string"
    default: OptionValue = None
    choices: tuple[str, ...] = ()
    bounds: tuple[int, int] | None = None
    is_secret: bool = False


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of provider: what an entry point of the group ``spoold.providers`` names.

    Attributes:
        build: Makes the provider. Raises ConfigError, with the key that is wrong, for settings that can't work.
        endpoint: Base URL of the service; empty: the lane must name one.
        regions: Further base URLs by the name that ``region`` may have.
        credential: Name of the key that holds the credential; ``api_key`` is understood too.
        needs_credential: Whether a lane without one is refused.
        takes_several: Whether the credential may be several, with blanks between them.
        doubt_credential: A sentence for the log when a credential can't be right by its looks, else an empty text.
        options: Further keys by name.
    """

    build: Callable[[ProviderSettings], Provider]
    endpoint: str = ""
    regions: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    credential: str = "api_key"
    needs_credential: bool = True
    takes_several: bool = False
    doubt_credential: Callable[[str], str] = lambda _credential: ""
    options: Mapping[str, Option] = field(default_factory=lambda: MappingProxyType({}))


def whole_option(settings: ProviderSettings, name: str, default: int) -> int:
    """An integer option, or ``default`` where the settings have none."""
    value = settings.options.get(name, default)
    return value if isinstance(value, int) else default
