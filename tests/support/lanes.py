"""A real lane on a real spool, a provider without a network, and replies that a test writes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from spoold.delivery.backoff import RetryPolicy
from spoold.delivery.batch import Call
from spoold.delivery.lane import Done, Lane, LaneSettings, Send, Wait
from spoold.delivery.report import LaneReport
from spoold.delivery.sender import Attempt
from spoold.log import get_logger
from spoold.metrics import Metrics
from spoold.providers.base import Delivered, Encoded, HttpReply, HttpRequest, Limits, Outcome, Stamp, Unsendable
from spoold.record import Draft, Event, canonical_json
from spoold.spool.values import LaneState
from tests.support.clock import FakeClock, FakeEntropy
from tests.support.events import make_drafts
from tests.support.spools import MIB, OpenSpool, open_spool

SETTINGS = LaneSettings(batch_size=50, interval_seconds=10.0, timeout_seconds=30.0, retry=RetryPolicy())
OK = Delivered()

Answer = Callable[[Call], Outcome]


class PlainProvider:
    """Events on one route, profiles on another, one JSON record each; what is called "unsendable" it can't send."""

    def __init__(self, max_parts: int = 2_000, max_body_bytes: int = 2 * MIB) -> None:
        self._limits = Limits(max_parts, max_body_bytes)

    @property
    def routes(self) -> Mapping[str, Limits]:
        return {"events": self._limits, "profiles": self._limits}

    def encode(self, event: Event) -> Encoded | Unsendable:
        if event.event_name == "unsendable":
            return Unsendable("it has no user")
        part = canonical_json({"id": event.event_id, "name": event.event_name, "properties": event.properties})
        return Encoded("events" if event.kind == "track" else "profiles", (part,))

    def request(self, route: str, parts: Sequence[bytes], stamp: Stamp) -> HttpRequest:
        raise AssertionError(f"nothing goes over a network here: {len(parts)} records for {route}, {stamp}")

    def read_reply(self, route: str, parts: Sequence[bytes], reply: HttpReply) -> Outcome:
        raise AssertionError(f"nothing comes back from a network here: {reply.status} from {route} for {parts}")


class LaneRig:
    """One lane under a test's hand.

    Attributes:
        calls: All calls handed out, in order.
    """

    def __init__(
        self,
        directory: Path,
        clock: FakeClock,
        entropy: FakeEntropy,
        provider: PlainProvider,
        settings: LaneSettings,
        *,
        max_bytes: int = 1024 * MIB,
    ) -> None:
        self._directory = directory
        self._provider = provider
        self._settings = settings
        self._max_bytes = max_bytes
        self.clock = clock
        self.entropy = entropy
        self.calls: list[Call] = []
        self._life = ExitStack()

    def start(self) -> None:
        """Open the spool and take the lane up where it stands."""
        opened = open_spool(
            self._directory,
            clock=self.clock,
            entropy=self.entropy,
            retention_seconds=1e9,
            max_bytes=self._max_bytes,
        )
        self.opened: OpenSpool = self._life.enter_context(opened)
        self.opened.spool.open_lane("mixpanel", "mixpanel", "earliest")
        self.metrics = Metrics()
        self.lane = self.take_lane()

    def take_lane(self) -> Lane:
        """Another owner of the lane: the one before is fenced."""
        report = LaneReport("mixpanel", get_logger("tests"), self.metrics)
        return Lane(
            "mixpanel",
            self.opened.spool,
            self._provider,
            self._settings,
            report,
            clock=self.clock,
            entropy=self.entropy,
        )

    def close(self) -> None:
        """End as a process ends: what is not on disk is forgotten."""
        self._life.close()

    def restart(self, after_seconds: float = 0.0) -> None:
        """End, let time pass, start again."""
        self.close()
        self.clock.advance(after_seconds)
        self.start()

    def append(self, what: int | Sequence[Draft] = 1) -> list[int]:
        """So many events, or these; their seqs."""
        drafts = make_drafts(what) if isinstance(what, int) else what
        return [receipt.seq for receipt in self.opened.append(drafts)]

    def step(self) -> Send | Wait | Done:
        """What the lane wants now."""
        action = self.lane.step(self.clock.monotonic())
        if isinstance(action, Send):
            self.calls.append(action.call)
        return action

    def call(self) -> Call:
        """The call that the lane wants to send now; it must want to."""
        action = self.step()
        assert isinstance(action, Send), f"the lane wants {action}"
        return action.call

    def wait(self) -> Wait:
        """What the lane waits for; it must have nothing to send."""
        action = self.step()
        assert isinstance(action, Wait), f"the lane wants to {type(action).__name__.lower()}"
        return action

    def wait_seconds(self) -> float:
        """How long the lane waits; it must know."""
        seconds = self.wait().seconds
        assert seconds is not None
        return seconds

    def reply(self, call: Call, outcome: Outcome, status: int | None = 200, took_seconds: float = 0.0) -> None:
        """The provider's answer to the call."""
        self.clock.advance(took_seconds)
        self.lane.on_reply(call, Attempt(outcome, status, took_seconds), self.clock.monotonic())

    def send(self, outcome: Outcome = OK, status: int | None = 200) -> Call:
        """One call and its answer."""
        call = self.call()
        self.reply(call, outcome, status)
        return call

    def run(self, answer: Answer | Outcome = OK, status: int | None = 200, most: int = 1000) -> list[Call]:
        """Calls and answers until the lane wants to wait or is done; the calls."""
        first = len(self.calls)
        for _ in range(most):
            action = self.step()
            if not isinstance(action, Send):
                return self.calls[first:]
            self.reply(action.call, answer(action.call) if callable(answer) else answer, status)
        raise AssertionError(f"the lane still sends after {most} calls")

    def fail(self, outcome: Outcome, times: int, status: int | None = 503) -> list[float]:
        """So many failures in a row, each after its wait; the waits that they lead to."""
        waits = []
        for _ in range(times):
            self.send(outcome, status)
            waits.append(self.wait_seconds())
            self.clock.advance(waits[-1])
        return waits

    @property
    def state(self) -> LaneState:
        """The lane as the spool has it."""
        state: LaneState = self.opened.lane("mixpanel")
        return state

    def dead(self) -> list[tuple[int, str, int | None, int]]:
        """What is set aside: seq, reason, status, attempts."""
        return self.opened.rows("SELECT seq, reason, status, attempts FROM set_aside ORDER BY seq")

    def outcomes(self) -> list[str]:
        """What each settlement was."""
        return [outcome for (outcome,) in self.opened.rows("SELECT outcome FROM ledger ORDER BY id")]

    def count(self, name: str, **labels: str) -> float:
        """A metric of this lane."""
        return self.metrics.registry.get_sample_value(f"spoold_{name}", {"lane": "mixpanel", **labels}) or 0.0


@contextmanager
def running_lane(
    directory: Path,
    *,
    clock: FakeClock | None = None,
    jitter: float | None = None,
    provider: PlainProvider | None = None,
    max_bytes: int = 1024 * MIB,
    **settings: Any,
) -> Iterator[LaneRig]:
    """A lane on an empty spool."""
    rig = LaneRig(
        directory,
        clock or FakeClock(),
        FakeEntropy(jitter=jitter),
        provider or PlainProvider(),
        LaneSettings(**{**{name: getattr(SETTINGS, name) for name in SETTINGS.__slots__}, **settings}),
        max_bytes=max_bytes,
    )
    rig.start()
    try:
        yield rig
    finally:
        rig.close()


def seqs(call: Call) -> list[int]:
    """Which events a call carries."""
    return [item.seq for item in call.items]
