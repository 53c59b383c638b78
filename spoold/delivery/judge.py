"""What a reply leads to: which events are done, what is sent again, how long the lane waits. Decisions, no I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from spoold.clock import Clock, Entropy
from spoold.delivery.backoff import STOPPED_PROBE_SECONDS, RetryPolicy
from spoold.delivery.batch import Batch, Call, Item
from spoold.delivery.blame import MAX_LONE_FAILURES, Blame, Refusal, Refusals
from spoold.delivery.report import LaneReport
from spoold.delivery.sender import Attempt
from spoold.delivery.standby import MAX_DEFERRED
from spoold.delivery.supply import Supply
from spoold.providers.base import Deferral, Delivered, Retry, Split, Stop
from spoold.spool.values import DeadLetter, Deferred, LaneState, RetryState

_MIN_BODY_BYTES = 1024
#: Longest wait of an event that fails alone, in ``retry.max_delay``: ten minutes with the default.
_MAX_LONE_WAITS = 20


@dataclass(frozen=True, slots=True)
class Effect:
    """What a reply means for the lane as a whole.

    Attributes:
        outcome: For the ledger.
        retry: How the attempts stand now; None: as before.
        wait_until: Monotonic seconds; None: no wait.
        is_urgent: Settle now what is known, even in the midst of a batch.
        deferred: Dead letters, settled before, that are pending again.
    """

    outcome: str
    retry: RetryState | None = None
    wait_until: float | None = None
    is_urgent: bool = False
    deferred: tuple[Deferred, ...] = ()


class Judge:
    """Reads one lane's replies. Belongs to the lane's thread.

    Attributes:
        round: Rises with each failure. What was sent in an earlier round tells nothing of how things stand now.
        ramp: Events allowed in one call while the lane comes back; None when there is no bound.
    """

    def __init__(
        self,
        policy: RetryPolicy,
        supply: Supply,
        report: LaneReport,
        *,
        largest: int,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._policy = policy
        self._supply = supply
        self._report = report
        self._largest = largest
        self._clock = clock
        self._entropy = entropy
        self._refusals = Refusals()
        self.blame = Blame()
        self._held_until = 0.0
        self.round = 0
        self.ramp: int | None = None

    def read(self, call: Call, attempt: Attempt, state: LaneState, now: float) -> Effect:
        """Take the reply to ``call``, which is in the window.

        Raises:
            ValueError: It is not.
        """
        case = _Case(self._supply.window.batch_of(call), call, attempt, state, now)
        call.is_flying = False
        outcome = attempt.outcome
        if isinstance(outcome, Delivered) and is_unmoved(call, outcome):
            # Sent again at once it would spin.
            outcome = Retry(outcome.deferred[0].reason)
        self._report.replied(attempt, _word(outcome))
        match outcome:
            case Delivered():
                return self._take(case, outcome)
            case Retry():
                return self._fail(case, outcome)
            case Split():
                return self._split(case, outcome)
            case Stop():
                return self._stop(case, outcome.reason)

    def release(self) -> None:
        """No wait is to be waited out any more: an operator says so, or the provider is well."""
        self._held_until = 0.0

    def _take(self, case: "_Case", delivered: Delivered) -> Effect:
        if delivered.warning:
            self._report.warned(delivered.warning)
        batch, call, status = case.batch, case.call, case.attempt.status
        owners = call.owners()
        dead = {owners[part.index].seq: part.reason for part in delivered.dead}
        # An event of several parts waits for the one that waits longest.
        by_wait = sorted(delivered.deferred, key=lambda part: part.after_seconds)
        deferred = {owners[part.index].seq: part for part in by_wait}
        again: list[Item] = []
        later: list[Item] = []
        taken = 0
        for item in call.items:
            if item.seq in dead:
                batch.resolve(item.seq, DeadLetter(item.seq, dead[item.seq], status, item.attempts))
            elif item.seq in deferred:
                (later if deferred[item.seq].after_seconds > 0 else again).append(item)
            else:
                batch.resolve(item.seq, "delivered")
                taken += 1
            self.blame.forget(item.seq)
        if taken:
            self.blame.note_delivered(taken)
            self._refusals.clear()
        batch.replace(call, call.of(again), self._put_off(case, later, deferred))
        return self._well(case, "partial" if dead or deferred else "delivered")

    def _put_off(self, case: "_Case", items: list[Item], deferrals: Mapping[int, Deferral]) -> Call:
        """Let the lane go on without these. Where they can't stand aside, the batch waits with them: the call."""
        if not self._may_defer(case.batch, len(items)):
            if items:
                case.batch.not_before = case.now + max(deferrals[item.seq].after_seconds for item in items)
            return case.call.of(items)
        for item in items:
            deferral = deferrals[item.seq]
            fate = self._deferred(item, deferral.after_seconds, deferral.reason, case.attempt.status)
            case.batch.resolve(item.seq, fate)
        return case.call.of(())

    def _may_defer(self, batch: Batch, count: int) -> bool:
        if self._supply.window.is_replay(batch):
            # It is not the lane's to keep: the replay waits.
            return False
        return batch is self._supply.window.aside or len(self._supply.standby) + count <= MAX_DEFERRED

    def _deferred(self, item: Item, wait_seconds: float, reason: str, status: int | None) -> Deferred:
        wait_ms = int(wait_seconds * 1000)
        return Deferred(
            item.seq, wait_ms, self._clock.wall_ms() + wait_ms, item.attempts, item.failures, reason, status
        )

    def _well(self, case: "_Case", outcome: str) -> Effect:
        """The provider answered as one that is well."""
        if case.call.round != self.round:
            return Effect(outcome)
        self.release()
        retry = case.state.retry
        if retry.is_stopped or self._policy.is_down(retry.failures):
            self._report.recovered(retry.failures, case.state.pending)
            # Everything that gathered must not hit a provider that has just come back.
            self.ramp = len(case.call.items) * 2
        elif self.ramp is not None:
            self.ramp = self.ramp * 2 if self.ramp < self._largest else None
        return Effect(outcome, RetryState(), is_urgent=bool(retry.failures) or retry.is_stopped)

    def _split(self, case: "_Case", split: Split) -> Effect:
        batch, call = case.batch, case.call
        if call.refusals < split.retries:
            call.refusals += 1
            return self._fail(case, Retry(split.reason))
        if len(call.items) > 1:
            if split.too_large:
                cap = max(_MIN_BODY_BYTES, sum(item.size for item in call.items) // 2)
                self._supply.max_body_bytes = min(self._supply.max_body_bytes or cap, cap)
            batch.replace(call, *call.cut(len(call.items) // 2))
            return Effect("split")
        return self._refuse(case, split)

    def _refuse(self, case: "_Case", split: Split) -> Effect:
        """A single event that the provider will never take, as it says."""
        batch, call, state = case.batch, case.call, case.state
        if state.retry.is_stopped and not state.accepts_dead:
            if call.round != self.round:
                # It was under way when the lane stopped, perhaps for refusals like this one: the probe tells.
                return Effect("split")
            if split.reason in state.retry.last_error:
                # The probe is refused as those were for which the lane stopped. It may be bad nonetheless.
                call.is_suspect = True
                return self._stop(case, state.retry.last_error)
        item = call.items[0]
        letter = DeadLetter(item.seq, split.reason, case.attempt.status, item.attempts)
        batch.resolve(item.seq, letter)
        batch.replace(call)
        self.blame.forget(item.seq)
        if state.accepts_dead:
            self._refusals.clear()
            return self._well(case, "split")
        self._refusals.add(Refusal(batch, call, letter, self._supply.window.is_replay(batch)))
        row = self._refusals.take_suspicious(split.suspicious_after)
        if not row:
            return self._well(case, "split")
        stop = self._stop(case, f"{split.suspicious_after} events in a row were refused alike: {split.reason}")
        return replace(stop, deferred=tuple(self._take_back(row)))

    def _take_back(self, row: list[Refusal]) -> list[Deferred]:
        # A bad key must not empty the spool into the dead letters: they are pending again, in their place where they
        # are not settled, else aside.
        settled: dict[int, Deferred] = {}
        for batch, call, letter, is_replay in reversed(row):
            if batch.take_back(letter.seq):
                batch.calls.insert(0, call)
            elif not is_replay and letter.seq not in self._supply.standby:
                # Once, however often it was refused. What a replay made pending since stands aside already.
                settled.setdefault(letter.seq, self._deferred(call.items[0], 0, letter.reason, letter.status))
        return [*settled.values()]

    def _fail(self, case: "_Case", retry: Retry) -> Effect:
        batch, call, before = case.batch, case.call, case.state.retry
        if call.round != self.round and before.failures:
            return self._fail_late(case, retry)
        # Whoever names a time to come again speaks of itself, not of what it was sent.
        if retry.blames_content and not retry.after_seconds:
            is_to_blame = self.blame.is_to_blame(call)
            if is_to_blame and len(call.items) > 1:
                batch.replace(call, *call.cut(len(call.items) // 2))
            is_alone = len(call.items) == 1 and (is_to_blame or call.items[0].failures > 0)
            if is_alone and (self._supply.window.is_replay(batch) or self._may_defer(batch, 1)):
                return self._fail_alone(case, retry, is_to_blame=is_to_blame)
        failures = before.failures + 1
        wait = self._policy.wait_seconds(failures, retry, self._entropy)
        effect = self._hold(case, "retry", retry.reason, wait, is_stopped=before.is_stopped)
        self._report.failed(failures, retry.reason, case.state.pending, wait_seconds=wait, status=case.attempt.status)
        if failures == self._policy.max_attempts:
            self._report.went_down("down", failures, retry.reason)
        return effect

    def _fail_late(self, case: "_Case", retry: Retry) -> Effect:
        """One of several that were under way: the failure is known, only a longer wait is news."""
        before, wall_ms = case.state.retry, self._clock.wall_ms()
        wait = self._policy.wait_seconds(before.failures, retry, self._entropy)
        until = max(self._held_until, case.now + wait)
        # A wall clock that jumped may have shortened what is on disk.
        is_kept = until == self._held_until and before.not_before_ms >= wall_ms + wait * 1000
        if not retry.after_seconds or is_kept:
            return Effect("retry")
        self._held_until = until
        wait_ms = int((until - case.now) * 1000)
        longer = replace(before, wait_ms=wait_ms, not_before_ms=wall_ms + wait_ms)
        return Effect("retry", longer, until, is_urgent=True)

    def _fail_alone(self, case: "_Case", retry: Retry, *, is_to_blame: bool) -> Effect:
        """Others pass, this one does not: the lane goes on without it, and some time gives it up.

        One that was to blame before tells nothing of the provider: the lane does not wait for it.
        """
        item, status = case.call.items[0], case.attempt.status
        item.failures += is_to_blame
        case.batch.replace(case.call)
        if item.failures >= MAX_LONE_FAILURES:
            reason = f"{retry.reason} (alone {item.failures} times, while others were delivered)"
            case.batch.resolve(item.seq, DeadLetter(item.seq, reason, status, item.attempts))
            self.blame.forget(item.seq)
        else:
            # The less there is to learn, the longer.
            wait = self._policy.max_delay_seconds * min(item.attempts, _MAX_LONE_WAITS)
            if is_to_blame:
                wait = self._policy.wait_seconds(item.failures, retry, self._entropy)
            if self._supply.window.is_replay(case.batch):
                # It is not the lane's to keep: the replay waits, and goes on with its others first.
                case.batch.calls.append(case.call)
                case.batch.not_before = case.now + wait
            else:
                case.batch.resolve(item.seq, self._deferred(item, wait, retry.reason, status))
        self._report.failed_alone(item.seq, item.failures, retry.reason)
        return Effect("partial", is_urgent=True)

    def _stop(self, case: "_Case", reason: str) -> Effect:
        before = case.state.retry
        effect = self._hold(case, "stop", reason, STOPPED_PROBE_SECONDS, is_stopped=True)
        if not before.is_stopped:
            self._report.went_down("stopped", before.failures + 1, reason)
        return effect

    def _hold(self, case: "_Case", outcome: str, reason: str, wait: float, *, is_stopped: bool) -> Effect:
        self.ramp = None
        self.round += 1
        # Another answer may have asked for longer while this call was under way.
        self._held_until = max(self._held_until, case.now + wait)
        wall_ms = self._clock.wall_ms()
        wait_ms = int((self._held_until - case.now) * 1000)
        retry = RetryState(case.state.retry.failures + 1, is_stopped, wait_ms, wall_ms + wait_ms, reason, wall_ms)
        return Effect(outcome, retry, self._held_until, is_urgent=True)


@dataclass(frozen=True, slots=True)
class _Case:
    """A reply, and what it is about."""

    batch: Batch
    call: Call
    attempt: Attempt
    state: LaneState
    now: float


def is_unmoved(call: Call, delivered: Delivered) -> bool:
    """Whether the provider took no event whole, gave none up, and wants all of them again at once."""
    owners = call.owners()
    wanted = {owners[part.index].seq for part in delivered.deferred}
    is_at_once = all(part.after_seconds <= 0 for part in delivered.deferred)
    return len(wanted) == len(call.items) and is_at_once and not delivered.dead


def _word(outcome: Delivered | Retry | Split | Stop) -> str:
    match outcome:
        case Delivered():
            return "partial" if outcome.dead or outcome.deferred else "delivered"
        case Retry():
            return "retry"
        case Split():
            return "split"
        case Stop():
            return "stop"
