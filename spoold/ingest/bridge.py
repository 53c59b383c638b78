"""From the spool's writer thread back to the event loop.

One commit completes the futures of many calls. Waking the loop costs a system call and a switch of threads, so it is
woken once for all of them.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Generic, TypeVar

T = TypeVar("T")
C = TypeVar("C")


class LoopBridge(Generic[T, C]):
    """Lets coroutines of one loop await futures that another thread completes.

    ``wait`` belongs to the loop's thread; the futures may be completed on any.

    Args:
        loop: Where the waiters live.
        on_group: Called on the loop's thread with the context and the outcome of everything that completed together.
            It sees what cancelled calls had awaited too: their events are as durable as any.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, on_group: Callable[[list[tuple[C, T | BaseException]]], None]
    ) -> None:
        self._loop = loop
        self._on_group = on_group
        self._completed: deque[tuple[asyncio.Future[T | BaseException], C, Future[T]]] = deque()
        self._is_drain_due = False

    def wait(self, future: Future[T], context: C) -> "asyncio.Future[T | BaseException]":
        """Await the outcome of ``future``: its result, or its exception as a value.

        A value, because one exception is shared by all calls of a group: raised in each it would gather their
        tracebacks, and a call that is cancelled in the last moment would leave one that nobody retrieved.

        Args:
            context: Handed to ``on_group`` with the outcome.
        """
        waiter: asyncio.Future[T | BaseException] = self._loop.create_future()
        future.add_done_callback(partial(self._complete, waiter, context))
        return waiter

    def _complete(self, waiter: "asyncio.Future[T | BaseException]", context: C, future: Future[T]) -> None:
        # On the completing thread. Add, then look at the flag; the drain lowers it before it takes anything. So what
        # is added behind the drain's back finds the flag down and orders another drain, and no lock is needed.
        self._completed.append((waiter, context, future))
        if self._is_drain_due:
            return
        self._is_drain_due = True
        try:
            self._loop.call_soon_threadsafe(self._drain)
        except RuntimeError:
            # The loop is closed: nobody waits any more. The events are durable all the same.
            self._completed.clear()

    def _drain(self) -> None:
        self._is_drain_due = False
        completed = self._completed
        group: list[tuple[C, T | BaseException]] = []
        for _ in range(len(completed)):
            waiter, context, future = completed.popleft()
            error = future.exception()
            outcome = future.result() if error is None else error
            group.append((context, outcome))
            if not waiter.done():  # it is when the call was cancelled
                waiter.set_result(outcome)
        self._on_group(group)
