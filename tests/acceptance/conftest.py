"""A provider to deliver to, and what a daemon needs to find it."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon_process import DaemonProcess
from tests.support.provider_server import ProviderServer

#: Waits that a test does not want to sit out.
QUICK = {"FLUSH_INTERVAL_SECONDS": "1", "INITIAL_RETRY_DELAY_MS": "20", "MAX_RETRY_DELAY_MS": "50"}


@pytest.fixture
def provider() -> Iterator[ProviderServer]:
    """A server that answers as Mixpanel does."""
    with ProviderServer("acceptance-token") as server:
        yield server


@pytest.fixture
def settings(provider: ProviderServer) -> dict[str, str]:
    """The environment of a daemon that delivers to ``provider``."""
    return {
        **QUICK,
        "TEST_MODE": "false",
        "MIXPANEL_API_KEY": provider.token,
        "MIXPANEL_ENDPOINT": provider.url,
    }


@pytest.fixture
def spoolctl() -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Run ``spoolctl`` with arguments; of a daemon where one is given."""

    def run(*arguments: str, daemon: DaemonProcess | None = None) -> "subprocess.CompletedProcess[str]":
        target = [] if daemon is None else ["--socket", str(daemon.admin_socket)]
        program = Path(sys.executable).with_name("spoolctl")
        return subprocess.run([program, *target, *arguments], capture_output=True, text=True, timeout=60, check=False)

    return run


@pytest.fixture
def status(spoolctl: Callable[..., "subprocess.CompletedProcess[str]"]) -> Callable[[DaemonProcess], dict[str, Any]]:
    """The status of a daemon, as a script gets it."""

    def read(daemon: DaemonProcess) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(spoolctl("status", "--json", daemon=daemon).stdout)
        return found

    return read
