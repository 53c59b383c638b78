"""``spoolctl doctor --drill``: what it proves of an honest daemon, and that it finds one that loses events."""

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from spoolctl.doctor.drill import run_drill
from spoolctl.doctor.scratch import PREFIX, scratch_folder
from spoolctl.doctor.subject import Settings
from spoolctl.failure import Failure

from tests.sim.bug import Bug, Edit, plant
from tests.sim.planted_storage import STORAGE
from tests.support.doctor import make_subject

_BIN = Path(sys.executable).parent
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
#: It answers before the commit, and the commit takes its time: whoever was answered last is lost in a kill.
_LIAR = Bug(
    "acknowledges long before the commit",
    "I1",
    (
        *next(bug for bug in STORAGE if bug.name == "acknowledges before the commit").edits,
        Edit(
            "spool/store.py",
            '    connection.execute("COMMIT")\n',
            '    __import__("time").sleep(0.01)\n    connection.execute("COMMIT")\n',
        ),
    ),
    (),
)
#: Before each start it does something to the spool that the last kill has left.
_TAMPERER = """
import pathlib, sqlite3, sys, tomllib
url = tomllib.loads(pathlib.Path(sys.argv[2]).read_text())["spool"]["url"]
file = pathlib.Path(url.removeprefix("sqlite://"), "test", "spool.db")
if file.exists():
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute({statement!r})
    connection.close()
"""


def program(folder: Path, before: str) -> Path:
    """A daemon's program that does something first."""
    path = folder / "spoold"
    path.write_text(f"#!{sys.executable}\n{before}\nimport sys\nfrom spoold.main import main\nsys.exit(main())\n")
    path.chmod(0o755)
    return path


def left_in(*folders: Path) -> list[Path]:
    return [path for folder in folders for path in folder.glob(f"{PREFIX}*")]


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    """Where a live spool would be."""
    directory = tmp_path / "spool"
    directory.mkdir()
    return directory


def test_an_honest_daemon_loses_nothing_and_nothing_is_left(spool: Path) -> None:
    environ = {"PATH": os.environ["PATH"], "SPOOL_URL": f"sqlite://{spool}", "TEST_MODE": "true"}
    arguments = ["doctor", "--drill", "--kills", "2", "--events", "300"]
    command = [str(_BIN / "spoolctl"), *arguments, "--json"]
    run = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    expected = {"ok": True, "kills": 2, "acknowledged": 300, "found": 300, "lost": 0, "altered": 0, "doubled": 0}
    assert {name: found[name] for name in expected} == expected
    assert found["lost_ids"] == []
    assert found["disk"]["check"] == "disk"
    assert left_in(spool, spool.parent) == []
    assert list(spool.iterdir()) == []


def test_a_daemon_that_answers_before_the_commit_is_caught(tmp_path: Path, spool: Path) -> None:
    plant(tmp_path / "lying", _LIAR)
    (tmp_path / "bin").mkdir()
    program(tmp_path / "bin", f"import sys\nsys.path.insert(0, {str(tmp_path / 'lying')!r})")
    # A spoolctl drills with the spoold that lies beside it.
    shutil.copy(_BIN / "spoolctl", tmp_path / "bin")
    command = [
        str(tmp_path / "bin" / "spoolctl"),
        "doctor",
        "--drill",
        "--drill-dir",
        str(spool),
        "--kills",
        "3",
        "--events",
        "90",
    ]

    run = subprocess.run(command, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False)

    assert run.returncode == 1, run.stdout
    lost = re.findall(rf"error: ({_UUID.pattern}) was acknowledged before kill [123], and is lost", run.stderr)
    assert lost
    assert int(re.findall(r"(?m)^lost +(\d+)$", run.stdout)[0]) >= len(lost)
    assert "\nproved:" not in run.stdout
    assert left_in(spool, tmp_path) == []


@pytest.mark.parametrize(
    ("statement", "is_lost"),
    [
        ("DELETE FROM queue_journal WHERE _id = (SELECT max(_id) FROM queue_journal)", True),
        ("UPDATE queue_journal SET data = substr(data, 1, 40) WHERE _id = 2", False),
    ],
)
def test_what_is_done_to_the_spool_between_kill_and_start_is_found(
    tmp_path: Path, spool: Path, statement: str, *, is_lost: bool
) -> None:
    tampering = program(tmp_path, _TAMPERER.format(statement=statement))

    outcome = run_drill(tampering, make_subject(spool), folder=None, kills=2, events=100)

    assert not outcome.is_ok
    assert (bool(outcome.lost), bool(outcome.altered)) == (is_lost, not is_lost)
    assert outcome.found == 100 - len(outcome.lost) - len(outcome.altered)


def test_an_interrupt_ends_it_and_clears_up(tmp_path: Path, spool: Path) -> None:
    primary, secondary = pty.openpty()
    # A folder for temporary files of its own: nothing may be left there either.
    environ = {"PATH": os.environ["PATH"], "TERM": "xterm", "TMPDIR": str(tmp_path)}
    command = [
        str(_BIN / "spoolctl"),
        "doctor",
        "--drill",
        "--drill-dir",
        str(spool),
        "--kills",
        "50",
        "--events",
        "100000",
    ]
    with subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=secondary) as run:
        os.close(secondary)
        shown = b""
        while b"kill 1 of 50" not in shown:
            shown += os.read(primary, 4096)
        assert len(left_in(spool)) == 1
        run.send_signal(signal.SIGTERM)
        while _read(primary):
            pass
    os.close(primary)

    assert run.returncode == 130
    assert left_in(spool, tmp_path) == []
    assert not [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(spool).encode() in _bytes(path)]


def test_a_daemon_that_does_not_start_is_told_in_its_own_words(tmp_path: Path, spool: Path) -> None:
    broken = program(tmp_path, "import sys\nprint('no room for a daemon')\nsys.exit(3)")

    with pytest.raises(Failure, match=r"did not start:\nno room for a daemon"):
        run_drill(broken, make_subject(spool), folder=None, kills=1, events=10)
    assert left_in(spool, tmp_path) == []


def test_it_does_not_take_the_room_that_the_live_spool_needs(spool: Path) -> None:
    greedy = make_subject(spool, settings=Settings({"spool.min_free_bytes": "16384TiB"}))

    with pytest.raises(Failure, match="the spool keeps"), scratch_folder(greedy, None, 100):
        pass


def test_its_folder_is_on_the_disk_of_the_spool(spool: Path) -> None:
    with scratch_folder(make_subject(spool), None, 10) as beside:
        assert beside.parent == spool.parent
    with scratch_folder(make_subject(spool / "not" / "yet"), None, 10) as above:
        assert above.parent == spool
    # Beside a mount's own folder is another disk.
    with scratch_folder(make_subject(Path("/dev/shm")), None, 10) as inside:
        assert inside.parent == Path("/dev/shm")
    assert left_in(spool, spool.parent, Path("/dev/shm")) == []


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:
        # Nobody has the other end any more.
        return b""


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""
