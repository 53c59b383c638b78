"""What a process in the service's sandbox can do: one JSON object, an action to "done" or the reason why not."""

import ctypes
import errno
import json
import mmap
import os
import socket
from collections.abc import Callable
from pathlib import Path

_CLONE_NEWUSER = 0x10000000
_libc = ctypes.CDLL(None, use_errno=True)


def _call(function: Callable[[], object]) -> str:
    try:
        function()
    except OSError as exc:
        return errno.errorcode.get(exc.errno or 0, str(exc))
    return "done"


def _system(number_or_error: int) -> None:
    if number_or_error == -1:
        raise OSError(ctypes.get_errno(), "")


def _write(folder: str) -> Callable[[], object]:
    return lambda: Path(folder, "probe").write_text("x")


#: Where only the sandbox stands in the way, the files belong to everybody, or to the service's own user.
ACTIONS: dict[str, Callable[[], object]] = {
    "write /var/lib/spoold": _write("/var/lib/spoold"),
    "write /run/spoold": _write("/run/spoold"),
    "write /etc/spoold": _write("/etc/spoold"),
    "write everybody's /etc": _write("/etc/everybodys"),
    "write everybody's /usr": _write("/usr/everybodys"),
    "write everybody's /var/lib": _write("/var/lib/everybodys"),
    "write /dev/shm": _write("/dev/shm"),
    "read /home": lambda: list(Path("/home/alice").iterdir()),
    "see /tmp": lambda: Path("/tmp/of-others").stat(),
    "see /dev/kmsg": lambda: Path("/dev/kmsg").stat(),
    "see process 1": lambda: Path("/proc/1/cmdline").read_text(),
    "become root": lambda: os.setuid(0),
    # The file is the one that was written first.
    "change an owner": lambda: os.chown("/var/lib/spoold/probe", os.getuid(), os.getgid()),
    "make a file setuid": lambda: Path("/var/lib/spoold/probe").chmod(0o4755),
    "mount": lambda: _system(_libc.mount(b"none", b"/mnt", b"tmpfs", 0, None)),
    "new namespace": lambda: _system(_libc.unshare(_CLONE_NEWUSER)),
    "choose its processor": lambda: os.sched_setaffinity(0, {0}),
    "raise its priority": lambda: os.setpriority(os.PRIO_PROCESS, 0, -5),
    "lower its priority": lambda: os.setpriority(os.PRIO_PROCESS, 0, 5),
    "executable memory": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close(),
    "packet socket": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close(),
    "netlink socket": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close(),
    "internet socket": lambda: socket.socket(socket.AF_INET).close(),
}

if __name__ == "__main__":
    print(json.dumps({name: _call(action) for name, action in ACTIONS.items()}))
