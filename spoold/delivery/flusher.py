"""What a lane's thread does: take replies, step, hand calls to the threads that carry them, wait."""

from collections import deque
from collections.abc import Callable

from spoold.clock import Clock
from spoold.delivery.batch import Call
from spoold.delivery.lane import Done, Lane, Send
from spoold.delivery.sender import Attempt, Sender
from spoold.spool.contract import Lanes

Submit = Callable[[Callable[[], None]], None]


class Flusher:
    """Carries out a lane's decisions. ``step`` and ``wait`` belong to the lane's thread."""

    def __init__(self, lane: Lane, sender: Sender, spool: Lanes, clock: Clock, submit: Submit) -> None:
        """Put the lane to work.

        Args:
            submit: Does something on another thread; the lane's own must never wait for a provider.
        """
        self.lane = lane
        self._sender = sender
        self._spool = spool
        self._clock = clock
        self._submit = submit
        self._replies: deque[tuple[Call, Attempt | BaseException]] = deque()
        #: Called on the lane's thread when its final flush is over. Set by whoever starts the thread.
        self.on_done: Callable[[], None] = _do_nothing
        self._min_pending = 1

    def step(self, now: float) -> float | None:
        """Do one thing; returns how long to wait before the next."""
        while self._replies:
            call, attempt = self._replies.popleft()
            if isinstance(attempt, BaseException):
                raise attempt
            self.lane.on_reply(call, attempt, now)
        action = self.lane.step(now)
        if isinstance(action, Done):
            self.on_done()
            return None
        if isinstance(action, Send):
            self._submit(lambda: self._carry(action.call, action.timeout_seconds))
            return 0
        self._min_pending = action.min_pending
        return action.seconds

    def wait(self, seconds: float | None) -> None:
        """Wait for time, events, a reply or a nudge."""
        # A reply that came since the step has nudged already; the wait ends at once.
        self._spool.wait(self.lane.name, self._min_pending, seconds)

    def wake(self) -> None:
        """End the wait."""
        self._spool.nudge(self.lane.name)

    def request_stop(self, deadline: float, *, flushes: bool = True) -> None:
        """End by ``deadline`` (monotonic seconds), after a final flush or as soon as nothing is under way."""
        self.lane.request_stop(deadline, flushes=flushes)
        self.wake()

    def abort(self) -> None:
        """The time is over: cut short what is under way. What it carried stays pending."""
        self._sender.abort()

    def close(self) -> None:
        """Give connections back; the threads must have ended."""
        self._sender.close()

    def _carry(self, call: Call, timeout_seconds: float) -> None:
        attempt: Attempt | BaseException
        try:
            attempt = self._sender.send(call, timeout_seconds)
        except BaseException as exc:  # noqa: BLE001 - a mistake in a provider: the lane's thread must learn of it
            attempt = exc
        self._replies.append((call, attempt))
        self.wake()


def _do_nothing() -> None:
    pass
