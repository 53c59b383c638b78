"""What the world knows, independently of the program: who was promised what, and what the services said."""

import random
from concurrent.futures import Future
from dataclasses import dataclass, field

from spoold.api.analytics.v1 import service_pb2
from spoold.record import Draft
from spoold.spool.contract import Receipt
from tests.sim.parts import SimClock
from tests.sim.service import POISON


@dataclass
class Submitted:
    """One event that a client handed in.

    Attributes:
        receipt: The promise, once given.
        is_refused: The client was told that surely nothing was stored.
        is_damaged: A bit of its record was flipped on the disk.
    """

    number: int
    draft: Draft
    text: str
    receipt: Receipt | None = None
    is_refused: bool = False
    is_damaged: bool = False

    @property
    def is_poison(self) -> bool:
        """Whether every service refuses it for good."""
        return self.text == POISON


@dataclass
class Waiting:
    """A call that was not answered yet."""

    events: list[Submitted]
    future: "Future[list[Receipt]]"


@dataclass
class Figures:
    """What a run explored."""

    lives: int = 0
    crashes: int = 0
    power_cuts: int = 0
    disk_faults: int = 0
    stops: int = 0
    acknowledged: int = 0
    refused: int = 0
    delivered: int = 0
    dead: int = 0
    repeats: int = 0
    simulated_seconds: float = 0.0


@dataclass
class LaneBook:
    """What the world saw of one lane, over all lives of the daemon.

    Attributes:
        cursor: Where it last stood.
        confirmed: Seqs that its service said it took, and the lane was told.
        may_repeat: Of those, the ones whose settlement a crash may have lost.
        not_before: True time before which it must not call, None when it need not wait.
        gaps: Seqs (after, upto] that were accepted while it was closed.
    """

    cursor: int = 0
    confirmed: set[int] = field(default_factory=set)
    may_repeat: set[int] = field(default_factory=set)
    not_before: float | None = None
    gaps: set[tuple[int, int]] = field(default_factory=set)


def make_event(number: int, rng: random.Random, clock: SimClock) -> Submitted:
    """A random event; its number is in it, so that services can tell."""
    text = POISON if rng.random() < 0.02 else rng.choice("abcd") * rng.choice([0, 3, 40, 400, 6000])
    said_ms = clock.wall_ms() - rng.randrange(1, 10**9)
    event_id = rng.randbytes(16) if rng.random() < 0.25 else None
    if rng.random() < 0.75:
        track = service_pb2.TrackEventRequest(event_name=f"event {number % 5}", user_id=f"u{number % 7}")
        if event_id is not None or rng.random() < 0.5:
            track.timestamp_ms = said_ms
        track.properties["n"].number_value = number
        track.properties["text"].string_value = text
        return Submitted(number, Draft("track", track.SerializeToString(), event_id), text)
    identify = service_pb2.IdentifyUserRequest(user_id=f"i{number}")
    identify.properties["text"].string_value = text
    return Submitted(number, Draft("identify", identify.SerializeToString(), event_id), text)
