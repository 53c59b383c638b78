"""spoolctl where things are out of the ordinary: scripts, pipes, bad words, other users."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.daemon_process import DaemonProcess
from tests.support.front_door import front_door, track
from tests.support.provider_server import ProviderServer, Reply

Settings = dict[str, str]
Run = Callable[..., "subprocess.CompletedProcess[str]"]

_SPOOLCTL = str(Path(sys.executable).with_name("spoolctl"))

#: spoolctl as a user without any rights. It runs once before, as ourselves, since whoever has no rights may not be
#: able to import what is not imported yet.
_AS_NOBODY = """
import contextlib, io, os, sys
from spoolctl.app import main

def run():
    try:
        main()
    except SystemExit as end:
        return end.code
    return 0

arguments = sys.argv[1:]
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    for warm_up in (arguments, ["--socket", "/nowhere", "--spool", "/nowhere", *arguments[4:]]):
        sys.argv = ["spoolctl", *warm_up]
        run()
sys.argv = ["spoolctl", *arguments]
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
sys.exit(run())
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """One for all tests that only ask."""
    with DaemonProcess(tmp_path_factory.mktemp("daemon")) as running:
        yield running


@pytest.mark.parametrize(
    ("command", "keys"),
    [
        (["status"], {"daemon", "spool", "lanes"}),
        (["config"], {"key", "value", "source"}),
        (["send", "Order Paid", "--count", "3"], {"event_id"}),
        (["identify", "u-81", "--prop", "plan=pro"], {"event_id"}),
    ],
)
def test_scripts_get_one_object_a_line(
    daemon: DaemonProcess, spoolctl: Run, command: list[str], keys: set[str]
) -> None:
    run = spoolctl(*command, "--json", daemon=daemon)

    assert run.returncode == 0, run.stderr
    found = [set(json.loads(line)) for line in run.stdout.splitlines()]
    assert found == [keys] * len(found)
    assert found
    assert run.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["send", os.fsdecode(b"\xff")], "UTF-8"),
        (["identify", "u", "--prop", os.fsdecode(b"k=\xff")], "--prop k"),
        (["send", "x", "--prop", r'k="\ud800"'], "--prop k"),
        (["send", "x", "--prop", "k=" + "9" * 400], "--prop k"),
        (["send", "x", "--prop", "k=" + "[" * 5000 + "]" * 5000], "nested"),
        (["send", "x", "--prop", "=v"], "--prop"),
        (["send", "x", "--address", ""], "--address"),
        (["send", "x", "--count", "0"], "--count"),
        (["status", "--nope"], "--nope"),
    ],
)
def test_what_is_typed_wrongly_ends_with_2_and_a_sentence(
    daemon: DaemonProcess, spoolctl: Run, arguments: list[str], said: str
) -> None:
    run = spoolctl(*arguments, daemon=daemon)

    assert run.returncode == 2, run.stderr
    assert said in run.stderr
    assert run.stdout == ""
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize("prop", ["k=1e999", "k=" + "[" * 20 + "]" * 20, "k=" + "x" * 40_000])
def test_what_the_door_refuses_ends_with_5_and_names_the_field(daemon: DaemonProcess, spoolctl: Run, prop: str) -> None:
    run = spoolctl("send", "x", "--prop", prop, daemon=daemon)

    assert run.returncode == 5
    assert "properties" in run.stderr
    assert "Traceback" not in run.stderr


def test_properties_keep_their_types(
    tmp_path: Path, provider: ProviderServer, settings: Settings, spoolctl: Run
) -> None:
    typed = {"n": 12.5, "s": "pro", "b": True, "q": "12.5", "l": [1, "a"], "m": {"deep": [True]}}
    words = ["n=12.5", "s=pro", "b=true", 'q="12.5"', 'l=[1,"a"]', 'm={"deep":[true]}']
    with DaemonProcess(tmp_path, BATCH_SIZE="1", **settings) as daemon:
        options = [word for prop in words for word in ("--prop", prop)]
        run = spoolctl("send", "Order Paid", "--user", "u-81", *options, "--wait", daemon=daemon)

    properties = provider.events_by_insert_id[run.stdout.strip()]["properties"]
    assert {name: properties[name] for name in typed} == typed


def test_waiting_ends_with_1_when_the_time_is_up_and_nothing_is_lost(
    tmp_path: Path, provider: ProviderServer, settings: Settings, spoolctl: Run
) -> None:
    provider.always(Reply(503))
    with DaemonProcess(tmp_path, **settings) as daemon:
        run = spoolctl("send", "Order Paid", "--wait", "--timeout", "100ms", daemon=daemon)
        found = json.loads(spoolctl("status", "--json", daemon=daemon).stdout)

    assert run.returncode == 1
    assert f"{run.stdout.strip()} is still pending in mixpanel" in run.stderr
    assert found["spool"]["pending"] == 1


def test_the_status_at_rest_says_why_a_lane_stopped(
    tmp_path: Path, provider: ProviderServer, settings: Settings, spoolctl: Run
) -> None:
    provider.always(Reply(401, {"error": "no such project"}))
    with DaemonProcess(tmp_path, **settings) as daemon:
        with front_door(daemon.address) as stub:
            track(stub, count=50)
        daemon.wait_for_log("lane down")
        daemon.stop()
    run = spoolctl("--spool", str(daemon.spool_dir), "status", daemon=daemon)

    assert run.returncode == 0
    assert "spoold offline" in run.stdout
    assert "stopped" in run.stdout
    assert "no such project" in run.stdout


def test_what_is_piped_is_neither_wrapped_nor_read_as_markup(tmp_path: Path) -> None:
    odd = tmp_path / ("[bold]a:b:c " + "x" * 200)
    narrow = {"PATH": os.environ["PATH"], "COLUMNS": "20"}
    with DaemonProcess(tmp_path, SPOOL_URL=f"sqlite://{odd}") as daemon:
        command = [_SPOOLCTL, "--socket", str(daemon.admin_socket)]
        config = subprocess.run([*command, "config"], env=narrow, capture_output=True, text=True, check=True)
        status = subprocess.run([*command, "status"], env=narrow, capture_output=True, text=True, check=True)

    assert f"sqlite://{odd}" in config.stdout
    assert any({"lane", "pending", "failures"} <= set(line.split()) for line in status.stdout.splitlines())
    assert "\x1b" not in config.stdout + status.stdout


@pytest.mark.parametrize("command", [["status"], ["config", "--json"]])
def test_an_output_that_is_full_is_told_in_a_sentence(daemon: DaemonProcess, command: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        run = subprocess.run(
            [_SPOOLCTL, "--socket", daemon.admin_socket, *command],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip

    assert run.returncode == 1
    assert run.stderr == "error: the output can't be written: No space left on device\n"


def test_a_socket_path_that_is_too_long_is_not_reachable(tmp_path: Path, spoolctl: Run) -> None:
    run = spoolctl("--socket", str(tmp_path / ("x" * 200)), "config")

    assert run.returncode == 3
    assert "at most 107 bytes" in run.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
@pytest.mark.parametrize("command", ["status", "config"])
def test_who_may_not_open_the_socket_is_told_so(daemon: DaemonProcess, command: str) -> None:
    daemon.spool_dir.parent.chmod(0o700)
    options = ["--socket", str(daemon.admin_socket), "--spool", str(daemon.spool_dir)]
    run = subprocess.run(
        [sys.executable, "-c", _AS_NOBODY, *options, command], cwd="/", capture_output=True, text=True, check=False
    )

    assert run.returncode == 3, run.stderr
    assert "Permission denied" in run.stderr
    assert "Traceback" not in run.stderr
