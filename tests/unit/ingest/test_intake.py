"""Turns at the intake: how much is held, who waits, and who has to give way."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import grpc
import pytest

from spoold.errors import InvalidEventError
from spoold.ingest import intake as module
from spoold.ingest.intake import MAX_TRANSPORT_BYTES, BusyError, Intake

#: As many messages as may be on their way at one moment.
PLACES = module._MAX_HELD_BYTES // MAX_TRANSPORT_BYTES


class Caller:
    """A call whose message comes when ``send`` says so."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._message: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self.asked = asyncio.Event()
        self.has_message = asyncio.Event()
        self.done = asyncio.Event()

    async def read(self) -> object:
        self.asked.set()
        return await self._message

    def send(self, message: object) -> None:
        self._message.set_result(message)

    async def call(self) -> bytes:
        with self._intake.passage() as passage:
            message = await passage.receive(self)
            self.has_message.set()
            await self.done.wait()
            return message


def run(scenario: Callable[[Intake], Coroutine[Any, Any, None]]) -> None:
    async def begin() -> None:
        await scenario(Intake(asyncio.get_running_loop()))

    asyncio.run(begin())


async def begin(intake: Intake, count: int) -> tuple[list[Caller], list["asyncio.Task[bytes]"]]:
    callers = [Caller(intake) for _ in range(count)]
    tasks = [asyncio.ensure_future(caller.call()) for caller in callers]
    await settle()
    return callers, tasks


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def end(tasks: list["asyncio.Task[bytes]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def test_no_more_messages_are_asked_for_than_there_is_room_for() -> None:
    async def scenario(intake: Intake) -> None:
        callers, tasks = await begin(intake, PLACES + 3)
        assert [caller.asked.is_set() for caller in callers] == [True] * PLACES + [False] * 3
        callers[0].send(b"small")
        await settle()
        # It holds its few bytes from now on, not what might have come: the oldest that waits has its turn.
        assert [caller.asked.is_set() for caller in callers] == [True] * (PLACES + 1) + [False] * 2
        await end(tasks)
        assert intake._held_bytes == 0

    run(scenario)


def test_a_message_is_held_until_its_call_ends() -> None:
    async def scenario(intake: Intake) -> None:
        callers, tasks = await begin(intake, 2 * PLACES)
        large = callers[: module._MAX_HELD_BYTES // (module._COPIES * MAX_TRANSPORT_BYTES)]
        for caller in callers[:PLACES]:
            caller.send(bytes(MAX_TRANSPORT_BYTES) if caller in large else b"small")
        await settle()
        late = [caller for caller in callers[PLACES:] if caller.asked.is_set()]
        assert len(late) < len(callers[PLACES:])
        for caller in large:
            caller.done.set()
        await settle()
        assert len([caller for caller in callers[PLACES:] if caller.asked.is_set()]) > len(late)
        await end(tasks)
        assert intake._held_bytes == 0

    run(scenario)


def test_who_stops_in_the_midst_of_a_message_gives_way_when_others_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE_SECONDS", 0.0)

    async def scenario(intake: Intake) -> None:
        _, stalled = await begin(intake, PLACES)
        (good,), (task,) = await begin(intake, 1)
        good.send(b"good")
        good.done.set()
        assert await task == b"good"
        outcomes = await asyncio.gather(*stalled, return_exceptions=True)
        assert all(isinstance(outcome, BusyError) for outcome in outcomes)
        assert all(task.cancelling() == 0 for task in stalled)
        assert intake._held_bytes == 0

    run(scenario)


def test_who_takes_his_time_is_left_alone_while_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE_SECONDS", 0.0)

    async def scenario(intake: Intake) -> None:
        callers, tasks = await begin(intake, PLACES)
        intake._look()
        await settle()
        assert not any(task.done() for task in tasks)
        assert len(callers) == PLACES
        await end(tasks)

    run(scenario)


def test_after_somebody_had_to_give_way_the_newest_is_next() -> None:
    async def scenario(intake: Intake) -> None:
        callers, tasks = await begin(intake, PLACES + 3)
        intake._alarm()
        callers[0].send(b"small")
        await settle()
        assert [caller.asked.is_set() for caller in callers[PLACES:]] == [False, False, True]
        await end(tasks)
        assert intake._held_bytes == 0

    run(scenario)


def test_after_that_who_waited_for_long_leaves_room_to_those_who_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FRESH_SECONDS", -1.0)

    async def scenario(intake: Intake) -> None:
        callers, tasks = await begin(intake, PLACES + 3)
        intake._alarm()
        callers[0].send(b"small")
        await settle()
        assert not any(caller.asked.is_set() for caller in callers[PLACES:])
        (late,), late_tasks = await begin(intake, 1)
        assert late.asked.is_set()
        await end([*tasks, *late_tasks])
        assert intake._held_bytes == 0

    run(scenario)


def test_no_more_calls_wait_than_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_WAITING", 3)

    async def scenario(intake: Intake) -> None:
        callers, tasks = await begin(intake, PLACES + 5)
        refused = [index for index, task in enumerate(tasks) if task.done()]
        assert refused == [PLACES, PLACES + 1]
        assert all(isinstance(tasks[index].exception(), BusyError) for index in refused)
        assert len(callers) == PLACES + 5
        await end([task for task in tasks if not task.done()])
        assert intake._held_bytes == 0

    run(scenario)


def test_who_waits_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_WAIT_SECONDS", 0.0)

    async def scenario(intake: Intake) -> None:
        _, tasks = await begin(intake, PLACES + 1)
        with pytest.raises(BusyError):
            await tasks[-1]
        await end(tasks[:-1])

    run(scenario)


def test_a_caller_who_gives_up_takes_nothing_along() -> None:
    async def scenario(intake: Intake) -> None:
        _, reading = await begin(intake, PLACES)
        _, waiting = await begin(intake, 2)
        # The first gives up while it waits, the second in the very moment in which it has its turn.
        await end(waiting[:1])
        reading[0].cancel()
        await asyncio.sleep(0)
        waiting[1].cancel()
        await asyncio.gather(reading[0], waiting[1], return_exceptions=True)
        (late,), late_tasks = await begin(intake, 1)
        assert late.asked.is_set()
        await end([*reading, *late_tasks])
        assert intake._held_bytes == 0

    run(scenario)


def test_a_call_without_a_message_is_invalid() -> None:
    async def scenario(intake: Intake) -> None:
        (caller,), (task,) = await begin(intake, 1)
        caller.send(grpc.aio.EOF)  # type: ignore[attr-defined]  # unknown to the stubs
        with pytest.raises(InvalidEventError, match="request: is missing"):
            await task

    run(scenario)


def test_a_reply_that_nobody_fetches_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FETCH_SECONDS", 0.0)

    async def scenario(intake: Intake) -> None:
        async def answer() -> None:
            with intake.passage() as passage:
                passage.leave()
                await asyncio.Event().wait()

        with pytest.raises(asyncio.CancelledError):
            await asyncio.ensure_future(answer())
        assert intake._is_looking
        intake._look()
        assert not intake._leaving
        assert not intake._is_looking

    run(scenario)
