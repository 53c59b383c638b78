"""What cutting the power of a real file system takes: root, FUSE, loop devices, and a few programs."""

import os
import shutil
import subprocess
from pathlib import Path

_PROGRAMS = ("mkfs.ext4", "mount", "umount", "unshare", "setpriv")
#: Fresh namespaces, so that whatever happens nothing stays mounted or running. Killed with whoever started it.
ISOLATED = (
    *("setpriv", "--pdeathsig", "KILL"),
    *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"),
)


def find_missing() -> str | None:
    """What this machine lacks, in a sentence; None when it has everything."""
    if os.geteuid() != 0:
        return "only root may mount a disk"
    for device in ("/dev/fuse", "/dev/loop-control"):
        if not os.access(device, os.R_OK | os.W_OK):
            return f"{device} is not there, or can't be used"
    if not Path("/dev/shm").is_dir():
        return "/dev/shm is not there"
    for program in _PROGRAMS:
        if shutil.which(program) is None:
            return f"{program} is not installed"
    tried = subprocess.run([*ISOLATED, "true"], capture_output=True, text=True, check=False)
    return f"no namespaces: {tried.stderr.strip()}" if tried.returncode else None
