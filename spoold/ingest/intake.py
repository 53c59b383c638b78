"""How much of what callers send, and of what they do not fetch, is in memory at one moment.

grpcio makes room for every message that is announced: a thousand calls that announce 4 MiB each, and perhaps never send
the rest, are 4 GiB. So a handler asks for its message only when it has its turn here. Until then a call holds no more
than the transport's window (``server.py``), and its sender waits. Nobody holds the others up for long: not who stops
in the midst of a message, and not who does not fetch the reply.
"""

import asyncio
from collections import deque
from types import TracebackType
from typing import Protocol, Self

from spoold.errors import InvalidEventError, SpooldError

#: Largest message that the transport takes, in bytes. More than a caller may send (``servicer.MAX_MESSAGE_BYTES``), so
#: that one somewhat too large gets the rule's violation and not the transport's own status.
MAX_TRANSPORT_BYTES = 5 * 1024 * 1024

#: What all calls together may hold, in bytes: each as much as may come while it is read, then what it came to be.
_MAX_HELD_BYTES = 48 * 1024 * 1024
#: A message is kept as it came, as drafts, and as records until the commit.
_COPIES = 3
#: A call that had no turn for so long is refused.
_MAX_WAIT_SECONDS = 20.0
#: While others wait, a message that has been on its way for so long gives way: its sender may have stopped midway.
_PATIENCE_SECONDS = 2.0
#: For so long after that there is an alarm: of those who wait, many may be like the one that held them up. Then the
#: newest is next, not the oldest; patience is short; who waited for longer than a good message takes leaves some room
#: to those who come, and is soon refused: when he comes again, he is one of those.
_ALARM_SECONDS = 10.0
_SHORT_WAIT_SECONDS = 2.0
_SHORT_PATIENCE_SECONDS = 0.5
_FRESH_SECONDS = 0.25
_SPARE_BYTES = 3 * MAX_TRANSPORT_BYTES
#: As many calls may wait; one more, and the oldest is refused. Each may hold the transport's window.
_MAX_WAITING = 256
#: A reply that is not fetched for so long is given up, and its call with it; sooner where there are many.
_FETCH_SECONDS = 30.0
_FEW_REPLIES = 512
_FETCH_SOON_SECONDS = 5.0
_LOOK_EVERY_SECONDS = 0.1


class BusyError(SpooldError):
    """Too much is being received; surely nothing of this call was stored."""


class _Reads(Protocol):
    async def read(self) -> object: ...


class Intake:
    """Gives calls their turn. All of it belongs to the loop's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._held_bytes = 0
        self._reading: dict[Passage, float] = {}
        self._waiting: deque[tuple[asyncio.Future[None], float]] = deque()
        self._leaving: deque[tuple[asyncio.Task[object], float]] = deque()
        self._alarmed_until = 0.0
        self._is_looking = False

    def passage(self) -> "Passage":
        """The running call's way in; a context that lasts until the call needs its message no more.

        Raises:
            RuntimeError: No task is running.
        """
        task = asyncio.current_task(self._loop)
        if task is None:
            raise RuntimeError("a passage belongs to a call's task")
        return Passage(self, task)

    def take_turn(self) -> bool:
        """Whether one more message may be read at once; it is held from then on."""
        is_free = self._held_bytes <= _MAX_HELD_BYTES - MAX_TRANSPORT_BYTES and (not self._waiting or self._is_alarmed)
        if is_free:
            self._held_bytes += MAX_TRANSPORT_BYTES
        return is_free

    async def wait_for_turn(self) -> None:
        """Wait until one more message may be read; it is held from then on.

        Raises:
            BusyError: It took too long.
        """
        place = (self._loop.create_future(), self._loop.time())
        self._waiting.append(place)
        if len(self._waiting) > _MAX_WAITING:
            self._alarm()
            _refuse(self._waiting.popleft()[0])
        self._keep_looking()
        try:
            await place[0]
        except BaseException:
            if place[0].done() and not place[0].cancelled() and place[0].exception() is None:
                # The turn came in the moment in which the caller gave up.
                self.give_back(MAX_TRANSPORT_BYTES)
            elif place in self._waiting:
                self._waiting.remove(place)
            raise

    def give_back(self, size: int) -> None:
        """So many bytes are held no more."""
        self._held_bytes -= size
        if self._waiting:
            self._pass_on()

    def begin_reading(self, passage: "Passage") -> None:
        """The message is awaited from now on."""
        self._reading[passage] = self._loop.time()

    def end_reading(self, passage: "Passage") -> None:
        """It has come, or will not."""
        del self._reading[passage]

    def watch_leaving(self, task: "asyncio.Task[object]") -> None:
        """A call has its reply, which its caller must fetch before long."""
        self._leaving.append((task, self._loop.time()))
        self._keep_looking()

    @property
    def _is_alarmed(self) -> bool:
        return self._alarmed_until > 0 and self._loop.time() < self._alarmed_until

    def _alarm(self) -> None:
        self._alarmed_until = self._loop.time() + _ALARM_SECONDS

    def _has_room(self, spare_bytes: int = 0) -> bool:
        return self._held_bytes + MAX_TRANSPORT_BYTES + spare_bytes <= _MAX_HELD_BYTES

    def _pass_on(self) -> None:
        """Give those who wait their turn, as far as there is room."""
        while self._waiting and self._has_room():
            is_alarmed = self._is_alarmed
            future, since = self._waiting[-1 if is_alarmed else 0]
            is_stale = is_alarmed and self._loop.time() - since > _FRESH_SECONDS
            if is_stale and not self._has_room(_SPARE_BYTES):
                return
            self._waiting.remove((future, since))
            if not future.done():
                self._held_bytes += MAX_TRANSPORT_BYTES
                future.set_result(None)

    def _keep_looking(self) -> None:
        if not self._is_looking:
            self._is_looking = True
            self._loop.call_later(_LOOK_EVERY_SECONDS, self._look)

    def _look(self) -> None:
        """While calls wait or leave: end those that hold the others up, and the waits that took too long."""
        now, is_alarmed = self._loop.time(), self._is_alarmed
        wait_seconds = _SHORT_WAIT_SECONDS if is_alarmed else _MAX_WAIT_SECONDS
        while self._waiting and now - self._waiting[0][1] > wait_seconds:
            _refuse(self._waiting.popleft()[0])
        patience_seconds = _SHORT_PATIENCE_SECONDS if is_alarmed else _PATIENCE_SECONDS
        for passage, since in self._reading.items():
            if not self._waiting or now - since < patience_seconds:
                break
            self._alarm()
            passage.evict()
        self._pass_on()
        # Looked at ten times a second: cheaper than a word from each that has gone.
        self._leaving = deque(leaving for leaving in self._leaving if not leaving[0].done())
        is_much = len(self._leaving) > _FEW_REPLIES
        for task, since in self._leaving:
            if now - since < (_FETCH_SOON_SECONDS if is_much else _FETCH_SECONDS):
                break
            task.cancel()
        self._is_looking = False
        if self._waiting or self._leaving:
            self._keep_looking()


def _refuse(turn: "asyncio.Future[None]") -> None:
    if not turn.done():
        turn.set_exception(BusyError("too many messages are on their way; nothing was stored, repeat later"))


class Passage:
    """What one call holds of the intake."""

    __slots__ = ("_held_bytes", "_intake", "_is_evicted", "_task")

    def __init__(self, intake: Intake, task: "asyncio.Task[object]") -> None:
        self._intake = intake
        self._held_bytes = 0
        self._is_evicted = False
        self._task = task

    async def receive_next(self, context: _Reads) -> bytes | None:
        """The call's next message, as it came; None when the caller sends no more. It is held until the context ends.

        Raises:
            BusyError: It did not come while others waited, or had no turn.
        """
        intake = self._intake
        self.release()
        if not intake.take_turn():
            await intake.wait_for_turn()
        self._held_bytes = MAX_TRANSPORT_BYTES
        intake.begin_reading(self)
        try:
            message = await context.read()
        except asyncio.CancelledError:
            if not self._is_evicted:
                raise
            self._task.uncancel()
            raise BusyError(
                f"the message did not arrive within {_PATIENCE_SECONDS:g} s, and others wait; "
                "nothing was stored, send smaller messages or repeat later"
            ) from None
        finally:
            intake.end_reading(self)
        if not isinstance(message, bytes):
            return None
        self._hold(_COPIES * len(message))
        return message

    async def receive(self, context: _Reads) -> bytes:
        """The one message of a call.

        Raises:
            InvalidEventError: There is none.
            BusyError: As for ``receive_next``.
        """
        message = await self.receive_next(context)
        if message is None:
            raise InvalidEventError([("request", "is missing: the call ended without a message")])
        return message

    def evict(self) -> None:
        """End the wait for the message."""
        if not self._is_evicted:
            self._is_evicted = True
            self._task.cancel()

    def leave(self) -> None:
        """The call has its reply, which its caller must fetch before long."""
        self._intake.watch_leaving(self._task)

    def release(self) -> None:
        """Hold nothing. Idempotent."""
        self._hold(0)

    def _hold(self, size: int) -> None:
        if size != self._held_bytes:
            given_back, self._held_bytes = self._held_bytes - size, size
            self._intake.give_back(given_back)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
