"""I9 with real processes, and a start on a disk that is full."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from spoold.errors import SpoolLockedError
from spoold.spool.lock import DirectoryLock

_ROOT = Path(__file__).parents[3]

_OWNER = """
import sys
from pathlib import Path
from spoold.spool.lock import DirectoryLock
with DirectoryLock(Path(sys.argv[1])):
    print("mine", flush=True)
    sys.stdin.read()
"""

#: Runs in a mount namespace of its own, where argv[1] is a disk of 6 MiB.
_FULL_DISK = """
import os, sys
from pathlib import Path
from tests.support.events import make_big_drafts
from tests.support.spools import KIB, MIB, open_spool

home = Path(sys.argv[1])

def use():
    return open_spool(home, min_free_bytes=MIB, free_bytes=None)

def fill():
    with open(home / "filler", "ab", buffering=0) as filler:
        try:
            while True:
                filler.write(bytes(4 * KIB))
        except OSError:
            pass

if os.fork() == 0:
    with use() as opened:
        opened.spool.open_lane("mixpanel", "mixpanel", "earliest")
        opened.append(make_big_drafts(10))
        opened.spool.trim(1)
        os._exit(0)  # as a killed process: the log is left behind
assert os.wait()[1] == 0
fill()
assert (home / "reserve").stat().st_size == 256 * KIB
assert (home / "spool.db-wal").stat().st_size
# What a reboot leaves: no index for the log, and no room for one.
(home / "spool.db-shm").unlink()
fill()

with use() as opened:
    assert not (home / "reserve").exists()
    assert opened.spool.stats().refusing == "min_free_bytes"
    assert opened.seqs("mixpanel") == [*range(1, 11)]
    opened.settle(opened.spool.claim("mixpanel"), 10, dead=[3])
    assert opened.spool.trim(100) == 10
    (home / "filler").unlink()
    opened.spool.trim(1)
    assert len(opened.append(make_big_drafts(10))) == 10
    assert (home / "reserve").exists()
print("started")
"""


@contextmanager
def owner_of(directory: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Another process that has the lock."""
    with subprocess.Popen(
        [sys.executable, "-c", _OWNER, str(directory)], cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"mine\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_second_process_is_refused_with_the_pid_of_the_first(state_dir: Path) -> None:
    with owner_of(state_dir) as process:
        with pytest.raises(SpoolLockedError, match=f"process {process.pid} owns the spool") as caught:
            DirectoryLock(state_dir)
        assert caught.value.pid == process.pid


def test_a_killed_process_leaves_no_obstacle(state_dir: Path) -> None:
    with owner_of(state_dir) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (state_dir / "lock").read_text() == f"{process.pid}\n"
        with DirectoryLock(state_dir):
            assert (state_dir / "lock").read_text() == f"{os.getpid()}\n"


def test_a_spool_on_a_disk_without_any_room_starts_and_empties_itself(state_dir: Path) -> None:
    mount = f"mount -t tmpfs -o size=6m spoold-test {state_dir}"
    if subprocess.run(["unshare", "-m", "sh", "-c", mount], capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small disk")

    command = ["unshare", "-m", "sh", "-c", f'{mount} && exec "$@"', "-", sys.executable, "-c", _FULL_DISK]
    done = subprocess.run([*command, str(state_dir)], cwd=_ROOT, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "started\n"), done.stderr
