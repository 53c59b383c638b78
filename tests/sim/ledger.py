"""What the world knows, independently of the program: who was promised what, and what the services said."""

import random
from concurrent.futures import Future
from dataclasses import dataclass, field

from spoold.api.analytics.v1 import service_pb2
from spoold.record import Draft
from spoold.spool.values import Receipt
from tests.sim.parts import SimClock
from tests.sim.service import POISON

#: A client's times lie so far back that no clock that jumps gets behind them.
_LEAST_AGE_MS = 3 * 10**9


@dataclass
class Submitted:
    """One event that a client handed in.

    Attributes:
        said_ms: When the client says it happened; 0 where it leaves that to the spool.
        handed_in_ms: Wall clock at each time that it was handed in.
        handed_in_at: True time at which it was last handed in.
        receipt: The promise, once given; the last one, where a repeat was taken anew.
        is_refused: The client was told that surely nothing was stored.
        damaged_seq: Where its record was when one of its bits was flipped on the disk.
        damaged_in: The lanes that had it pending then.
        is_adrift: It stands in a spool that was moved aside; where it is brought over to is not known yet.
        seqs: Where it stood before it was brought over.
    """

    number: int
    draft: Draft
    text: str
    said_ms: int
    handed_in_ms: set[int] = field(default_factory=set)
    handed_in_at: float = 0.0
    receipt: Receipt | None = None
    is_refused: bool = False
    damaged_seq: int | None = None
    damaged_in: set[str] = field(default_factory=set)
    is_adrift: bool = False
    seqs: set[int] = field(default_factory=set)

    @property
    def is_poison(self) -> bool:
        """Whether every service refuses it for good."""
        return self.text == POISON

    @property
    def is_repeatable(self) -> bool:
        """Whether it is the same event whenever it is appended."""
        return bool(self.said_ms)


@dataclass
class Waiting:
    """A call that was not answered yet.

    Attributes:
        has_room: False when the disk is so full that it must be refused.
    """

    events: list[Submitted]
    future: "Future[list[Receipt]]"
    has_room: bool


@dataclass
class Figures:
    """What a run explored."""

    lives: int = 0
    crashes: int = 0
    power_cuts: int = 0
    disk_faults: int = 0
    stops: int = 0
    flipped_bits: int = 0
    damages: int = 0
    quarantines: int = 0
    salvage_steps: int = 0
    salvaged: int = 0
    migrations: int = 0
    clock_jumps: int = 0
    full_disks: int = 0
    waits_for_room: int = 0
    refused_for_disk: int = 0
    refused_for_max_bytes: int = 0
    forgotten: int = 0
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
        purged: Seqs (after, upto] that it gave up for want of room.
        is_paused: An operator said so.
        is_hurried: An operator said so, and the lane has not had a turn since.
        refused_alike: Seqs that were refused one by one, in a row and with the same words, in this life.
        refusal: Those words.
        flushes: How often an operator said so, as the spool counts it.
        is_word_known: Whether what an operator last said was heard.
    """

    cursor: int = 0
    confirmed: set[int] = field(default_factory=set)
    may_repeat: set[int] = field(default_factory=set)
    not_before: float | None = None
    gaps: set[tuple[int, int]] = field(default_factory=set)
    purged: set[tuple[int, int]] = field(default_factory=set)
    is_paused: bool = False
    is_hurried: bool = False
    refused_alike: list[int] = field(default_factory=list)
    refusal: str = ""
    flushes: int = 0
    is_word_known: bool = True


def make_event(number: int, rng: random.Random, clock: SimClock) -> Submitted:
    """A random event; its number is in it, so that services can tell."""
    text = POISON if rng.random() < 0.02 else rng.choice("abcd") * rng.choice([0, 3, 40, 400, 6000])
    said_ms = clock.wall_ms() - rng.randrange(_LEAST_AGE_MS, 2 * _LEAST_AGE_MS)
    event_id = rng.randbytes(16) if rng.random() < 0.25 else None
    if event_id is None and rng.random() < 0.5:
        said_ms = 0
    if rng.random() < 0.75:
        track = service_pb2.TrackEventRequest(event_name=f"event {number % 5}", user_id=f"u{number % 7}")
        track.timestamp_ms = said_ms
        track.properties["n"].number_value = number
        track.properties["text"].string_value = text
        track.properties["is_late"].bool_value = bool(said_ms)
        return Submitted(number, Draft("track", track.SerializeToString(deterministic=True), event_id), text, said_ms)
    identify = service_pb2.IdentifyUserRequest(user_id=f"i{number}", timestamp_ms=said_ms)
    identify.properties["text"].string_value = text
    identify.properties["n"].number_value = number
    draft = Draft("identify", identify.SerializeToString(deterministic=True), event_id)
    return Submitted(number, draft, text, said_ms)
