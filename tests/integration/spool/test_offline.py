"""A spool read beside its daemon, after it, and after its end by SIGKILL: what is seen, and that nothing is changed."""

import hashlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import traceback
from collections import namedtuple
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from spoold.errors import SpoolCorruptError, SpoolError, SpoolUnreadableError, SpoolVersionError
from spoold.spool import offline
from spoold.spool.offline import OfflineSpool, open_offline
from tests.support.clock import START_MS
from tests.support.events import make_drafts
from tests.support.spools import open_spool

_ROOT = Path(__file__).parents[3]
_NOBODY = 65534
#: Seven events, three of them delivered and one set aside; none has left the log when the process is killed.
_KILLED = """
import os, signal, sys
from pathlib import Path
from typing import Any
from tests.support.events import make_drafts
from tests.support.spools import open_spool
with open_spool(Path(sys.argv[1])) as opened:
    opened.spool.open_lane("mixpanel", "mixpanel", "earliest")
    receipts = opened.append(make_drafts(7))
    opened.settle(opened.spool.claim("mixpanel"), 4, dead=[2])
    print(receipts[1].event_id.hex(), receipts[6].event_id.hex(), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""

#: A process that has the spool open, appends an event for each line it reads, and says how many there are.
_LIVE = """
import sys
from pathlib import Path
from typing import Any
from tests.support.events import make_drafts
from tests.support.spools import running_spool
with running_spool(Path(sys.argv[1])) as opened:
    opened.spool.open_lane("mixpanel", "mixpanel", "earliest")
    print(0, flush=True)
    for count, _ in enumerate(sys.stdin, 1):
        opened.spool.append(make_drafts(1)).result(timeout=20)
        print(count, flush=True)
"""


@pytest.fixture
def public_dir() -> Iterator[Path]:
    """A directory that anybody may read; pytest's own are closed."""
    path = Path(tempfile.mkdtemp(prefix="spoold-public-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def temp_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where copies are made."""
    path = tmp_path / "temp"
    path.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(path))
    return path


def make_killed(directory: Path) -> list[bytes]:
    """The spool of a process that was killed; returns the ids of a dead letter and of a pending event."""
    run = subprocess.run(
        [sys.executable, "-c", _KILLED, str(directory)], cwd=_ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == -signal.SIGKILL, run.stderr
    return [bytes.fromhex(event_id) for event_id in run.stdout.split()]


def make_stopped(directory: Path) -> None:
    """A spool that was closed in order: its log is gone."""
    with open_spool(directory) as opened:
        opened.spool.open_lane("mixpanel", "mixpanel", "earliest")
        opened.append(make_drafts(7))
    assert not (directory / "spool.db-wal").exists()


def make_unindexed(directory: Path) -> None:
    """A spool whose log has lost its index: it can only be read as a copy."""
    make_killed(directory)
    (directory / "spool.db-shm").unlink()


@contextmanager
def live(directory: Path) -> Iterator[Callable[[], None]]:
    """A process of its own that writes the spool: SQLite shares its index between the connections of one process."""
    with subprocess.Popen(
        [sys.executable, "-c", _LIVE, str(directory)], cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        stdin, stdout = process.stdin, process.stdout

        def append() -> None:
            stdin.write(b"\n")
            stdin.flush()
            assert stdout.readline()

        assert stdout.readline() == b"0\n"
        yield append
        stdin.close()
    assert process.returncode == 0


def digests(directory: Path) -> dict[str, str]:
    """Every file of the directory, with a digest of its bytes."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in directory.iterdir()}


def accepted(directory: Path) -> int:
    with open_offline(directory) as spool:
        return spool.state.spool.accepted


def as_nobody(act: Callable[[], bool]) -> bool:
    """Whether ``act`` holds in a child process without any rights."""
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(_NOBODY)
            os.setuid(_NOBODY)
            os._exit(0 if act() else 1)
        except BaseException:
            traceback.print_exc()
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def remove_nothing(_directory: Path) -> None:
    pass


def remove_index(directory: Path) -> None:
    (directory / "spool.db-shm").unlink()


def empty_index(directory: Path) -> None:
    os.truncate(directory / "spool.db-shm", 0)


@pytest.mark.parametrize(
    ("change", "copies"), [(remove_nothing, 0), (empty_index, 0), (remove_index, 1)], ids=["index", "empty", "no-index"]
)
def test_what_a_killed_process_left_in_the_log_is_seen_and_nothing_is_changed(
    state_dir: Path, temp_dir: Path, change: Callable[[Path], None], copies: int
) -> None:
    make_killed(state_dir)
    change(state_dir)
    before = digests(state_dir)

    with open_offline(state_dir) as spool:
        assert spool.is_copy == bool(copies)
        assert len(list(temp_dir.iterdir())) == copies
        lane = spool.lanes()[0]
        assert (lane.accepted, lane.delivered, lane.dead, lane.pending) == (7, 3, 1, 3)
        assert spool.pending() == 3
        assert spool.received_at_ms(lane.cursor) == START_MS
        assert spool.file_bytes == sum((state_dir / name).stat().st_size for name in ("spool.db", "spool.db-wal"))

    assert digests(state_dir) == before
    assert list(temp_dir.iterdir()) == []


def test_an_events_story_is_told(state_dir: Path) -> None:
    dead_id, pending_id = make_killed(state_dir)
    before = digests(state_dir)

    with open_offline(state_dir) as spool:
        dead, pending = spool.find(dead_id), spool.find(pending_id)
        assert spool.find(bytes(16)) is None

    assert dead is not None
    assert pending is not None
    assert (dead.event.seq, dead.lanes) == (2, [("mixpanel", "dead", "refused")])
    assert (pending.event.seq, pending.lanes) == (7, [("mixpanel", "pending", "")])
    assert digests(state_dir) == before


def test_a_spool_that_was_closed_in_order_gets_no_log_by_being_read(state_dir: Path, temp_dir: Path) -> None:
    make_stopped(state_dir)
    before = digests(state_dir)

    assert accepted(state_dir) == 7

    assert digests(state_dir) == before
    assert list(temp_dir.iterdir()) == []


def test_a_running_daemons_spool_is_read_where_it_lies_and_nothing_is_changed(state_dir: Path) -> None:
    with live(state_dir) as append:
        append()
        append()
        before = digests(state_dir)
        with open_offline(state_dir) as spool:
            assert not spool.is_copy
            assert spool.state.spool.accepted == 2
            assert digests(state_dir) == before
            # The daemon goes on as if nobody were there.
            append()
            assert spool.state.spool.accepted == 2
        assert accepted(state_dir) == 3


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
@pytest.mark.parametrize("make", [make_killed, make_stopped])
@pytest.mark.parametrize("change", [remove_nothing, remove_index], ids=lambda p: str(p.__name__))
def test_somebody_who_may_only_read_sees_it_too(
    public_dir: Path, make: Callable[[Path], object], change: Callable[[Path], None]
) -> None:
    make(public_dir)
    if change is not remove_index or make is make_killed:
        change(public_dir)
    for path in public_dir.iterdir():
        path.chmod(0o644)
    before = digests(public_dir)

    assert as_nobody(lambda: accepted(public_dir) == 7)

    assert digests(public_dir) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_somebody_who_may_only_read_sees_a_running_daemons_spool(public_dir: Path) -> None:
    with live(public_dir) as append:
        append()
        append()
        for path in public_dir.iterdir():
            path.chmod(0o644)
        before = digests(public_dir)

        assert as_nobody(lambda: accepted(public_dir) == 2)

        assert digests(public_dir) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_somebody_who_may_not_read_is_told_so(public_dir: Path) -> None:
    make_stopped(public_dir)
    (public_dir / "spool.db").chmod(0o600)

    def is_told() -> bool:
        with pytest.raises(SpoolUnreadableError, match=f"{public_dir} can't be read: Permission denied"):
            accepted(public_dir)
        return True

    assert as_nobody(is_told)


def test_a_copy_is_not_made_where_it_would_fill_the_disk(
    state_dir: Path, temp_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_unindexed(state_dir)
    usage = namedtuple("usage", "total used free")  # noqa: PYI024 - stands for shutil's own
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(10**12, 10**12 - 10**6, 10**6))

    with pytest.raises(SpoolUnreadableError, match=r"has no room for its \d+ bytes .*TMPDIR"):
        accepted(state_dir)

    assert list(temp_dir.iterdir()) == []


def test_a_copy_that_a_starting_daemon_spoiled_is_not_read(
    state_dir: Path, temp_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_unindexed(state_dir)
    copied, copy = list[Path](), shutil.copyfile

    def copy_late(source: Path, target: Path) -> None:
        copy(source, target)
        copied.append(source)
        if len(copied) == 1:
            with open_spool(state_dir) as opened:
                opened.append(make_drafts(2))

    monkeypatch.setattr(shutil, "copyfile", copy_late)

    assert accepted(state_dir) == 9
    assert list(temp_dir.iterdir()) == []


def test_a_spool_that_never_holds_still_is_refused(
    state_dir: Path, temp_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_unindexed(state_dir)

    def copy_never(_source: Path, _target: Path) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(shutil, "copyfile", copy_never)

    with pytest.raises(SpoolUnreadableError, match="changes while it is copied"):
        accepted(state_dir)
    assert list(temp_dir.iterdir()) == []


def test_where_there_is_no_spool_the_message_names_the_directory(state_dir: Path) -> None:
    with pytest.raises(SpoolUnreadableError, match=f"no spool in {state_dir}: spool.db is missing"):
        accepted(state_dir)


@pytest.mark.parametrize("content", [b"", b"not a database, but long enough to look like one " * 100])
def test_what_is_no_spool_is_told_and_left_alone(state_dir: Path, content: bytes) -> None:
    (state_dir / "spool.db").write_bytes(content)

    with pytest.raises(SpoolUnreadableError, match=f"the spool in {state_dir} can't be read"):
        accepted(state_dir)

    assert (state_dir / "spool.db").read_bytes() == content
    assert len(list(state_dir.iterdir())) == 1


def test_a_spool_whose_making_was_cut_short_is_told(state_dir: Path) -> None:
    make_stopped(state_dir)
    change(state_dir, "DELETE FROM spool")

    with pytest.raises(SpoolUnreadableError, match="never finished"):
        accepted(state_dir)


def test_a_newer_format_is_refused(state_dir: Path) -> None:
    make_stopped(state_dir)
    change(state_dir, "UPDATE schema SET version = 99, min_reader = 99")

    with pytest.raises(SpoolVersionError, match="format 99"):
        accepted(state_dir)


def test_damage_met_later_is_an_error_of_the_spool(state_dir: Path) -> None:
    make_stopped(state_dir)
    # An empty log without an index: read as a copy, which may be damaged here.
    (state_dir / "spool.db-wal").touch()
    with open_offline(state_dir) as spool:
        damage_copy(spool)
        with pytest.raises(SpoolError) as caught:
            spool.received_at_ms(0)

    assert isinstance(caught.value, SpoolCorruptError)


def change(directory: Path, statement: str) -> None:
    with closing(sqlite3.connect(directory / "spool.db", isolation_level=None)) as connection:
        connection.execute(statement)


def damage_copy(spool: OfflineSpool) -> None:
    """Overwrite everything behind the schema's page in what ``spool`` reads."""
    file = spool._reader._file
    assert file.parent.name.startswith("spoolctl-")
    size = file.stat().st_size
    with file.open("r+b") as data:
        data.seek(4096)
        data.write(b"\xff" * (size - 4096))


def test_errors_in_the_callers_own_work_are_not_taken_for_the_spools(state_dir: Path) -> None:
    make_stopped(state_dir)
    with pytest.raises(OSError, match="mine"), open_offline(state_dir):
        raise OSError("mine")


def test_a_spool_that_was_stopped_in_order_is_read_without_a_copy(state_dir: Path) -> None:
    make_stopped(state_dir)

    with open_offline(state_dir) as spool:
        assert (spool.is_copy, spool.state.spool.accepted) == (False, 7)


def test_a_daemon_that_starts_while_the_database_is_read_alone_is_seen(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_stopped(state_dir)
    opened_in_place = offline._open_in_place

    def open_late(*arguments: Any) -> OfflineSpool | None:
        found = opened_in_place(*arguments)
        monkeypatch.setattr(offline, "_open_in_place", opened_in_place)
        with open_spool(state_dir) as opened:
            opened.append(make_drafts(2))
        return found

    monkeypatch.setattr(offline, "_open_in_place", open_late)
    assert accepted(state_dir) == 9
