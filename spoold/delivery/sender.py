"""Carrying a call to the provider and back. Blocks on the network: belongs on a lane's own thread."""

from dataclasses import dataclass
from typing import Protocol

from spoold.clock import Clock
from spoold.delivery.batch import Call
from spoold.log import Logger
from spoold.providers.base import Delivered, Outcome, Provider, Retry, Stamp
from spoold.providers.http import HttpTransport, TransportError


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of one call.

    Attributes:
        status: HTTP status, or None when no reply came.
    """

    outcome: Outcome
    status: int | None
    took_seconds: float


class Sender(Protocol):
    """Sends one call and says what it led to."""

    def send(self, call: Call, timeout_seconds: float) -> Attempt:
        """Send ``call``; never raises for what a provider or a network does."""
        ...

    def abort(self) -> None:
        """Make a ``send`` in another thread end soon, with its outcome unknown."""
        ...

    def close(self) -> None:
        """Give connections back."""
        ...


class HttpSender:
    """The real way."""

    def __init__(self, provider: Provider, transport: HttpTransport, clock: Clock) -> None:
        self._provider = provider
        self._transport = transport
        self._clock = clock

    def send(self, call: Call, timeout_seconds: float) -> Attempt:
        """Post the call and read the reply."""
        start = self._clock.monotonic()
        parts = call.parts
        stamp = Stamp(self._clock.wall_ms(), call.batch_id)
        status: int | None = None
        outcome: Outcome
        try:
            reply = self._transport.post(self._provider.request(call.route, parts, stamp), timeout_seconds)
        except TransportError as exc:
            outcome = Retry(exc.reason, blames_content=exc.was_sent)
        else:
            status = reply.status
            outcome = self._provider.read_reply(call.route, parts, reply)
        return Attempt(outcome, status, self._clock.monotonic() - start)

    def abort(self) -> None:
        """Cut the connections."""
        self._transport.abort()

    def close(self) -> None:
        """Close idle connections."""
        self._transport.close()


class TestModeSender:
    """Test mode: everything runs, no request leaves the machine."""

    __test__ = False  # not a test case, whatever pytest thinks of the name

    def __init__(self, log: Logger) -> None:
        self._log = log

    def send(self, call: Call, timeout_seconds: float) -> Attempt:
        """Say what would be sent."""
        del timeout_seconds
        self._log.info("TEST MODE: would send batch", event_count=len(call.items), route=call.route)
        return Attempt(Delivered(), status=None, took_seconds=0.0)

    def abort(self) -> None:
        """Nothing is under way."""

    def close(self) -> None:
        """Nothing is open."""
