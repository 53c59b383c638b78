"""Fixtures that every ring may use, and the check that a test leaves nothing behind."""

import os
import stat
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.clock import FakeClock, FakeEntropy
from tests.support.spools import OpenSpool, open_spool

_SHARED_MEMORY = Path("/dev/shm")
#: A thread that was asked to end has this long to do so.
_END_SECONDS = 2.0
#: Libraries keep threads for the life of the process; their names say whose they are.
_FOREIGN_THREADS = ("_poll_wrapper", "channel_spin", "_serve", "pytest_timeout", "grpc")


@pytest.fixture(autouse=True)
def _nothing_is_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a thread, a child process or a socket file.

    What a fixture of a wider scope started was there before, and stays.
    """
    threads, children = set(threading.enumerate()), _children()
    yield
    started = [thread for thread in threading.enumerate() if thread not in threads]
    left = [f"thread {thread.name!r}" for thread in started if not _is_foreign(thread, threads) and _is_left(thread)]
    left += [f"process {pid}" for pid in _children() - children]
    directory = request.node.funcargs.get("tmp_path")
    left += _sockets(directory) if directory is not None else []
    assert not left, f"left behind: {', '.join(left)}"


@pytest.fixture
def state_dir() -> Iterator[Path]:
    """A directory for a spool; in memory where that is to be had, since an fsync costs a test a millisecond."""
    with tempfile.TemporaryDirectory(
        prefix="spoold-test-", dir=_SHARED_MEMORY if _SHARED_MEMORY.is_dir() else None
    ) as path:
        yield Path(path)
        sockets = _sockets(Path(path))
        assert not sockets, f"left behind: {', '.join(sockets)}"


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands still."""
    return FakeClock()


@pytest.fixture
def entropy() -> FakeEntropy:
    """The same randomness in each run."""
    return FakeEntropy()


@pytest.fixture
def spool(state_dir: Path, clock: FakeClock, entropy: FakeEntropy) -> Iterator[OpenSpool]:
    """An empty spool in this thread."""
    with open_spool(state_dir, clock=clock, entropy=entropy) as opened:
        yield opened


@pytest.fixture
def lane(spool: OpenSpool) -> str:
    """The name of a lane that is open from the start of the journal."""
    return spool.spool.open_lane("mixpanel", "mixpanel", "earliest").name


def _is_foreign(thread: threading.Thread, before: set[threading.Thread]) -> bool:
    is_shared_server = any(other.name == "provider-server" for other in before)
    # A kept-alive connection of a server that outlives the test.
    is_connection = "process_request_thread" in thread.name and is_shared_server
    return is_connection or any(word in thread.name for word in _FOREIGN_THREADS)


def _is_left(thread: threading.Thread) -> bool:
    thread.join(_END_SECONDS)
    return thread.is_alive()


def _children() -> set[int]:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        # There are none: a look at all of /proc is spared to nearly every test.
        return set()
    me = os.getpid()
    return {int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit() and _parent(int(path.name)) == me}


def _parent(pid: int) -> int | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The name in brackets may hold anything, spaces and brackets too.
    return int(text.rpartition(")")[2].split()[1])


def _sockets(directory: Path) -> list[str]:
    # By the name that listeners give theirs: a test may make a socket of its own to stand for something odd.
    return [str(path) for path in directory.rglob("*.sock") if stat.S_ISSOCK(path.lstat().st_mode)]
