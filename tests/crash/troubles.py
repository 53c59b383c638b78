"""Spools in trouble, for daemons to die in: with a record that is damaged, with a page that is, and full."""

import time
from pathlib import Path
from uuid import UUID

from spoold.spool.journal import DATABASE_NAME
from spoold.spool.quarantine import read_mark
from tests.crash.book import Book, BrokenPromiseError, Sent
from tests.crash.world import World
from tests.support.daemon_process import DaemonError, DaemonProcess
from tests.support.front_door import front_door
from tests.support.provider_server import Reply

_CALLS = 60
#: Events in a call of those that fill a spool, and how many calls at the most.
_MANY, _MOST_CALLS = 100, 2000
_PAGE_BYTES = 4096
_PATIENCE_SECONDS = 30.0


def flip(world: World, book: Book) -> None:
    """A bit of one record turned over while nobody ran; everything is pending with every provider."""
    file, content, victim = _at_rest(world, book)
    content[content.index(victim.number.encode())] ^= 1
    file.write_bytes(content)
    book.damage(victim)


def break_page(world: World, book: Book) -> None:
    """A page in the midst of the journal is none, which SQLite notices when it comes there."""
    file, content, victim = _at_rest(world, book)
    start = content.index(UUID(victim.event_id).bytes) // _PAGE_BYTES * _PAGE_BYTES
    content[start : start + 8] = b"\xff" * 8
    file.write_bytes(content)


def meet_again(world: World) -> None:
    """Whoever died before it could leave the mark told nobody: the next one meets the damage itself, and ends."""
    if read_mark(world.spool_dir) is not None:
        return
    daemon = world.daemon()
    try:
        daemon.wait_for_log("spool damaged")
        code = daemon.end()
    except DaemonError as exc:
        raise BrokenPromiseError(f"the damage was not met again: {exc}") from exc
    finally:
        daemon.kill()
        daemon.admin_socket.unlink(missing_ok=True)
    if code != 1:
        raise BrokenPromiseError(f"a daemon that met damage ended with {code}")


def fill(world: World, book: Book, daemon: DaemonProcess) -> None:
    """The provider of the lane that gives up its oldest events is down, and callers go on until the daemon dies."""
    world.servers[world.purging].always(Reply(503, {"error": "down"}))
    until = time.monotonic() + _PATIENCE_SECONDS
    with front_door(daemon.address) as stub:
        for _ in range(_MOST_CALLS):
            if daemon.process.poll() is not None or time.monotonic() > until:
                return
            # With no id of theirs nobody repeats them: what was refused is gone for good.
            book.carry(book.draw(_MANY, ids="none", is_plain=True), stub)


def _at_rest(world: World, book: Book) -> tuple[Path, bytearray, Sent]:
    """A spool that was stopped in order, all of it pending: its file, what is in it, and an event in its midst."""
    for server in world.servers.values():
        server.always(Reply(503, {"error": "down"}))
    with world.daemon() as daemon, front_door(daemon.address) as stub:
        for _ in range(_CALLS):
            book.carry(book.draw(ids="uuid", is_plain=True), stub)
        daemon.stop()
    for server in world.servers.values():
        server.recover()
    file = world.spool_dir / DATABASE_NAME
    content = bytearray(file.read_bytes())
    # A profile's user is named after its number, which would stand there twice.
    tracks = [sent for sent in book.acknowledged if sent.is_track and content.count(UUID(sent.event_id).bytes) == 1]
    return file, content, tracks[len(tracks) // 2]
