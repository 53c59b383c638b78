"""A disk that is slow to sync, for one process on the machine."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.vm.machine import Machine, wait_until


@contextmanager
def slow_syncs(machine: Machine, pid: str, seconds: float) -> Iterator[None]:
    """Each sync of the process takes so long meanwhile; one that has stopped itself goes on.

    Args:
        pid: As the machine numbers it.
    """
    host_pid = machine.host_pid(pid)
    delay = f"inject=fdatasync:delay_enter={int(seconds * 1e6)}"
    command = ["strace", "-qq", "-f", "-o", "/dev/null", "-e", "trace=fdatasync", "-e", delay, "-p", str(host_pid)]
    strace = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        wait_until(lambda: all(_is_traced(task) for task in Path(f"/proc/{host_pid}/task").iterdir()), "it is slow")
        os.kill(host_pid, signal.SIGCONT)
        yield
    finally:
        # It lets go of the process.
        strace.terminate()
        strace.wait()


def _is_traced(task: Path) -> bool:
    with suppress(OSError):
        return "TracerPid:\t0\n" not in (task / "status").read_text()
    # It has ended.
    return True
