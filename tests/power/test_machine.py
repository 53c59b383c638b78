"""The power of a machine with a real daemon on a real ext4 is cut."""

import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from tests.power.machine import HOME, cutting, run_round
from tests.power.needs import find_missing

_MISSING = find_missing()
_LOOPS = Path("/sys/block")
_TRIES = 500_000

pytestmark = pytest.mark.skipif(_MISSING is not None, reason=f"the power can't be cut here: {_MISSING}")


def test_a_power_cut_at_any_moment_loses_nothing_that_was_acknowledged() -> None:
    figures = run_round(1, cuts=40, drains=1)

    assert figures["power_cuts"] == 40
    assert figures["losing_cuts"] == 0
    assert figures["acknowledged"] > 300
    assert figures["drained"] > 0


def test_with_durability_os_a_power_cut_loses_events() -> None:
    figures = run_round(1, durability="os", cuts=20, drains=0)

    assert figures["losing_cuts"] > 0


def test_nothing_stays_mounted_or_looped_when_it_is_killed() -> None:
    with subprocess.Popen(cutting(1), cwd=HOME, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        disk = f"{process.stdout.readline().strip()}/disk"
        loop = next(file for file in _LOOPS.glob("loop*/loop/backing_file") if _read(file).endswith(disk))
        process.kill()

    # The kernel takes a moment for it. A file whose mount is gone is told by what is left of its path.
    assert any(not disk.endswith(_read(loop) or "nothing") for _ in range(_TRIES))
    assert disk not in Path("/proc/self/mounts").read_text()
    assert not Path(disk).parent.exists()


def _read(file: Path) -> str:
    with suppress(OSError):
        return file.read_text().strip()
    return ""
