"""What a recorded spool lives through: appends in groups, settlements, trims, checkpoints, all drawn from a seed."""

import random
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Literal

from spoold.api.analytics.v1 import service_pb2
from spoold.record import Draft, encode_record
from spoold.spool.directory import NAMESPACE_NAME, load_namespace
from spoold.spool.quarantine import mark_damaged
from spoold.spool.values import DeadLetter, Deferred, Lease, Receipt, Selection
from tests.power.book import Book, Kept, Passed, Saved
from tests.power.opening import RETENTION_SECONDS, Opened, opened_spool
from tests.power.tape import Tape
from tests.support.clock import FakeClock, FakeEntropy
from tests.support.events import make_draft
from tests.support.spools import MIB

#: The header of the database; a mark that an earlier run left; or one that is left now, with a log that is not synced.
Damage = Literal["header", "mark", "mid-run"]

LANES = ("crm", "mixpanel")
#: Of each event: mostly small, at times larger than a page of the database.
_TEXT_BYTES = (0, 20, 300, 1500, 9000)
_FATES, _FATE_WEIGHTS = ("delivered", "dead", "deferred", "filtered"), (12, 1, 1, 1)


class Script:
    """One life of the spool, on a tape; what it is promised goes into the book."""

    def __init__(self, tape: Tape, book: Book, rng: random.Random, clock: FakeClock, entropy: FakeEntropy) -> None:
        self._tape = tape
        self._book = book
        self._rng = rng
        self._clock = clock
        self._entropy = entropy
        self._leases: dict[str, Lease] = {}
        self._chosen: list[bytes] = []

    def live(self, steps: int, *, durability: str) -> None:
        """Open the spool, do so much, and stop in order."""
        self.make_namespace()
        with opened_spool(self._tape.directory, self._clock, self._entropy, durability=durability) as opened:
            for lane in LANES:
                opened.spool.open_lane(lane, "mixpanel", "earliest")
                self._leases[lane] = opened.spool.claim(lane)
            for _ in range(steps):
                self._step(opened)

    def recover(self, damage: Damage) -> None:
        """A damaged spool: it is moved aside, salvaged, and the new one goes on."""
        unsynced = self._fail() if damage == "mid-run" else []
        # What a caller repeats before it is salvaged has the content that came last, which is not what is owed here.
        self._chosen = []
        if damage != "header":
            mark_damaged(self._tape.directory, "met in mid-run")
        with opened_spool(self._tape.directory, self._clock, self._entropy) as opened:
            self._book.saved += [Saved(self._tape.now, record) for record in unsynced]
            for lane in LANES:
                opened.spool.open_lane(lane, "mixpanel", "latest")
            self._append(opened)
            opened.salvage()
            self._append(opened)

    def _fail(self) -> list[bytes]:
        """Meet damage in mid-run: the spool is closed as it lies, with what was not synced. Returns that."""
        with opened_spool(self._tape.directory, self._clock, self._entropy, durability="os") as opened:
            drafts = [self._draft() for _ in range(8)]
            receipts = [opened.append([draft])[0] for draft in drafts]
            opened.store.is_damaged = True
        now_ms, pairs = self._clock.wall_ms(), zip(drafts, receipts, strict=True)
        return [encode_record(draft, one.event_id, now_ms) for draft, one in pairs if not one.duplicate]

    def make_namespace(self) -> None:
        """The file that outlives the database."""
        namespace = load_namespace(self._tape.directory, self._entropy)
        self._book.kept.append(Kept(self._tape.now, NAMESPACE_NAME, f"{namespace}\n".encode()))

    def _step(self, opened: Opened) -> None:
        do: Callable[[Opened], None] = self._rng.choices(
            (self._append, self._settle, self._trim, self._checkpoint, self._replay, self._release),
            (10, 6, 2, 2, 1, 1),
        )[0]
        do(opened)
        self._clock.advance(self._rng.choice((0, 0.01, 1, 20)))

    def _append(self, opened: Opened) -> None:
        """Several callers, one commit."""
        for _ in range(self._rng.randint(1, 5)):
            drafts = [self._draft() for _ in range(self._rng.choice((1, 1, 1, 2, 8)))]
            future = opened.spool.append(drafts)
            # The moment of the reply, whenever the spool gives it.
            future.add_done_callback(partial(self._acknowledged, drafts, self._clock.wall_ms()))
        opened.commit()

    def _acknowledged(self, drafts: list[Draft], received_at_ms: int, future: "Future[list[Receipt]]") -> None:
        self._book.owe(self._tape.now, drafts, future.result(), received_at_ms)

    def _draft(self) -> Draft:
        if self._chosen and self._rng.random() < 0.1:
            return make_draft("Again", event_id=self._rng.choice(self._chosen))
        size = self._rng.choice(_TEXT_BYTES)
        properties = {"text": service_pb2.PropertyValue(string_value=self._rng.randbytes(size).hex()[:size])}
        event_id = self._rng.randbytes(16) if self._rng.random() < 0.2 else None
        if event_id is not None:
            self._chosen.append(event_id)
        return make_draft(f"Event {self._rng.randrange(9)}", event_id=event_id, properties=properties)

    def _settle(self, opened: Opened) -> None:
        name = self._rng.choice(LANES)
        lane = opened.lane(name)
        page = opened.spool.read(name, lane.cursor, max_events=self._rng.randint(1, 30), max_bytes=MIB)
        seqs = [event.seq for event in page.events]
        if not seqs:
            return
        fates = {
            seq: self._rng.choices(("delivered", "dead", "deferred", "filtered"), (12, 1, 1, 1))[0] for seq in seqs
        }
        by_fate = {fate: tuple(seq for seq in seqs if fates[seq] == fate) for fate in _FATES}
        dead = by_fate["dead"]
        self._book.begun[name] = max(page.after, self._book.begun.get(name, 0))
        opened.settle(
            self._leases[name],
            page.after,
            id=self._rng.randbytes(8),
            delivered=len(by_fate["delivered"]),
            filtered=len(by_fate["filtered"]),
            dead=[DeadLetter(seq, "refused", 400, 1) for seq in dead],
            deferred=tuple(Deferred(seq, 1000, 0, 1, 0, "later", 429) for seq in by_fate["deferred"]),
        )
        self._book.passed.append(Passed(self._tape.now, name, page.after, dead))

    def _release(self, opened: Opened) -> None:
        """What stood aside was delivered after all."""
        name = self._rng.choice(LANES)
        seqs = tuple(one.seq for one in opened.spool.deferred(name))
        if seqs:
            cursor = opened.lane(name).cursor
            opened.settle(self._leases[name], cursor, id=self._rng.randbytes(8), delivered=0, released=seqs)

    def _replay(self, opened: Opened) -> None:
        opened.spool.start_replay(Selection(self._rng.choice(LANES)))

    def _trim(self, opened: Opened) -> None:
        self._clock.advance(RETENTION_SECONDS)
        begun = self._tape.now
        before = self._seqs(opened)
        opened.spool.trim(self._rng.choice((5, 50, 500)))
        # The product keeps some MiB of free pages; here they go, so that the file shrinks too.
        opened.store.vacuum(0, MIB)
        self._book.may_be_gone |= dict.fromkeys(before - self._seqs(opened), begun)

    @staticmethod
    def _checkpoint(opened: Opened) -> None:
        opened.store.checkpoint()

    @staticmethod
    def _seqs(opened: Opened) -> set[int]:
        return {seq for (seq,) in opened.rows("SELECT _id FROM queue_journal")}
