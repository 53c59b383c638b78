"""The doctor on the machine: folders, modes, file systems, room, the disk's speed, the clock, versions."""

import os
import resource
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from spoolctl.doctor.clock import check_clock, is_synchronized
from spoolctl.doctor.daemon import check_open_files
from spoolctl.doctor.directory import check_directory, check_file_system, judge_mount
from spoolctl.doctor.disk import Latency, check_disk, judge, summarize
from spoolctl.doctor.findings import Level
from spoolctl.doctor.mounts import Device, find_mount
from spoolctl.doctor.space import check_space
from spoolctl.doctor.subject import Settings
from spoolctl.doctor.versions import check_versions

from spoold import __version__
from tests.support.clock import START_MS
from tests.support.doctor import STRANGER, follow, make_status, make_subject, told
from tests.support.events import make_drafts
from tests.support.spools import open_spool

#: /proc/self/mountinfo, with a space in a name and a mount that hides another.
MOUNTS = r"""
22 1 253:0 / / rw,relatime - ext4 /dev/vda rw
23 22 0:30 / /mnt/a\040b rw - nfs4 host:/x rw
24 22 0:31 / /data rw - ext4 /dev/sda1 rw
25 22 0:32 / /data rw - tmpfs tmpfs rw
26 22 8:2 / /old rw,relatime - ext4 /dev/sdb1 rw,nobarrier
27 22 8:3 / /stuck ro,relatime - xfs /dev/sdc1 rw
28 22 0:40 / /box rw - overlay overlay rw
"""


@pytest.fixture
def home() -> Iterator[Path]:
    """A spool's directory, as the daemon makes it; whoever may can come near it, which is not so in pytest's own."""
    with tempfile.TemporaryDirectory(prefix="spoold-test-") as above:
        Path(above).chmod(0o755)
        directory = Path(above, "a spool")
        directory.mkdir(mode=0o750)
        yield directory


def test_a_directory_as_the_daemon_makes_it_is_fine(home: Path) -> None:
    (finding,) = check_directory(make_subject(home))

    assert (finding.level, finding.fix) == (Level.OK, "")
    assert "mode 0750" in finding.found


def test_a_directory_that_is_not_there_yet_is_no_more_than_a_note(home: Path) -> None:
    (finding,) = check_directory(make_subject(home / "not" / "yet"))

    assert finding.level is Level.NOTE


def test_a_directory_that_the_service_can_not_make_is_a_problem(home: Path) -> None:
    (finding,) = check_directory(make_subject(home.parent / "spool", user=STRANGER))

    assert finding.level is Level.PROBLEM
    assert finding.fix == f"install -d -o a-stranger -m 0750 {home.parent / 'spool'}"


def test_what_is_no_directory_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert told(check_directory(make_subject(tmp_path / "file"))) == [("problem", "spool.url: name one")]


def test_a_directory_of_somebody_else_is_a_problem_and_given_away_it_is_none(home: Path) -> None:
    home.chmod(0o700)
    subject = make_subject(home, user=STRANGER)
    (finding,) = check_directory(subject)

    assert (finding.level, finding.fix) == (Level.PROBLEM, f"chown a-stranger '{home}'")
    assert "can't be written by a-stranger" in finding.found
    if os.geteuid() == 0:
        follow(finding.fix.replace("a-stranger", str(STRANGER.uid)))
        assert told(check_directory(subject)) == [("ok", "")]


def test_a_folder_above_that_can_not_be_entered_is_named(home: Path) -> None:
    home.chmod(0o777)
    home.parent.chmod(0o700)
    (finding,) = check_directory(make_subject(home, user=STRANGER))

    assert (finding.level, finding.fix) == (Level.PROBLEM, f"chmod o+x {home.parent}")
    follow(finding.fix)
    assert told(check_directory(make_subject(home, user=STRANGER))) == [("warning", f"chmod o-rwx '{home}'")]


def test_a_file_that_a_start_as_root_has_left_is_a_problem(home: Path) -> None:
    home.chmod(0o777)
    (home / "lock").touch(mode=0o640)
    (finding,) = check_directory(make_subject(home, user=STRANGER))

    assert (finding.level, finding.fix) == (Level.PROBLEM, f"chown a-stranger '{home / 'lock'}'")
    if os.geteuid() == 0:
        follow(finding.fix.replace("a-stranger", str(STRANGER.uid)))
        assert told(check_directory(make_subject(home, user=STRANGER))) == [("warning", f"chmod o-rwx '{home}'")]


def test_events_that_every_user_can_read_are_a_warning(home: Path) -> None:
    home.chmod(0o755)
    (finding,) = check_directory(make_subject(home))

    assert finding.level is Level.WARNING
    follow(finding.fix)
    assert told(check_directory(make_subject(home))) == [("ok", "")]


@pytest.mark.parametrize(
    ("path", "level", "word"),
    [
        ("/var/lib/spoold", Level.OK, "ext4 on /"),
        ("/mnt/a b/spool", Level.WARNING, "network"),
        ("/data/spool", Level.WARNING, "reboot loses"),
        ("/old/spool", Level.WARNING, "barriers"),
        ("/stuck", Level.PROBLEM, "read-only"),
        ("/box/spool", Level.WARNING, "container"),
    ],
)
def test_a_file_system_that_may_not_keep_what_was_synced_is_named(path: str, level: Level, word: str) -> None:
    mount = find_mount(Path(path), MOUNTS)

    assert mount is not None
    finding = judge_mount(mount)
    assert (finding.level, word in finding.found, bool(finding.fix)) == (level, True, level is not Level.OK)


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a tmpfs")
def test_memory_is_told_from_a_disk(state_dir: Path) -> None:
    (file_system,) = check_file_system(make_subject(state_dir))
    (disk,) = check_disk(make_subject(state_dir))

    assert (file_system.level, "memory" in file_system.found) == (Level.WARNING, True)
    assert (disk.level, "too fast for a disk" in disk.found) == (Level.WARNING, True)
    assert not list(state_dir.iterdir())


@pytest.mark.parametrize(
    ("p50", "p99", "device", "word", "fix"),
    [
        (0.0002, 0.001, Device("nvme0n1", is_platter=False, is_virtual=False), "", ""),
        (0.0002, 0.001, Device("vda", is_platter=False, is_virtual=True), "its host", ""),
        (0.0002, 0.001, Device("sda", is_platter=True, is_virtual=False), "too fast", "hdparm -W 0 /dev/sda"),
        (0.009, 0.02, Device("sda", is_platter=True, is_virtual=False), "", ""),
        (0.000004, 0.00001, Device("nvme0n1", is_platter=False, is_virtual=False), "too fast", "spool.url"),
        (0.05, 0.06, Device("sda", is_platter=True, is_virtual=False), "slow", "TrackBatch"),
        (0.01, 0.6, Device("vda", is_platter=False, is_virtual=True), "slow", "TrackBatch"),
    ],
)
def test_a_sync_is_held_against_what_a_device_can_do(
    p50: float, p99: float, device: Device, word: str, fix: str
) -> None:
    finding = judge(Latency(p50, p99, p99), device)

    assert (word in finding.found, fix in finding.fix) == (True, True)
    assert finding.level is (Level.WARNING if fix else Level.OK)


def test_latencies_are_summed_up_by_their_ranks() -> None:
    assert summarize([float(number) for number in range(100, 0, -1)]) == Latency(51.0, 100.0, 100.0)


def test_a_disk_that_can_not_be_written_is_not_measured() -> None:
    (finding,) = check_disk(make_subject(Path("/proc")))

    assert (finding.level, finding.fix) == (Level.NOTE, "sudo spoolctl doctor")


def limits(least: str, most: str) -> Settings:
    return Settings({"spool.min_free_bytes": least, "spool.max_bytes": most})


@pytest.mark.parametrize(
    ("settings", "status", "level", "fix"),
    [
        (limits("1MiB", "10MiB"), make_status(bytes=1 << 20), Level.OK, ""),
        (limits("1TiB", "10MiB"), make_status(bytes=1 << 20), Level.PROBLEM, "spool.min_free_bytes"),
        (limits("1MiB", "10MiB"), make_status(bytes=9 << 20), Level.WARNING, "spool.max_bytes"),
        (limits("1MiB", "10MiB"), make_status(refusing="max_bytes"), Level.PROBLEM, "spool.max_bytes"),
        (limits("1MiB", "16TiB"), make_status(bytes=1 << 20), Level.NOTE, "spool.max_bytes"),
        (Settings(), None, Level.OK, ""),
    ],
)
def test_room_is_held_against_both_limits(
    tmp_path: Path, settings: Settings, status: object, level: Level, fix: str
) -> None:
    (finding,) = check_space(make_subject(tmp_path, settings=settings, running=status))

    assert (finding.level, fix in finding.fix) == (level, True)


def test_a_clock_that_was_set_back_is_a_warning(state_dir: Path) -> None:
    with open_spool(state_dir) as opened:
        opened.append(make_drafts(1))
    (behind,) = check_clock(make_subject(state_dir, now_ms=START_MS - 3_600_000))

    assert (behind.level, "1.0h" in behind.found or "60.0m" in behind.found) == (Level.WARNING, True)
    assert "timedatectl set-ntp true" in behind.fix
    assert "the newest event" in behind.found


def test_a_file_from_the_future_is_a_warning(state_dir: Path) -> None:
    (state_dir / "spool.db").touch()
    later = (START_MS + 60_000) / 1000
    os.utime(state_dir / "spool.db", (later, later))

    (finding,) = check_clock(make_subject(state_dir))

    assert (finding.level, "the last change of spool.db" in finding.found) == (Level.WARNING, True)


def test_the_clock_is_fine_or_merely_not_kept_right(state_dir: Path) -> None:
    with open_spool(state_dir) as opened:
        opened.append(make_drafts(1))
    for file in state_dir.iterdir():
        os.utime(file, (START_MS / 1000, START_MS / 1000))
    (finding,) = check_clock(make_subject(state_dir))

    assert finding.level is (Level.OK if is_synchronized() else Level.NOTE)


def test_few_open_files_are_a_warning(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as daemon:
        subject = make_subject(tmp_path, running=make_status(pid=daemon.pid))
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (4096, 4096))
        (many,) = check_open_files(subject)
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (256, 256))
        (few,) = check_open_files(subject)
        daemon.kill()

    assert (many.level, many.fix) == (Level.OK, "")
    assert (few.level, "may open 256" in few.found, "LimitNOFILE=65536" in few.fix) == (Level.WARNING, True, True)


def test_versions_that_differ_are_a_warning(tmp_path: Path) -> None:
    other = tmp_path / "spoold"
    other.write_text("#!/bin/sh\necho spoold 9.9.9\n")
    other.chmod(0o755)

    (same,) = check_versions(make_subject(tmp_path, running=make_status(version=__version__)))
    (programs,) = check_versions(make_subject(tmp_path, program=other))
    (old,) = check_versions(make_subject(tmp_path, running=make_status(version="0.0.9")))
    (none,) = check_versions(make_subject(tmp_path, program=None))

    assert (same.level, "grpcio" in same.found, "persist-queue" in same.found) == (Level.OK, True, True)
    assert (programs.level, "9.9.9" in programs.found, bool(programs.fix)) == (Level.WARNING, True, True)
    assert (old.level, "0.0.9" in old.found, old.fix) == (Level.WARNING, True, "spoold")
    assert (none.level, "install" in none.fix) == (Level.PROBLEM, True)
