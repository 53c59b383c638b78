"""The protocol of the service manager, and whom the watchdog watches."""

import asyncio

import pytest

from spoold.systemd import ServiceManager, keep_alive
from tests.support.service_manager import ListeningManager

_PID = 71


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "71"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "72"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_is_the_environments(environment: dict[str, str], seconds: float | None) -> None:
    assert ServiceManager(environment, _PID).watchdog_seconds == seconds


def test_a_commit_under_way_is_alive_for_minutes_and_no_longer() -> None:
    busy_seconds = [0.0, 299.0, 301.0, 1000.0, 0.0]

    async def watch(manager: ServiceManager) -> None:
        with pytest.raises(IndexError):
            await keep_alive(manager, lambda: busy_seconds.pop(0))

    with ListeningManager() as listening:
        manager = ServiceManager({"NOTIFY_SOCKET": listening.address, "WATCHDOG_USEC": "3000"}, _PID)
        asyncio.run(watch(manager))
        for _ in range(3):
            listening.wait_until("WATCHDOG=1")
        assert listening.is_silent()


def test_a_status_is_sent_when_it_changes() -> None:
    with ListeningManager() as listening:
        manager = ServiceManager({"NOTIFY_SOCKET": listening.address}, _PID)
        for text in ("healthy", "healthy", "full", "healthy"):
            manager.status(text)
        for text in ("healthy", "full", "healthy"):
            assert listening.wait_for(lambda _line: True) == f"STATUS={text}"
        assert listening.is_silent()


def test_a_manager_may_have_an_abstract_name() -> None:
    with ListeningManager(is_abstract=True) as listening:
        manager = ServiceManager({"NOTIFY_SOCKET": listening.address}, _PID)
        manager.ready()
        listening.wait_until("READY=1")
