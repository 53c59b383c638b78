"""What happens in a spool whose disk fails at one point: steps that use all of it, each of which can be repeated.

The steps are those of callers and lanes as they should be: what got no answer, or a refusal, is done again with the
same id. So whatever the disk did, the end is the same.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from spoold.api.analytics.v1 import service_pb2
from spoold.errors import SpoolFailedError, SpoolFullError
from spoold.record import Draft
from spoold.spool.values import Deferred, Lease, Receipt, ReplayStep, RetryState, Selection
from tests.support.clock import START_MS, FakeClock
from tests.support.events import make_draft
from tests.support.spools import MIB, OpenSpool, make_settlement

#: How many refusals in a row a caller meets, at most, while nothing but the spool itself makes it take events again.
_PATIENCE = 3
#: How many events are past their retention in the end.
_FORGOTTEN = 6


@dataclass
class Told:
    """What callers were told.

    Attributes:
        stored: seq → the bytes of each event that was acknowledged.
        refused: The bytes of each event that surely was not stored.
    """

    stored: dict[int, bytes] = field(default_factory=dict)
    refused: set[bytes] = field(default_factory=set)


class Script:
    """Callers, two lanes and the housekeeper of one spool, over all its lives.

    Attributes:
        opened: The spool of this life.
        make_room: Called where a disk that stays full shall have room again.
        on_refusal: Called when a call was refused for want of room.
    """

    def __init__(self, size: int) -> None:
        """Prepare.

        Args:
            size: Bytes in each of the larger events.
        """
        self.opened: OpenSpool
        self.clock = FakeClock()
        self.told = Told()
        self.refusals = 0
        self.repeats = 0
        self.make_room: Callable[[], None] = lambda: None
        self.on_refusal: Callable[[], None] = lambda: None
        self._text = {"text": service_pb2.PropertyValue(string_value="x" * size)}
        self._leases: dict[str, Lease] = {}

    def lives(self) -> list[list[Callable[[], None]]]:
        """The steps, in lives that each end with a stop in order."""
        return [
            [self._open_lanes, self.keep_house, self._append_group, self._settle_some, self._append_large],
            [self._replay_dead, self._release, self._pause, *self._pass_a_lane_by(), self._settle_the_rest],
            [self._replay_journal, self._append_last, self._forget, self._vacuum],
        ]

    def begin_life(self, opened: OpenSpool) -> None:
        """Another process, which has claimed nothing yet."""
        self.opened = opened
        self._leases.clear()

    def keep_house(self) -> None:
        """The housekeeper looks at the disk; where there is room it makes the reserve again."""
        self.opened.spool.trim(1)

    # The steps.

    def _open_lanes(self) -> None:
        for lane in ("a", "b", "c"):
            self._open(lane)

    def _append_group(self) -> None:
        self._append([1, 2], [3, 4], [5, 6])

    def _settle_some(self) -> None:
        waits = Deferred(3, 60_000, START_MS + 60_000, 1, 0, "throttled", 429)
        self._settle("a", 0, 4, dead=[2], delivered=2, deferred=(waits,))

    def _append_large(self) -> None:
        self._append([7, 8, 9], [10, 11, 12], beside=lambda: self._settle("b", 0, 3, delivered=3))

    def _replay_dead(self) -> None:
        number = self._start_replay(Selection("a", is_dead=True))
        page = self.opened.spool.read_replay(number, max_events=100)
        step = ReplayStep(number, page.upto, 0, 0, tuple(page.revived), is_done=True)
        self._settle("a", 4, 4, delivered=0, replay=step, id=b"dead", outcome="replay")

    def _release(self) -> None:
        self._settle("a", 4, 4, delivered=0, released=(2, 3), id=b"released")

    def _pause(self) -> None:
        self.opened.spool.command("b", "pause")
        self.opened.spool.command("b", "accept_dead")

    def _pass_a_lane_by(self) -> list[Callable[[], None]]:
        return [
            lambda: self._append([13, 14]),
            lambda: self._open("b", is_open=False),
            lambda: self._append([15, 16]),
            lambda: self._open("b"),
            lambda: self._append([17]),
        ]

    def _settle_the_rest(self) -> None:
        self._settle("a", 4, 17, delivered=12, filtered=1)
        self._settle("b", 3, 17, delivered=11, purged=1)
        self._settle("c", self.opened.lane("c").cursor, 17)

    def _replay_journal(self) -> None:
        number = self._start_replay(Selection("b"))
        page = self.opened.spool.read_replay(number, max_events=100)
        step = ReplayStep(number, page.upto, len(page.events), 0, (), is_done=True)
        self._settle("b", 17, 17, delivered=0, replay=step, id=b"again", outcome="replay")

    def _forget(self) -> None:
        self.clock.advance(max(0.0, 50_000.0 - self.clock.monotonic()))
        while (trimmed := self.opened.store.state.spool.trimmed) < _FORGOTTEN:
            self.opened.spool.trim(_FORGOTTEN - trimmed)

    def _vacuum(self) -> None:
        # As the housekeeper has it done, but with a spool this small.
        done = self.opened.spool.commits.submit_job(lambda store: store.vacuum(0, MIB))
        self.opened.commit()
        done.result(timeout=0)

    def _append_last(self) -> None:
        self._append([18])

    # What operators, callers and lanes do.

    def _open(self, lane: str, *, is_open: bool = True) -> None:
        if is_open:
            self.opened.spool.open_lane(lane, "mixpanel", "earliest")
        else:
            self.opened.spool.close_lane(lane)

    def _draft(self, number: int) -> Draft:
        properties = self._text if 7 <= number <= 12 else {}
        event_id = number.to_bytes(2, "big") * 8
        return make_draft(f"event {number}", event_id=event_id, caller_id=f"order-{number}", properties=properties)

    def _append(self, *numbers: Sequence[int], beside: Callable[[], None] | None = None) -> None:
        """Calls of callers who repeat what was refused, gathered into one commit; with a lane's settlement."""
        calls = [[self._draft(number) for number in call] for call in numbers]
        futures = [self.opened.spool.append(call) for call in calls]
        try:
            (beside or self.opened.commit)()
        finally:
            refused = self._note(calls, futures)
        if refused:
            self._insist(refused)

    def _insist(self, calls: list[list[Draft]]) -> None:
        self.on_refusal()
        for _ in range(_PATIENCE):
            self._settle_while_full()
            self.keep_house()
            self.repeats += len(calls)
            futures = [self.opened.spool.append(call) for call in calls]
            try:
                self.opened.commit()
            finally:
                calls = self._note(calls, futures)
            if not calls:
                return
            self.make_room()
        raise AssertionError("there is room again, and the spool takes nothing")

    def _settle_while_full(self) -> None:
        """A provider takes an event while callers are refused; this must commit."""
        lane = self.opened.lane("c")
        seqs = self.opened.seqs("c")
        if seqs:
            self._settle("c", lane.cursor, seqs[0])
            assert self.opened.lane("c").pending == lane.pending - 1

    def _note(self, calls: list[list[Draft]], futures: "list[Future[list[Receipt]]]") -> list[list[Draft]]:
        """Read all answers; returns the calls that were refused."""
        refused = []
        for call, future in zip(calls, futures, strict=True):
            bodies = {draft.body for draft in call}
            error = future.exception(timeout=0)
            if error is None:
                self.told.stored |= {one.seq: draft.body for one, draft in zip(future.result(), call, strict=True)}
                self.told.refused -= bodies
            elif isinstance(error, SpoolFullError):
                self.refusals += 1
                self.told.refused |= bodies
                refused.append(call)
            else:
                # Nobody knows, so the caller repeats it after the next start.
                assert isinstance(error, SpoolFailedError), error
                self.told.refused -= bodies
                self.repeats += 1
        return refused

    def _settle(self, lane: str, after: int, upto: int, **fields: Any) -> None:
        if lane not in self._leases:
            self._leases[lane] = self.opened.spool.claim(lane)
        if self.opened.lane(lane).cursor > after:
            # It committed before the process ended; a lane that starts reads where it stands.
            return
        state = RetryState(last_error_at_ms=START_MS)
        settlement = make_settlement(after, upto, **{"id": f"{lane} {after} {upto}".encode(), "retry": state, **fields})
        self.opened.spool.settle(self._leases[lane], settlement)

    def _start_replay(self, selection: Selection) -> int:
        found = [replay for replay in self.opened.spool.replays() if replay.selection == selection]
        return (found[0] if found else self.opened.spool.start_replay(selection)).id
