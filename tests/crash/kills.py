"""SIGKILL at random under load, again and again on the same spool.

Callers repeat a call with the same ids while its outcome is unknown; an operator replays, pauses and counts beside
them; one provider misbehaves. At the end everything drains, and the promises are held against what arrived.
"""

import random
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc

from tests.crash.book import Book, BrokenPromiseError, Call
from tests.crash.desk import DEEDS, Admin, admin
from tests.crash.world import World, open_world
from tests.support.daemon_process import DaemonError, DaemonProcess
from tests.support.front_door import Stub, front_door
from tests.support.provider_server import CloseAfterReading, CloseBeforeReading, Raw, Reply

_KILLS = 10
_CALLERS = 6
_BATCH_EVENTS = 40
#: A life lasts until so many calls were answered, or until a moment, which may also come while the daemon starts.
_MOST_ANSWERS = 300
_SHORTEST_SECONDS, _LONGEST_SECONDS = 0.1, 2.0
_PATIENCE_SECONDS = 20.0
_MOST_DEEDS = 60
_PAUSE_SECONDS = 0.02

_MISHAPS = (
    CloseBeforeReading(),
    CloseAfterReading(),
    Reply(503, {"error": "busy"}),
    Reply(500, b"<html>oops"),
    Reply(429, {"error": "slow down"}, {"Retry-After": "0"}),
    Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"),
)


def run_round(seed: int, *, kills: int = _KILLS) -> dict[str, int]:
    """So many lives that end by SIGKILL, and one that lasts.

    Raises:
        BrokenPromiseError: A promise does not hold; the message names the seed.
    """
    rng = random.Random(seed)
    book = Book(random.Random(f"{seed} book"))
    with TemporaryDirectory(prefix="spoold-kills-") as home, open_world(Path(home)) as world:
        try:
            for _ in range(kills):
                _Life(world, book, rng).run()
            delivered = world.recover(book)
        except AssertionError as exc:
            raise BrokenPromiseError(f"seed {seed}, {kills} kills: {exc}") from exc
    return {
        "kills": kills,
        "acknowledged": len(book.acknowledged),
        "repeats": book.repeats,
        "delivered": delivered,
    }


class _Life:
    """A daemon under load until it is killed."""

    def __init__(self, world: World, book: Book, rng: random.Random) -> None:
        self._world = world
        self._book = book
        is_timed = rng.random() < 0.5
        self._seconds = rng.uniform(_SHORTEST_SECONDS, _LONGEST_SECONDS) if is_timed else _PATIENCE_SECONDS
        self._answers_left = sys.maxsize if is_timed else rng.randrange(1, _MOST_ANSWERS)
        self._script = [rng.choice(_MISHAPS) for _ in range(rng.randrange(12))]
        self._deeds = [rng.choice(DEEDS) for _ in range(_MOST_DEEDS)]
        self._lock = threading.Lock()
        self._is_over = threading.Event()

    def run(self) -> None:
        """Start, load, kill."""
        self._world.servers["mixpanel"].script(*self._script)
        daemon = self._world.daemon()
        killer = threading.Thread(target=self._strike, args=(daemon,), name="killer")
        killer.start()
        try:
            # It may be killed before it listens.
            with suppress(DaemonError):
                daemon.ready()
                self._load(daemon)
        finally:
            self._is_over.set()
            killer.join()
            code = daemon.end()
            daemon.admin_socket.unlink(missing_ok=True)
        if code != -signal.SIGKILL:
            raise BrokenPromiseError(f"it ended by itself, with {code}: {daemon.logs[-10:]}")

    def _strike(self, daemon: DaemonProcess) -> None:
        # A life that is to last for so many answers is over with the last one of them.
        self._is_over.wait(self._seconds)
        daemon.process.kill()
        self._is_over.set()

    def _load(self, daemon: DaemonProcess) -> None:
        repeated = self._book.take_doubts()
        with (
            front_door(daemon.address) as stub,
            admin(daemon) as operator,
            ThreadPoolExecutor(_CALLERS + 1) as threads,
        ):
            running = [threads.submit(self._call, stub, repeated[number::_CALLERS]) for number in range(_CALLERS)]
            running.append(threads.submit(self._operate, operator))
            for thread in running:
                thread.result()

    def _call(self, stub: Stub, repeated: list[Call]) -> None:
        """One caller: first what is in doubt, then ever new calls, until the daemon is gone."""
        while not self._is_over.is_set():
            call = repeated.pop() if repeated else self._book.draw(_BATCH_EVENTS)
            if self._book.carry(call, stub):
                self._count()
        self._book.doubt(repeated)

    def _count(self) -> None:
        with self._lock:
            self._answers_left -= 1
            if self._answers_left <= 0:
                self._is_over.set()

    def _operate(self, operator: Admin) -> None:
        for deed in self._deeds:
            if self._is_over.wait(_PAUSE_SECONDS):
                return
            with suppress(grpc.RpcError):
                deed(operator)
