"""``spoolctl doctor`` on file systems that are really mounted: what it says, and its fix done as told."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

_SPOOLCTL = Path(sys.executable).with_name("spoolctl")
#: Mounted where nobody else sees it. "$0" is an empty folder, "$0/disk" what is to be mounted.
_MOUNTS = {
    "memory": 'mount -t tmpfs -o size=64m none "$0/disk"',
    "read-only": 'mount -t tmpfs -o size=64m none "$0/disk" && mount -o remount,ro "$0/disk"',
    "container": 'mount -t tmpfs -o size=64m none "$0/base" && mkdir "$0/base/upper" "$0/base/work" "$0/base/lower"'
    ' && mount -t overlay -o "lowerdir=$0/base/lower,upperdir=$0/base/upper,workdir=$0/base/work" overlay "$0/disk"',
}
#: A finding is no failure of the doctor's.
_LOOK = '"$1" --spool "$0/disk/spool" --socket "$0/none.sock" doctor --json || [ $? = 1 ]'


def look(home: Path, kind: str, fix: str = "true") -> dict[str, str]:
    """What the doctor says of the file system after a fix."""
    for name in ("disk", "base"):
        (home / name).mkdir(exist_ok=True)
    script = f"{{ {_MOUNTS[kind]}; }} || exit 77\n{fix}\n{_LOOK}"
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script, str(home), str(_SPOOLCTL)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except FileNotFoundError:
        pytest.skip("needs unshare")
    if done.returncode == 77 or (not done.stdout and "unshare" in done.stderr):
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return next(one for one in json.loads(done.stdout) if one["check"] == "file system")


@pytest.mark.parametrize(("kind", "word"), [("memory", "a reboot loses every event"), ("container", "go with the")])
def test_where_events_would_not_last_is_a_warning(tmp_path: Path, kind: str, word: str) -> None:
    found = look(tmp_path, kind)

    assert (found["level"], word in found["found"]) == ("warning", True)
    assert "spool.url" in found["fix"]


def test_what_is_mounted_read_only_is_a_problem_until_the_fix_is_done(tmp_path: Path) -> None:
    found = look(tmp_path, "read-only")

    assert (found["level"], "mounted read-only" in found["found"]) == ("problem", True)
    assert look(tmp_path, "read-only", found["fix"])["level"] == "warning"
