"""I10: a key is used, and never shown."""

import base64
import urllib.request
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

from tests.support.daemon_process import DaemonProcess
from tests.support.front_door import front_door, track
from tests.support.mixpanel_rules import Refusal
from tests.support.provider_server import ProviderServer, Reply

Settings = dict[str, str]
Run = Callable[..., "CompletedProcess[str]"]

_KEY = "kEy-that-nobody-may-see"
_BASIC = base64.b64encode(f"{_KEY}:".encode()).decode()
#: A provider that says all it knows.
_ECHO = Reply(401, {"error": f"who is {_KEY}? I was given Basic {_BASIC}"})


def _told(daemon: DaemonProcess, spoolctl: Run) -> str:
    """All that a running daemon shows, on whatever way."""
    runs = [spoolctl(*command, daemon=daemon) for command in (["status"], ["status", "--json"], ["config", "--json"])]
    address = daemon.wait_for_log("metrics listening")["address"]
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as page:
        metrics = page.read().decode()
    return "\n".join([metrics, *(run.stdout + run.stderr for run in runs)])


def _on_disk(home: Path) -> bytes:
    return b"".join(path.read_bytes() for path in (home / "spool").iterdir())


def test_a_key_that_a_provider_shouts_back_is_shown_nowhere(
    tmp_path: Path, provider: ProviderServer, settings: Settings, spoolctl: Run
) -> None:
    provider.always(_ECHO)
    loud = settings | {"MIXPANEL_API_KEY": "", "LOG_LEVEL": "debug", "METRICS_ADDRESS": "127.0.0.1:0"}
    with DaemonProcess(tmp_path, "--config", _config(tmp_path), **loud) as daemon:
        with front_door(daemon.address) as stub:
            track(stub, count=50)
        daemon.wait_for_log("lane down")
        told = _told(daemon, spoolctl) + str(daemon.logs)
        daemon.kill()
    told += spoolctl("--spool", str(daemon.spool_dir), "status", "--json", daemon=daemon).stdout

    assert "I was given Basic" in told
    assert _KEY not in told
    assert _BASIC not in told
    assert _KEY.encode() not in _on_disk(tmp_path)
    assert provider.requests[0].headers["authorization"] == f"Basic {_BASIC}"


def test_a_key_in_the_reason_of_a_dead_letter_is_shown_nowhere(
    tmp_path: Path, provider: ProviderServer, settings: Settings, spoolctl: Run
) -> None:
    provider.token = _KEY
    provider.refuse = lambda _record: Refusal("event", f"not for {_KEY}")
    loud = settings | {"MIXPANEL_API_KEY": _KEY, "METRICS_ADDRESS": "127.0.0.1:0", "BATCH_SIZE": "1"}
    with DaemonProcess(tmp_path, **loud) as daemon:
        waited = spoolctl("send", "Bad", "--wait", daemon=daemon)
        told = _told(daemon, spoolctl) + str(daemon.logs) + waited.stderr

    assert "not for" in waited.stderr
    assert _KEY not in told
    assert _KEY.encode() not in _on_disk(tmp_path)


def test_a_key_that_cant_be_used_is_not_shown_either(tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path, TEST_MODE="false", MIXPANEL_API_KEY=f"{_KEY} with a blank", BATCH_SIZE="0")

    assert daemon.end() == 2
    assert "MIXPANEL_API_KEY" in str(daemon.logs)
    assert _KEY not in str(daemon.logs)


def _config(home: Path) -> str:
    key = home / "mixpanel.key"
    key.write_text(f"{_KEY}\n")
    key.chmod(0o600)
    (home / "spoold.toml").write_text(f'[providers.mixpanel]\napi_key_file = "{key}"\n')
    return str(home / "spoold.toml")
