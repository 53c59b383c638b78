import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future

from spoold.ingest.bridge import LoopBridge


class CountingLoop:
    """The running loop, counting how often it is woken from outside."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.wakes = 0

    def create_future(self) -> "asyncio.Future[object]":
        return self._loop.create_future()

    def call_soon_threadsafe(self, callback: Callable[[], None]) -> None:
        self.wakes += 1
        self._loop.call_soon_threadsafe(callback)


def on_another_thread(work: Callable[[], None]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def complete(futures: "list[Future[int]]") -> None:
    """Complete them on another thread, each with its index."""

    def work() -> None:
        for index, future in enumerate(futures):
            future.set_result(index)

    on_another_thread(work)


def test_a_group_wakes_the_loop_once_and_everybody_gets_his_own_outcome() -> None:
    async def scenario() -> None:
        loop = CountingLoop()
        groups: list[list[tuple[str, int | BaseException]]] = []
        bridge: LoopBridge[int, str] = LoopBridge(loop, groups.append)  # type: ignore[arg-type]
        futures: list[Future[int]] = [Future() for _ in range(50)]
        waiters = [bridge.wait(future, f"call {index}") for index, future in enumerate(futures)]
        complete(futures)
        assert await asyncio.gather(*waiters) == list(range(50))
        assert loop.wakes == 1
        assert groups == [[(f"call {index}", index) for index in range(50)]]

    asyncio.run(scenario())


def test_an_error_is_an_outcome_and_raises_nowhere() -> None:
    async def scenario() -> None:
        groups: list[list[tuple[str, int | BaseException]]] = []
        bridge: LoopBridge[int, str] = LoopBridge(asyncio.get_running_loop(), groups.append)
        future: Future[int] = Future()
        waiter = bridge.wait(future, "call")
        error = RuntimeError("disk")
        on_another_thread(lambda: future.set_exception(error))
        assert await waiter is error
        assert groups == [[("call", error)]]

    asyncio.run(scenario())


def test_what_a_cancelled_call_awaited_is_still_accounted() -> None:
    async def scenario() -> None:
        groups: list[list[tuple[str, int | BaseException]]] = []
        bridge: LoopBridge[int, str] = LoopBridge(asyncio.get_running_loop(), groups.append)
        future: Future[int] = Future()
        waiter = bridge.wait(future, "gone")
        waiter.cancel()
        on_another_thread(lambda: future.set_result(7))
        await asyncio.sleep(0)
        assert groups == [[("gone", 7)]]
        assert not future.cancelled()

    asyncio.run(scenario())


def test_completing_after_the_loop_was_closed_is_no_error() -> None:
    async def scenario() -> "Future[int]":
        bridge: LoopBridge[int, str] = LoopBridge(asyncio.get_running_loop(), lambda _: None)
        future: Future[int] = Future()
        bridge.wait(future, "late").cancel()
        return future

    future = asyncio.run(scenario())
    on_another_thread(lambda: future.set_result(1))
    assert future.result() == 1


def test_a_future_that_is_complete_already_is_delivered() -> None:
    async def scenario() -> None:
        bridge: LoopBridge[int, str] = LoopBridge(asyncio.get_running_loop(), lambda _: None)
        future: Future[int] = Future()
        future.set_result(3)
        assert await bridge.wait(future, "call") == 3

    asyncio.run(scenario())


def test_two_groups_wake_the_loop_twice_and_lose_nobody() -> None:
    async def scenario() -> None:
        loop = CountingLoop()
        bridge: LoopBridge[int, str] = LoopBridge(loop, lambda _: None)  # type: ignore[arg-type]
        for round_number in range(3):
            futures: list[Future[int]] = [Future() for _ in range(10)]
            waiters = [bridge.wait(future, "") for future in futures]
            complete(futures)
            await asyncio.gather(*waiters)
            assert loop.wakes == round_number + 1

    asyncio.run(scenario())
