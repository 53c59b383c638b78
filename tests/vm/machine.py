"""A Debian machine with a real systemd: booted in a container, used from outside, and undone without a trace.

What is special: the host needs neither systemd nor D-Bus. systemd-nspawn runs in a mount namespace of its own with a
private /run/systemd/nspawn, and a cgroup of its own; commands go in by nsenter.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

_BOOT_SECONDS = 60.0
_DOWN_SECONDS = 90.0
_POLL_SECONDS = 0.1
#: systemd-nspawn leaves the reboot to whoever keeps its unit.
_REBOOT_CODE = 133
_ENVIRONMENT = ("PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8", "TERM=dumb", "SYSTEMD_COLORS=0")
_QUIET = ("SYSTEMD_PAGER=cat", "DEBIAN_FRONTEND=noninteractive")
_NSPAWN = """
echo $$ > "$1/cgroup.procs"
mkdir -p /run/systemd/nspawn && mount -t tmpfs tmpfs /run/systemd/nspawn
export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1
exec systemd-nspawn --quiet --directory "$2" --boot --machine "$3" --hostname "$3" --register=no --keep-unit \
    --private-network --console=pipe --link-journal=no --resolv-conf=off --timezone=off \
    --kill-signal=SIGRTMIN+3 --capability=CAP_BPF,CAP_PERFMON,CAP_NET_ADMIN --system-call-filter=bpf
"""


class MachineError(Exception):
    """The machine, or a command in it, did not do what it must; the message says what it said."""


def wait_until(is_so: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    """Look again and again; raises MachineError when it is not so in time."""
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            raise MachineError(f"not within {seconds:.0f} s: {what}")
        time.sleep(_POLL_SECONDS)


class Machine:
    """One machine. Its disk is a layer over ``base``, which stays as it is.

    Attributes:
        root: Its file system, as seen from outside.
    """

    def __init__(self, name: str, base: Path, home: Path) -> None:
        self.root = home / "root"
        self._name = name
        self._base = base
        self._home = home
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._cgroup = _cgroups() / name
        self._console: IO[bytes] | None = None

    def make(self) -> None:
        """Give it its disk."""
        for folder in ("root", "upper", "work"):
            (self._home / folder).mkdir(parents=True)
        layers = f"lowerdir={self._base},upperdir={self._home / 'upper'},workdir={self._home / 'work'}"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, str(self.root)], check=True)

    def boot(self) -> None:
        """Start it, and wait until systemd has started everything."""
        self._cgroup.mkdir(exist_ok=True)
        self._console = (self._home / "console").open("ab")
        command = ["unshare", "--mount", "--propagation", "private", "bash", "-c", _NSPAWN, "-"]
        self._nspawn = subprocess.Popen(
            [*command, str(self._cgroup), str(self.root), self._name],
            stdin=subprocess.DEVNULL,
            stdout=self._console,
            stderr=subprocess.STDOUT,
            # Ctrl-C is ours to act on.
            start_new_session=True,
        )
        self._wait_for_systemd()

    @property
    def leader(self) -> int:
        """The machine's process 1, as the host numbers it; 0 while there is none."""
        if self._nspawn is None or self._nspawn.poll() is not None:
            return 0
        with suppress(OSError):
            for children in Path(f"/proc/{self._nspawn.pid}/task").glob("*/children"):
                for pid in children.read_text().split():
                    return int(pid)
        return 0

    def host_pid(self, pid: str) -> int:
        """The number that the host has for a process of the machine's."""
        namespace = Path(f"/proc/{self.leader}/ns/pid").readlink()
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                numbers = next(line for line in (process / "status").read_text().splitlines() if "NSpid:" in line)
                if numbers.split()[-1] == pid and (process / "ns/pid").readlink() == namespace:
                    return int(process.name)
        raise MachineError(f"no process {pid} on the machine")

    def command(self, *words: str) -> list[str]:
        """The command that runs ``words`` inside."""
        inside = ["nsenter", "-t", str(self.leader), "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w", "--"]
        return [*inside, "/usr/bin/env", "-i", *_ENVIRONMENT, *_QUIET, *words]

    def in_its_network(self, *words: str) -> list[str]:
        """The command that runs ``words`` outside, with the machine's network."""
        return ["nsenter", "-t", str(self.leader), "-n", "--", *words]

    def try_run(self, *words: str, seconds: float = 120.0) -> tuple[int, str]:
        """Run a command inside; returns its exit code and everything that it said."""
        try:
            done = subprocess.run(
                self.command(*words),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as exc:
            raise MachineError(f"{' '.join(words)}: no end after {seconds:.0f} s") from exc
        return done.returncode, done.stdout.decode(errors="replace").strip()

    def run(self, *words: str, seconds: float = 120.0) -> str:
        """Run a command inside that must succeed; returns what it said."""
        code, said = self.try_run(*words, seconds=seconds)
        if code != 0:
            raise MachineError(f"{' '.join(words)}: exit code {code}: {said[-1500:]}")
        return said

    def write(self, path: str, text: str) -> None:
        """Write a file of root's, readable for all."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def reboot(self) -> None:
        """As an operator reboots it."""
        assert self._nspawn is not None
        self.try_run("systemctl", "reboot")
        code = self._nspawn.wait(_DOWN_SECONDS)
        if code != _REBOOT_CODE:
            raise MachineError(f"the machine ended with {code} instead of a reboot")
        self.boot()

    def cut_power(self) -> None:
        """End all its processes at once. What they had written stays; see tests/power for what a disk may lose."""
        self._end(signal.SIGKILL, self.leader)

    def remove(self) -> None:
        """Undo everything, whatever state it is in."""
        if self._nspawn is not None:
            self._end(signal.SIGKILL, self.leader)
        if os.path.ismount(self.root):
            subprocess.run(["umount", "--lazy", str(self.root)], check=True)
        for groups in (self._cgroup, Path("/sys/fs/cgroup/systemd") / self._name):
            for folder in sorted(groups.rglob("*/"), reverse=True) if groups.is_dir() else []:
                folder.rmdir()
            with suppress(FileNotFoundError):
                groups.rmdir()
        shutil.rmtree(self._home, ignore_errors=True)

    def _wait_for_systemd(self) -> None:
        def is_up() -> bool:
            assert self._nspawn is not None
            if self._nspawn.poll() is not None:
                said = (self._home / "console").read_text(errors="replace")
                raise MachineError(f"systemd can't be booted here: {said[-1500:]}")
            return bool(self.leader) and self.try_run("systemctl", "is-system-running")[1] in {"running", "degraded"}

        wait_until(is_up, "systemd has started everything", _BOOT_SECONDS)

    def _end(self, number: signal.Signals, leader: int) -> None:
        assert self._nspawn is not None
        if leader:
            with suppress(ProcessLookupError):
                os.kill(leader, number)
        try:
            self._nspawn.wait(_DOWN_SECONDS)
        except subprocess.TimeoutExpired:
            self._nspawn.kill()
            self._nspawn.wait()
        self._nspawn = None
        if self._console is not None:
            self._console.close()


def _cgroups() -> Path:
    """Where cgroup v2 is: beside the old hierarchies, or alone."""
    beside = Path("/sys/fs/cgroup/unified")
    return beside if beside.is_dir() else Path("/sys/fs/cgroup")
