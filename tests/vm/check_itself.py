"""The trial itself: whoever interrupts it has nothing to clear away, and where it can't be made it says so."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tests.vm.machine import wait_until
from tests.vm.needs import HOME, ROOT
from tests.vm.site import Site, claim

_PROGRAM = (sys.executable, "-m", "tests.vm")


def interrupted_it_leaves_nothing(site: Site) -> None:
    _interrupt(site, signal.SIGINT, "run-*/machine/console")
    _interrupt(site, signal.SIGTERM, "run-*/machine/root/root/spoold_*.deb")


def without_root_it_says_so_and_fails(_site: Site) -> None:
    nobody = ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups"]
    done = subprocess.run([*nobody, *_PROGRAM], cwd=ROOT, capture_output=True, text=True, check=False)
    claim(done.returncode == 1 and "as root" in done.stdout, f"exit code {done.returncode}: {done.stdout}{done.stderr}")


def _interrupt(site: Site, number: signal.Signals, moment: str) -> None:
    """Begin another trial and interrupt it when a file of this pattern is there."""
    before, files = set(_traces()), set(HOME.glob(moment))
    command = [*_PROGRAM, "--deb", str(site.older), "--newer-deb", str(site.newer)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as trial:
        wait_until(lambda: bool(set(HOME.glob(moment)) - files), f"there is a {moment}")
        wait_until(lambda: f"process spoold-{trial.pid}" in set(_traces()), "its machine runs")
        trial.send_signal(number)
    claim(trial.returncode == 128 + number, f"exit code {trial.returncode}")
    left = set(_traces()) - before
    claim(not left, f"after {number.name} it left behind: {left}")


def _traces() -> Iterator[str]:
    """What a machine can leave on the host: mounts, folders, control groups, processes."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if (point := line.split()[4]).startswith(str(HOME)):
            yield f"mount {point}"
    for folder in (
        *HOME.glob("run-*"),
        *Path("/sys/fs/cgroup").glob("spoold-*"),
        *Path("/sys/fs/cgroup").glob("*/spoold-*"),
    ):
        yield f"folder {folder}"
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if words[0] == "systemd-nspawn":
                yield f"process {words[words.index('--machine') + 1]}"


CHECKS = (interrupted_it_leaves_nothing, without_root_it_says_so_and_fails)
