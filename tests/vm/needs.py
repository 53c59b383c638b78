"""What a machine is made of: the host's tools, the Debian that it starts from, and the packages that go into it."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from tests.vm.machine import MachineError

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / "build" / "vm"
_TOOLS = {
    "mmdebstrap": "mmdebstrap",
    "systemd-nspawn": "systemd-container",
    "nsenter": "util-linux",
    "strace": "strace",
}
#: The configuration in the package, and what its newer version has more of.
CONFFILE = "etc/spoold/spoold.toml"
NEWER_LINE = "# A newer version says this."
#: A bare machine, and python3 for the provider that runs on it. What else the package needs it has to bring along.
_BARE = "systemd,systemd-sysv,dbus,procps,python3,iproute2,ca-certificates,libstdc++6"


def check_host() -> None:
    """Install what is missing; raises MachineError with what it takes where that can't be."""
    if os.geteuid() != 0:
        raise MachineError("a machine can only be booted as root: sudo make vmtest")
    if not Path("/etc/debian_version").exists():
        raise MachineError("the package is built for the Debian that this runs on, and this is none")
    missing = [package for tool, package in _TOOLS.items() if shutil.which(tool) is None]
    if missing:
        _run("apt-get", "-qq", "update", check=False)
        _run("apt-get", "-qq", "install", "--no-install-recommends", "--yes", *missing)
    if "cgroup2" not in Path("/proc/filesystems").read_text():
        raise MachineError("systemd needs cgroup v2, and this kernel has none")


def debian() -> Path:
    """The root of a bare Debian of the host's release, made once."""
    codename = _release("VERSION_CODENAME")
    base = HOME / codename
    if not base.exists():
        fresh = HOME / f"{codename}.new"
        shutil.rmtree(fresh, ignore_errors=True)
        HOME.mkdir(parents=True, exist_ok=True)
        # Syncing each file of a package takes most of an installation's time, and this machine is thrown away.
        options = ("--quiet", "--variant=minbase", "--dpkgopt=force-unsafe-io", f"--include={_BARE}")
        _run("mmdebstrap", *options, codename, str(fresh))
        fresh.rename(base)
    return base


def build() -> Path:
    """Build the package; returns its path."""
    said = _run("packaging/build-deb.sh", environment={"CHECK": "no"})
    return ROOT / said.splitlines()[-1]


def restamp(package: Path) -> Path:
    """The same package as a later version, with another line in its configuration; returns its path."""
    tree = HOME / "newer"
    shutil.rmtree(tree, ignore_errors=True)
    HOME.mkdir(parents=True, exist_ok=True)
    _run("dpkg-deb", "--raw-extract", str(package), str(tree))
    control = tree / "DEBIAN" / "control"
    control.write_text(re.sub(r"^(Version: .*)$", r"\1+newer", control.read_text(), flags=re.MULTILINE))
    with (tree / CONFFILE).open("a") as conffile:
        conffile.write(f"{NEWER_LINE}\n")
    # Not compressed: that would take longer than everything else here.
    said = _run("dpkg-deb", "--root-owner-group", "-Znone", "--build", str(tree), str(HOME))
    return Path(said.rpartition(" in '")[2].removesuffix("'."))


def _release(key: str) -> str:
    lines = Path("/etc/os-release").read_text().splitlines()
    return next(line.split("=", 1)[1].strip('"') for line in lines if line.startswith(f"{key}="))


def _run(*words: str, check: bool = True, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        words,
        cwd=ROOT,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"} | (environment or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if check and done.returncode != 0:
        raise MachineError(f"{' '.join(words)}: exit code {done.returncode}: {done.stdout[-1500:]}")
    return done.stdout.strip()
