"""The threads around the steps, and what they wait on: the one place that may use ``threading``.

Every loop of the daemon is ``step(now) → seconds to wait``, with no thread in it; ``Loop`` gives it one. Whoever starts
a loop stops it and joins it. None is a daemon thread.
"""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext, suppress

from spoold.clock import Clock

_BACKGROUND_NICENESS = 10
#: How long a thread may keep the others from running (the interpreter's own: 5 ms). A commit takes several turns, and
#: behind a busy lane waits this long for each; with no lane at work a shorter turn only costs switches.
_TURN_SECONDS = 0.0005
_SHORT_TURN_SECONDS = 0.0001


class ThreadSignal:
    """A wait that anybody can end; cleared by the wait that it ends."""

    def __init__(self) -> None:
        # A bare lock, held while there is nothing to wake for: an Event takes several times as long, on the way of
        # every append.
        self._nothing = threading.Lock()
        self._nothing.acquire()

    def set(self) -> None:
        """End the current or the next wait."""
        with suppress(RuntimeError):
            self._nothing.release()

    def wait(self, timeout_seconds: float | None) -> bool:
        """Return True when it was set, False at the timeout (None waits for ever)."""
        if timeout_seconds is None:
            return self._nothing.acquire()
        return self._nothing.acquire(timeout=min(max(timeout_seconds, 0.0), threading.TIMEOUT_MAX))


def on_signal(number: signal.Signals, loop: asyncio.AbstractEventLoop, action: Callable[[], None]) -> None:
    """Do ``action`` on the loop's thread at each signal; nothing once the loop is closed. On the main thread.

    Signals that come at once may be taken for one, as everywhere in Unix, but never one for two: uvloop's own
    ``add_signal_handler`` hands one over twice when another comes close behind, and a second SIGTERM means "hurry".
    """

    def hand_over(_number: int, _frame: object) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(action)

    signal.signal(number, hand_over)


def make_lock() -> AbstractContextManager[object]:
    """A lock for a few lines of state."""
    return threading.Lock()


class _Turns:
    """Keeps turns short while background work is being done."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._working = 0

    def __enter__(self) -> None:
        self._count(1)

    def __exit__(self, *_exception: object) -> None:
        self._count(-1)

    def _count(self, change: int) -> None:
        with self._lock:
            self._working += change
            sys.setswitchinterval(_SHORT_TURN_SECONDS if self._working else _TURN_SECONDS)


_SHORT_TURNS = _Turns()


class Workers:
    """Threads for work that blocks: requests under way. Started as they are needed, at most ``most``."""

    def __init__(self, name: str, most: int) -> None:
        self._pool = ThreadPoolExecutor(most, thread_name_prefix=name, initializer=_step_back)
        self._running: set[Future[None]] = set()

    def submit(self, work: Callable[[], None]) -> None:
        """Do ``work`` on one of the threads. It must not raise."""
        future = self._pool.submit(_in_short_turns, work)
        self._running.add(future)
        future.add_done_callback(self._running.discard)

    def close(self, timeout_seconds: float) -> bool:
        """Wait for what runs, and end the threads; False when something still runs at the timeout. Idempotent."""
        wait(list(self._running), timeout_seconds)
        is_over = not self._running
        self._pool.shutdown(wait=is_over, cancel_futures=True)
        return is_over


def _step_back() -> None:
    # On Linux a niceness belongs to a thread. Without it a caller waits for the end of a busy lane's time slice:
    # behind a lane at full speed a call's p99 was ten times the idle one's, with it four times.
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _BACKGROUND_NICENESS)


def _in_short_turns(work: Callable[[], None]) -> None:
    with _SHORT_TURNS:
        work()


class Loop:
    """A named thread that calls ``step`` until it is told to stop.

    ``step`` takes monotonic seconds and returns how long to wait: None until woken, 0 not at all. What it raises ends
    the thread and is handed to ``on_death``, once: a dead helper must be noticed and acted on.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[float], float | None],
        clock: Clock,
        *,
        on_death: Callable[[str, BaseException], None],
        wait: Callable[[float | None], object] | None = None,
        wake: Callable[[], None] | None = None,
        is_background: bool = False,
    ) -> None:
        """Prepare the thread; ``start`` starts it.

        Args:
            wait: How to wait, where something else than ``wake`` also ends the wait (a lane's new events).
            wake: How to end that wait.
            is_background: Gives way to the threads that answer callers, where there are more to run than processors.
        """
        self._step = step
        self._clock = clock
        self._on_death = on_death
        signal = ThreadSignal()
        self._wait = wait or signal.wait
        self.wake = wake or signal.set
        self._is_background = is_background
        self._turns: AbstractContextManager[None] = _SHORT_TURNS if is_background else nullcontext()
        self._is_stopping = False
        self._step_began: float | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=False)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def request_stop(self) -> None:
        """End after the step under way. Idempotent, returns at once."""
        self._is_stopping = True
        self.wake()

    def join(self, timeout_seconds: float | None = None) -> bool:
        """Wait for the end; False when the timeout came first."""
        if self._thread.ident is not None:
            self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    @property
    def busy_seconds(self) -> float:
        """How long the step under way has taken so far; 0 between two steps. From any thread."""
        began = self._step_began
        return 0.0 if began is None else self._clock.monotonic() - began

    def _run(self) -> None:
        if self._is_background:
            _step_back()
        try:
            while not self._is_stopping:
                now = self._step_began = self._clock.monotonic()
                with self._turns:
                    seconds = self._step(now)
                self._step_began = None
                if seconds != 0 and not self._is_stopping:
                    self._wait(seconds)
        except BaseException as exc:  # noqa: BLE001 - the thread ends here: whoever watches must learn why
            self._on_death(self._thread.name, exc)
