"""What a service manager is told, and asks for: sd_notify(3), sd_watchdog_enabled(3).

Without a manager (no ``NOTIFY_SOCKET``) nothing is sent. The protocol is one datagram; the libraries for it are either
without a release for many years or need a compiler.
"""

import asyncio
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress

from spoold.clock import Clock
from spoold.runtime import Loop
from spoold.spool.values import SpoolStats

_OUT = ("down", "stopped", "paused")
#: A sync may take this long on a disk in trouble before the writer counts as dead: it must not become a restart loop.
_SLOW_SYNC_SECONDS = 300.0
#: How long a start may take from each time that it says so, and how often it does.
_STARTING_SECONDS = 120.0
_STARTING_INTERVAL_SECONDS = 20.0


class ServiceManager:
    """The other end of ``NOTIFY_SOCKET``. Safe from any thread; never raises, never blocks.

    Attributes:
        watchdog_seconds: The manager ends a process that is not heard of for so long; None when it does not watch.
    """

    def __init__(self, environment: Mapping[str, str], pid: int) -> None:
        """Read what the manager says to the process ``pid`` in its environment."""
        path = environment.get("NOTIFY_SOCKET", "")
        # "@" stands for the zero byte of an abstract name.
        self._address = "\0" + path[1:] if path.startswith("@") else path
        is_watched = environment.get("WATCHDOG_PID", str(pid)) == str(pid)
        microseconds = environment.get("WATCHDOG_USEC", "") if is_watched else ""
        self.watchdog_seconds = int(microseconds) / 1e6 if microseconds.isdecimal() and int(microseconds) else None
        self._status = ""

    def ready(self) -> None:
        """It serves now: after the start, and after a reload."""
        self._send("READY=1")

    def reloading(self, monotonic_seconds: float) -> None:
        """It reads its configuration again, since ``monotonic_seconds``."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={int(monotonic_seconds * 1e6)}")

    def stopping(self) -> None:
        """It has begun to stop."""
        self._send("STOPPING=1")

    def starting(self) -> None:
        """It still starts, and may take two minutes more."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(_STARTING_SECONDS * 1e6)}")

    def alive(self) -> None:
        """The watchdog need not bite."""
        self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """A line for ``systemctl status``; sent when it is another than the last."""
        if text != self._status:
            self._status = text
            self._send(f"STATUS={text}")

    def _send(self, *assignments: str) -> None:
        if not self._address:
            return
        # A manager that does not listen learns nothing; the daemon's work goes on.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
            sender.sendto("\n".join(assignments).encode(), self._address)


async def keep_alive(manager: ServiceManager, writer_busy_seconds: Callable[[], float]) -> None:
    """Keep the watchdog off, from the loop that answers callers, for as long as the writer's disk answers it.

    Never returns where the manager watches; cancel it.

    Args:
        writer_busy_seconds: How long the commit under way has taken.
    """
    while manager.watchdog_seconds is not None:
        if writer_busy_seconds() < _SLOW_SYNC_SECONDS:
            manager.alive()
        # Half of it is the manual's own advice; a third leaves room for a machine under load.
        await asyncio.sleep(manager.watchdog_seconds / 3)


@contextmanager
def starting(manager: ServiceManager, clock: Clock) -> Iterator[None]:
    """Have the manager wait while the spool is opened: a migration or a damaged spool may take its time."""

    def say(_now: float) -> float:
        manager.starting()
        return _STARTING_INTERVAL_SECONDS

    loop = Loop("starting", say, clock, on_death=lambda _name, _error: None)
    loop.start()
    try:
        yield
    finally:
        loop.request_stop()
        loop.join()


def status_line(condition: str, stats: SpoolStats, lanes: Iterable[tuple[str, str]]) -> str:
    """The daemon at a glance, for one who looks at the service: names and states of lanes that need a look.

    Args:
        condition: As ``HealthCheck`` says it.
        lanes: Names and states.
    """
    away = [f"{name} {state}" for name, state in lanes if state in _OUT]
    refusing = [f"appends are refused: {stats.refusing}"] if stats.refusing is not None else []
    return "; ".join([f"{condition}, {stats.pending} events pending", *away, *refusing])
