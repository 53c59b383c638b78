"""spoolctl when much is sent, when the door closes meanwhile, and when the daemon goes away while one watches."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.daemon_process import DaemonProcess
from tests.support.provider_server import ProviderServer, Reply

Settings = dict[str, str]
Run = Callable[..., "subprocess.CompletedProcess[str]"]

_SPOOLCTL = str(Path(sys.executable).with_name("spoolctl"))
_SECONDS = 30.0


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    with DaemonProcess(tmp_path) as running:
        yield running


def test_a_shells_web_proxy_is_not_asked(daemon: DaemonProcess) -> None:
    environment = {"PATH": os.environ["PATH"], "http_proxy": "http://127.0.0.1:1", "https_proxy": "http://127.0.0.1:1"}
    run = subprocess.run(
        [_SPOOLCTL, "--socket", str(daemon.admin_socket), "send", "Order Paid"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("text", ["12345678901234567890", "[-9007199254740993]", '{"id": 9007199254740993}'])
def test_a_number_whose_digits_would_change_is_refused(daemon: DaemonProcess, spoolctl: Run, text: str) -> None:
    run = spoolctl("send", "Order Paid", "--prop", f"order={text}", daemon=daemon)

    assert run.returncode == 2
    assert run.stderr.startswith("error: --prop order can't be sent: the number is too large")
    assert "try: send it as text" in run.stderr


def test_each_field_that_the_door_objects_to_has_a_line(daemon: DaemonProcess, spoolctl: Run) -> None:
    run = spoolctl("send", "", "--prop", "amount=1e999", daemon=daemon)

    assert run.returncode == 5
    assert [line.split(":")[:2] for line in run.stderr.splitlines()] == [
        ["error", " event_name"],
        ["error", ' properties["amount"]'],
    ]


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [(["send"], "spoolctl send --help"), (["sned"], "spoolctl --help"), (["--sokcet", "x"], "spoolctl --help")],
)
def test_a_usage_error_is_told_as_every_other(spoolctl: Run, arguments: list[str], advice: str) -> None:
    run = spoolctl(*arguments)

    assert run.returncode == 2
    assert run.stderr.startswith("error: ")
    assert run.stderr.splitlines()[-1] == f"try: {advice}"


def test_large_events_are_cut_into_messages_that_the_door_takes(daemon: DaemonProcess, spoolctl: Run) -> None:
    run = spoolctl("send", "Order Paid", "--prop", "text=" + "x" * 20_000, "--count", "300", daemon=daemon)

    assert run.returncode == 0, run.stderr
    assert len(set(run.stdout.split())) == 300


def test_what_was_accepted_before_the_door_closed_is_told(
    tmp_path: Path, provider: ProviderServer, settings: Settings, spoolctl: Run
) -> None:
    provider.always(Reply(503))
    config = tmp_path / "spoold.toml"
    config.write_text('[spool]\nmax_bytes = "1MiB"\nmin_free_bytes = "1MiB"\n')
    with DaemonProcess(tmp_path, "--config", str(config), **settings) as daemon:
        run = spoolctl("send", "Order Paid", "--prop", "text=" + "x" * 900, "--count", "5000", daemon=daemon)
        found = json.loads(spoolctl("status", "--json", daemon=daemon).stdout)

    ids = run.stdout.split()
    assert run.returncode == 5
    assert 0 < len(ids) < 5000
    assert len(ids) == found["spool"]["accepted"]
    assert "max_bytes" in run.stderr
    assert f"error: {len(ids)} of 5000 events had been accepted" in run.stderr


def test_an_event_of_another_daemon_is_not_waited_for(tmp_path: Path, spoolctl: Run) -> None:
    with DaemonProcess(tmp_path) as daemon, DaemonProcess(tmp_path / "other") as other:
        run = spoolctl("send", "Order Paid", "--address", other.address, "--wait", daemon=daemon)

    assert run.returncode == 1
    assert f"{run.stdout.strip()} is not in the journal" in run.stderr


def test_watching_for_a_script_prints_an_object_a_second(daemon: DaemonProcess) -> None:
    command = [_SPOOLCTL, "--socket", str(daemon.admin_socket), "status", "--watch", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watch:
        assert watch.stdout is not None
        seen = [json.loads(watch.stdout.readline())["daemon"]["pid"] for _ in range(2)]
        watch.send_signal(signal.SIGINT)
        watch.wait(timeout=_SECONDS)

    assert seen == [daemon.pid, daemon.pid]
    assert watch.returncode == 0


def test_watching_goes_on_while_the_daemon_is_restarted(tmp_path: Path) -> None:
    options = ["--socket", str(tmp_path / "admin.sock"), "--spool", "/nowhere"]
    with DaemonProcess(tmp_path) as daemon, watching(*options) as (watch, wait_for):
        wait_for("serving")
        daemon.stop()
        wait_for("not reachable")
        with DaemonProcess(tmp_path) as again:
            wait_for(f"pid {again.pid}")
            watch.send_signal(signal.SIGINT)
            watch.wait(timeout=_SECONDS)

    assert watch.returncode == 0


@contextmanager
def watching(*options: str) -> Iterator[tuple["subprocess.Popen[bytes]", Callable[[str], None]]]:
    """``spoolctl status --watch`` on a terminal of its own, and a way to wait for what it shows."""
    ours, theirs = pty.openpty()
    environment = {"PATH": os.environ["PATH"], "TERM": "xterm", "COLUMNS": "200"}
    command = [_SPOOLCTL, *options, "status", "--watch"]

    def wait_for(text: str) -> None:
        deadline, seen = time.monotonic() + _SECONDS, b""
        while text.encode() not in seen:
            assert select.select([ours], [], [], max(0.0, deadline - time.monotonic()))[0], seen
            seen += os.read(ours, 65536)

    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as watch:
        try:
            yield watch, wait_for
        finally:
            watch.kill()
            os.close(theirs)
            os.close(ours)
