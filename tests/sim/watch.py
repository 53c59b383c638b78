"""One lane as the world sees it over all lives: its turns are taken here, and its promises checked at each."""

from spoold.delivery.batch import Call
from spoold.delivery.lane import Send, Wait
from spoold.delivery.sender import Attempt
from spoold.providers.base import Delivered, Outcome, Retry, Split
from spoold.spool.values import Command
from tests.sim.fates import Fates
from tests.sim.ledger import Figures, LaneBook, Submitted
from tests.sim.machine import INTERVAL_SECONDS, RETRY, Machine, SimLane
from tests.sim.oracles import check_cursor, check_stopped
from tests.sim.parts import SimClock, Trace, hold
from tests.sim.passage import Passage

#: Longest that a lane may wait after a failure: the largest Retry-After that counts, plus the provider's jitter.
_LONGEST_WAIT_SECONDS = RETRY.max_retry_after_seconds + 5.0
#: So many events refused alike, one by one, are not to blame (design: whom to blame).
_SUSPICIOUS_REFUSALS = 20


class LaneWatch:
    """What a lane is seen to do, and what it must not."""

    def __init__(self, name: str, clock: SimClock, trace: Trace, figures: Figures, submitted: list[Submitted]) -> None:
        self.book = LaneBook()
        #: The spool is damaged, and nobody has noticed: a reader may see other bytes than the writer has in mind.
        self.is_damaged = False
        #: False while a new spool does not have the lane: a salvage may bring it with what it had done.
        self._is_there = True
        self.fates = Fates(name)
        self.passage = Passage(name)
        self._name = name
        self._clock = clock
        self._trace = trace
        self._figures = figures
        self._submitted = submitted

    def rebase(self, machine: Machine) -> None:
        """The spool is another, or an older one, by no fault of the program's: what was seen is seen anew."""
        lane = machine.store.state.lanes.get(self._name)
        self.book = LaneBook(cursor=0 if lane is None else lane.cursor, is_word_known=False)
        self._is_there = lane is not None
        self.fates.rebase(lane)
        self.passage.rebase()

    def note_gaps(self, machine: Machine) -> None:
        """What is brought over for others is none of this lane's."""
        lane = machine.store.state.lanes.get(self._name)
        if lane is not None:
            self.book.gaps |= {(gap.after, gap.upto) for gap in lane.gaps}

    def opened(self, machine: Machine) -> None:
        """A life begins in which the lane runs."""
        if not self._is_there:
            self.rebase(machine)
        book = self.book
        self.note_gaps(machine)
        if machine.lanes[self._name].lane.state == "stopped":
            # A restart is how a stopped lane's configuration is changed: it tries at once.
            book.not_before = None
        book.refused_alike.clear()
        self._check_words(machine)
        # The last life may have settled what it was told of, although nobody was there to see it.
        self._check_cursor(machine)
        self.fates.opened()
        self.passage.opened()
        # What was taken before a crash and refused after it stands aside, and may be sent again from there.
        rows = machine.store.connection.execute("SELECT seq FROM set_aside WHERE lane = ?", (self._name,))
        book.may_repeat = {seq for seq in book.confirmed if seq > book.cursor} | {seq for (seq,) in rows}

    def left_out(self, machine: Machine) -> None:
        """A life begins in which the lane does not run: what it settled as the last one ended may be forgotten soon."""
        row = machine.store.state.lanes.get(self._name)
        if not self._is_there:
            self.rebase(machine)
        elif row is not None and row.cursor != self.book.cursor:
            self.book.cursor = row.cursor
            self.fates.rebase(row)

    def _check_words(self, machine: Machine) -> None:
        """An operator's word outlives a restart."""
        book = self.book
        state = next(state for state in machine.spool.lanes() if state.name == self._name)
        if book.is_word_known:
            is_same = (state.is_paused, state.flushes) == (book.is_paused, book.flushes)
            hold("an operator's word outlives a restart", is_same, self._name, state, book.is_paused, book.flushes)
        book.is_paused, book.flushes, book.is_word_known = state.is_paused, state.flushes, True

    def _check_cursor(self, machine: Machine) -> None:
        self.fates.check(machine, check_cursor(machine, self._name, self.book))

    def take_turn(self, machine: Machine, sim: SimLane) -> None:
        """A lane's turn."""
        if self.book.is_hurried:
            self.book.is_hurried = False
            self.book.not_before = None
            self.fates.hurry()
        action = machine.step(sim)
        self._check_cursor(machine)
        if isinstance(action, Send):
            self._check_send(machine, sim, action.call)
        elif isinstance(action, Wait):
            self._check_wait(machine, sim, action)
            sim.wake_at = self._clock.now + (INTERVAL_SECONDS if action.seconds is None else action.seconds)
        else:
            check_stopped(machine, self._name, self.book)

    def telling(self) -> None:
        """An operator says something; whether it is heard is known when ``told`` is called."""
        self.book.is_word_known = False

    def told(self, word: Command) -> None:
        """An operator said so, and it is on disk."""
        self.book.is_word_known = True
        self.book.flushes += word != "pause"
        self.book.is_paused = word == "pause" or (self.book.is_paused and word == "flush")
        self.book.is_hurried |= word != "pause"

    def _check_send(self, machine: Machine, sim: SimLane, call: Call) -> None:
        seqs = {item.seq for item in call.items}
        self._note("send", sorted(seqs))
        book = self.book
        hold("a paused lane sends nothing", not book.is_paused, self._name, sorted(seqs)[:9])
        # What the lane is done with, or never had, is sent by a replay alone, on purpose.
        missed = {seq for seq in seqs if any(after < seq <= upto for after, upto in book.gaps)}
        aside = {one.seq for one in machine.spool.deferred(self._name)}
        is_replay = not any(seq > book.cursor or seq in aside for seq in seqs - missed)
        again = (seqs & book.confirmed) - book.may_repeat
        hold("I4: no repeat after a known outcome", is_replay or not again, self._name, again)
        if is_replay:
            has_one = any(replay.selection.lane == self._name for replay in machine.spool.replays())
            hold("I4: nothing settled is sent but by a replay", has_one, self._name, sorted(seqs)[:9])
        is_early = book.not_before is not None and self._clock.now < book.not_before - 0.002
        hold("a wait is kept, over restarts too", not is_early, self._name, self._clock.now, book.not_before)
        damaged = {event.damaged_seq for event in self._submitted} & seqs
        hold("I11: what is damaged is never sent", not damaged, self._name, damaged)
        hold("what came while a lane was closed is never sent", is_replay or not missed, self._name, missed)
        if not is_replay:
            self.fates.check_due(seqs, self._clock.now)
            if not (seqs & aside or self.is_damaged):
                self.passage.check_send(machine, sim, call, told=self.fates.told, gaps=book.gaps)

    def _check_wait(self, machine: Machine, sim: SimLane, wait: Wait) -> None:
        state = next(state for state in machine.spool.lanes() if state.name == self._name)
        longest = _LONGEST_WAIT_SECONDS if state.retry.failures or state.deferred else INTERVAL_SECONDS
        is_bounded = wait.seconds is not None and wait.seconds <= longest + 0.001
        comes_again = is_bounded or bool(sim.in_flight) or not state.pending or state.is_paused
        hold("a lane with pending events comes again", comes_again, state.name, wait, sim.lane.state)

    def take_answer(self, machine: Machine, sim: SimLane, call: Call) -> None:
        """The answer to one of a lane's requests."""
        book = self.book
        attempt = machine.send(sim, call)
        outcome = attempt.outcome
        self._note("reply", type(outcome).__name__, attempt.status)
        taken: set[int] = set()
        if isinstance(outcome, Delivered):
            taken = self._check_taken(call, outcome, sim)
            self._figures.repeats += len(taken & book.confirmed)
            book.confirmed |= taken
            book.may_repeat |= taken
        self._note_refusal(call, attempt)
        self.fates.answered(call, attempt, taken)
        self.passage.answered(call, attempt, taken)
        before = sim.lane.next_attempt_at
        machine.reply(sim, call, attempt)
        # The lane is the waker: what came back may be what it waits for.
        sim.wake_at = self._clock.now
        book.may_repeat -= taken
        self._note_wait(outcome, before, sim.lane.next_attempt_at)
        self._check_cursor(machine)
        self._check_refusals(machine, sim)

    def _note_wait(self, outcome: Outcome, before: float | None, after: float | None) -> None:
        book = self.book
        # A wait that goes on may be one that a jump of the wall clock has shortened for the next life.
        known = after if after != before else book.not_before
        if isinstance(outcome, Retry) and outcome.after_seconds is not None:
            asked = self._clock.now + min(outcome.after_seconds, RETRY.max_retry_after_seconds)
            book.not_before = max(asked, known or 0.0)
        else:
            book.not_before = None if after is None else known

    def _check_taken(self, call: Call, outcome: Delivered, sim: SimLane) -> set[int]:
        owners = call.owners()
        left = {part.index for part in outcome.dead} | {part.index for part in outcome.deferred}
        parts = set(range(len(owners))) - left
        wrong = parts - sim.service.taken_parts
        hold("I4: what counts as taken was taken", not wrong, self._name, sorted(wrong)[:9])
        return {owners[index].seq for index in parts} - {owners[index].seq for index in left}

    def _note_refusal(self, call: Call, attempt: Attempt) -> None:
        book, outcome = self.book, attempt.outcome
        if isinstance(outcome, Delivered) and len(outcome.dead) < len(call.items):
            book.refused_alike.clear()
        elif isinstance(outcome, Split) and len(call.items) == 1 and call.refusals >= outcome.retries:
            if outcome.reason != book.refusal:
                book.refused_alike.clear()
            book.refusal = outcome.reason
            book.refused_alike.append(call.items[0].seq)

    def _check_refusals(self, machine: Machine, sim: SimLane) -> None:
        """A bad key must not empty the spool into the dead letters."""
        book = self.book
        if len(book.refused_alike) < _SUSPICIOUS_REFUSALS:
            return
        hold("so many refused alike stop the lane", sim.lane.state == "stopped", self._name, sim.lane.state)
        dead = {
            seq
            for (seq,) in machine.store.connection.execute(
                "SELECT seq FROM set_aside WHERE lane = ? AND kind = 'dead'", (self._name,)
            )
        }
        buried = dead & set(book.refused_alike)
        hold("I4: what was refused alike is pending again", not buried, self._name, sorted(buried))
        book.refused_alike.clear()

    def _note(self, *words: object) -> None:
        self._trace.note(self._clock.now, self._name, *words)
