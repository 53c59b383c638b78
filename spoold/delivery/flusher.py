"""What a lane's thread does: step, send, take the reply, wait."""

from collections.abc import Callable

from spoold.clock import Clock
from spoold.delivery.lane import Done, Lane, Send
from spoold.delivery.sender import Sender
from spoold.spool.contract import Lanes


class Flusher:
    """Carries out a lane's decisions. ``step`` and ``wait`` belong to the lane's thread."""

    def __init__(self, lane: Lane, sender: Sender, spool: Lanes, clock: Clock) -> None:
        self.lane = lane
        self._sender = sender
        self._spool = spool
        self._clock = clock
        #: Called on the lane's thread when its final flush is over. Set by whoever starts the thread.
        self.on_done: Callable[[], None] = _do_nothing
        self._min_pending = 1

    def step(self, now: float) -> float | None:
        """Do one thing; returns how long to wait before the next."""
        action = self.lane.step(now)
        if isinstance(action, Done):
            self.on_done()
            return None
        if isinstance(action, Send):
            attempt = self._sender.send(action.call, action.timeout_seconds)
            self.lane.on_reply(action.call, attempt, self._clock.monotonic())
            return 0
        self._min_pending = action.min_pending
        return action.seconds

    def wait(self, seconds: float | None) -> None:
        """Wait for time, events or a nudge."""
        self._spool.wait(self.lane.name, self._min_pending, seconds)

    def wake(self) -> None:
        """End the wait."""
        self._spool.nudge(self.lane.name)

    def request_stop(self, deadline: float) -> None:
        """Make the final flush until ``deadline`` (monotonic seconds), then end."""
        self.lane.request_stop(deadline)
        self.wake()

    def abort(self) -> None:
        """The time is over: cut a send short. What it carried stays pending."""
        self._sender.abort()

    def close(self) -> None:
        """Give connections back; the thread must have ended."""
        self._sender.close()


def _do_nothing() -> None:
    pass
