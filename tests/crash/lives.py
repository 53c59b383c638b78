"""The lives that bring a daemon to its crash point, one for each sort of point, and what must be true after it.

``run_point`` is one crash; ``run_round`` some of the catalogue, the seed says which.
"""

import random
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import count, cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID

import grpc

from spoold.record import Draft, encode_record
from spoold.spool.journal import DATABASE_NAME, JournalQueue
from spoold.spool.quarantine import QUARANTINE_NAME, mark_damaged
from spoold.spool.schema import migrate, shipped_migrations
from tests.crash.book import Book, BrokenPromiseError, Sent
from tests.crash.child import MISSED, REACHED
from tests.crash.desk import DEEDS, LANES, admin, cancel, command, flush, replay_dead, replay_range
from tests.crash.points import POINTS, Life, Point
from tests.crash.troubles import break_page, fill, flip, meet_again
from tests.crash.world import World, open_world
from tests.support.daemon_process import DaemonError, DaemonProcess
from tests.support.front_door import Stub, front_door
from tests.support.provider_server import Reply

#: A point that is not reached by then is not reached at all.
_LIFE_SECONDS = 30.0
_PAUSE_SECONDS = 0.01
_CALLERS = 3
_ROUND_POINTS = 6
#: More than two stretches of a replay, or three steps of a salvage.
_MANY = 1100
_BATCH_EVENTS = 200
_STOP_CALLS = 20
#: Some 200 events of the first format.
_OLD_CALLS = 70
_OLD_MS = 1_750_000_000_000
_HEADER_BYTES = 100


@dataclass(frozen=True)
class Stage:
    """One sort of life.

    Attributes:
        live: Brings a daemon that listens to its point.
        prepare: What is in the spool before.
        retention: How long delivered events stay.
        min_free_bytes: How often a checkpoint is due; see ``open_world``.
        max_bytes: What the spool may hold.
        purging: See ``open_world``.
        linger: What is to be done between the death and the start that is looked at.
        batch_size: From how many events on a lane sends.
        interval_seconds: Or from which age on.
    """

    live: Callable[[World, Book, DaemonProcess], None]
    prepare: Callable[[World, Book], None] | None = None
    retention: str = "0s"
    min_free_bytes: str = "256KiB"
    max_bytes: str = "1GiB"
    purging: str = ""
    linger: Callable[[World], None] | None = None
    batch_size: int = 10
    interval_seconds: int = 1


def run_point(point: Point, home: Path) -> dict[str, int]:
    """One daemon dies at ``point``, the next one goes on.

    Raises:
        BrokenPromiseError: A promise does not hold.
        AssertionError: The point was not reached.
    """
    stage = _STAGES[point.life]
    book = Book(random.Random(point.name))
    space = {"retention": stage.retention, "min_free_bytes": stage.min_free_bytes, "max_bytes": stage.max_bytes}
    with open_world(home, **space, purging=stage.purging) as world:
        if stage.prepare is not None:
            stage.prepare(world, book)
        batches = {"batch_size": stage.batch_size, "interval_seconds": stage.interval_seconds}
        _die(point, world.dying(point, **batches), lambda daemon: stage.live(world, book, daemon))
        try:
            if stage.linger is not None:
                stage.linger(world)
            delivered = world.recover(book)
            if point.life not in ("damaged", "broken") and (world.spool_dir / QUARANTINE_NAME).exists():
                raise BrokenPromiseError("a spool that was not damaged was moved aside")
        except AssertionError as exc:
            raise BrokenPromiseError(f"{point.name!r} ({point.place}): {exc}") from exc
    return {"crash_points": 1, "acknowledged": len(book.acknowledged), "repeats": book.repeats, "delivered": delivered}


def run_round(seed: int) -> dict[str, int]:
    """Some points of the catalogue; so many seeds in a row as there are such parts of it go through all of them.

    Raises:
        AssertionError: A promise does not hold, or a point was not reached.
    """
    points = list(POINTS.values())
    parts = -(-len(points) // _ROUND_POINTS)
    return run_points(points[seed % parts :: parts])


def run_points(points: list[Point], *, at_once: int = 2) -> dict[str, int]:
    """Several crashes, each with a home of its own; returns their figures, added up."""
    with TemporaryDirectory(prefix="spoold-crash-") as directory, ThreadPoolExecutor(at_once) as pool:
        homes = [Path(directory) / str(number) for number in range(len(points))]
        for home in homes:
            home.mkdir()
        figures = list(pool.map(run_point, points, homes))
    return {name: sum(one[name] for one in figures) for name in figures[0]}


def _die(point: Point, daemon: DaemonProcess, live: Callable[[DaemonProcess], None]) -> None:
    try:
        # It may die before it listens.
        with suppress(DaemonError):
            daemon.ready()
            live(daemon)
        code = daemon.end(timeout_seconds=_LIFE_SECONDS)
    except BaseException:
        daemon.kill()
        raise
    finally:
        daemon.admin_socket.unlink(missing_ok=True)
    expected = -(signal.SIGXFSZ if point.torn else signal.SIGKILL)
    said = [log.get("event") for log in daemon.logs]
    if code != expected or REACHED not in said or MISSED in said:
        raise AssertionError(f"it did not die at {point.name!r}, exit code {code}: {daemon.logs[-10:]}")


def _wait_for_the_end(_world: World, _book: Book, _daemon: DaemonProcess) -> None:
    """Whatever it does by itself brings it there."""


def _load(world: World, book: Book, daemon: DaemonProcess) -> None:
    """Callers and an operator, until the daemon dies."""
    deeds = cycle(DEEDS)
    until = time.monotonic() + _LIFE_SECONDS
    with front_door(daemon.address) as stub, admin(daemon) as operator, ThreadPoolExecutor(_CALLERS) as callers:
        for number in count():
            if daemon.process.poll() is not None or time.monotonic() > until:
                return
            calls = [*book.take_doubts(), *(book.draw() for _ in range(_CALLERS))]
            list(callers.map(lambda call: book.carry(call, stub), calls))
            with suppress(grpc.RpcError):
                next(deeds)(operator)
            if number % 10 == 5:
                world.servers["mixpanel"].script(Reply(503, {"error": "busy"}))
            with suppress(subprocess.TimeoutExpired):
                daemon.process.wait(_PAUSE_SECONDS)


def _replay(world: World, book: Book, daemon: DaemonProcess) -> None:
    """Everything is delivered, and then sent again."""
    with front_door(daemon.address) as stub, admin(daemon) as operator:
        _send_many(book, stub)
        world.servers["mixpanel"].wait_until(lambda: world.servers["mixpanel"].event_count > _MANY // 2)
        with suppress(grpc.RpcError):
            flush(operator)
            book.replays.append(replay_dead(operator))
            book.replays.append(replay_range(operator))
            cancel(operator)


def _stop(_world: World, book: Book, daemon: DaemonProcess) -> None:
    """A stop in order under load, with everything still to be flushed."""

    def call() -> None:
        # Until the door is closed, or the daemon gone.
        while book.carry(book.draw(), stub):
            pass

    with front_door(daemon.address) as stub, ThreadPoolExecutor(_CALLERS) as callers:
        for _ in range(_STOP_CALLS):
            book.carry(book.draw(), stub)
        for _ in range(_CALLERS):
            callers.submit(call)
        daemon.process.send_signal(signal.SIGTERM)


def _damage(world: World, book: Book) -> None:
    """A spool with its log, of which some was delivered; whoever ran it met damage and said so."""
    with world.daemon() as daemon, front_door(daemon.address) as stub, admin(daemon) as operator:
        for _ in range(_CALLERS):
            book.carry(book.draw(), stub)
        command(operator, "pause")
        _send_many(book, stub)
        daemon.kill()
    mark_damaged(world.spool_dir, "met in mid-run")
    with (world.spool_dir / DATABASE_NAME).open("r+b") as database:
        database.write(b"\xa5" * _HEADER_BYTES)


def _age(world: World, book: Book) -> None:
    """A spool of the first format, as a daemon that was killed left it: everything is in its log."""
    live = world.home / "old"
    live.mkdir()
    calls = [book.draw(ids="uuid") for _ in range(_OLD_CALLS)]
    old = [sent for call in calls for sent in call.events]
    queue = JournalQueue(live, "fsync")
    try:
        _write_old(queue.connection, old)
        world.spool_dir.mkdir()
        for name in (DATABASE_NAME, f"{DATABASE_NAME}-wal"):
            shutil.copy(live / name, world.spool_dir)
    finally:
        queue.close()
    for sent in old:
        sent.is_acknowledged = True


def _write_old(connection: sqlite3.Connection, events: list[Sent]) -> None:
    migrate(connection, {1: shipped_migrations()[1]}, {1: 1})
    for seq, sent in enumerate(events, 1):
        event_id = UUID(sent.event_id).bytes
        draft = Draft("track" if sent.is_track else "identify", sent.request.SerializeToString(), event_id)
        record = encode_record(draft, event_id, _OLD_MS)
        connection.execute(
            "INSERT INTO queue_journal (_id, data, timestamp) VALUES (?, ?, ?)", (seq, record, _OLD_MS / 1000)
        )
        connection.execute("INSERT INTO caller_id VALUES (?, ?)", (event_id[:8], seq))
    last = len(events)
    connection.execute("INSERT INTO spool VALUES (1, ?, 0, 0, ?, ?, x'0102', 0, 0)", (last, last, _OLD_MS))
    for lane in LANES[:2]:
        connection.execute(
            "INSERT INTO lane VALUES (?, ?, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, '', 0, x'', 0, 0, 0)",
            (lane, lane),
        )


def _send_many(book: Book, stub: Stub) -> None:
    sent = 0
    while sent < _MANY:
        call = book.draw(_BATCH_EVENTS)
        book.carry(call, stub)
        sent += len(call.events)


_STAGES: dict[Life, Stage] = {
    "start": Stage(_wait_for_the_end),
    "load": Stage(_load),
    "replay": Stage(_replay, retention="1h"),
    "stop": Stage(_stop, batch_size=1000, interval_seconds=300, min_free_bytes="16MiB"),
    "old": Stage(_wait_for_the_end, _age),
    "damaged": Stage(_wait_for_the_end, _damage),
    "flipped": Stage(_wait_for_the_end, flip),
    "broken": Stage(_wait_for_the_end, break_page, linger=meet_again),
    "full": Stage(fill, max_bytes="1MiB", purging="webhook"),
}
