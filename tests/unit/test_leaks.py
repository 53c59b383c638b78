"""The check on what tests leave behind finds it, and nothing else."""

import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]

_TESTS = """
import socket, subprocess, threading

over = threading.Event()

def test_thread():
    threading.Thread(target=over.wait, args=(10,), name="lost").start()

def test_process():
    subprocess.Popen(["sleep", "10"])

def test_socket(tmp_path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "admin.sock"))

def test_clean(tmp_path):
    thread = threading.Thread(target=len, args=("",))
    thread.start()
    subprocess.run(["true"])
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "admin.sock"))
    (tmp_path / "admin.sock").unlink()
    over.set()
"""


def test_a_test_that_leaves_something_behind_fails(tmp_path: Path) -> None:
    file = tmp_path / "test_leaking.py"
    file.write_text(_TESTS)
    options = ["-p", "tests.conftest", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", str(tmp_path)]

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "pytest", *options, str(file)],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert "4 passed, 3 errors" in done.stdout, done.stdout
    assert "left behind: thread 'lost'" in done.stdout
    assert "left behind: process " in done.stdout
    assert "admin.sock" in done.stdout
