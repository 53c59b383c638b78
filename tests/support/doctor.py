"""Whom the doctor looks at in a test, and doing what it says."""

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from spoolctl.doctor.database import read_on_disk
from spoolctl.doctor.findings import Finding
from spoolctl.doctor.service import User, Words, service_user
from spoolctl.doctor.subject import OnDisk, Settings, Subject

from spoold.api.spoold.admin.v1 import admin_pb2
from tests.support.clock import START_MS

MIB = 1 << 20
#: Root may do everything; this user may do what a mode grants to others.
STRANGER = User("a-stranger", 54321, frozenset({54321}))
SETTINGS = Settings(
    {"spool.durability": "fsync", "spool.min_free_bytes": "1MiB", "spool.max_bytes": "10MiB", "test_mode": False}
)


def make_subject(directory: Path, **overrides: Any) -> Subject:
    """A spool in ``directory``, run by whoever runs the test; no daemon answers."""
    fields: dict[str, Any] = {
        "program": Path(sys.executable).with_name("spoold"),
        "settings": SETTINGS,
        "written": SETTINGS,
        "directory": directory,
        "socket": directory / "admin.sock",
        "running": None,
        "silence": "spoold is not reachable",
        "user": service_user(None, is_unit_there=False),
        "words": Words(None, (), (), None, is_unit=False),
        "now_ms": START_MS,
    }
    if "resting" in overrides:
        overrides["on_disk"] = OnDisk(overrides.pop("resting"))
    return Subject(**{**fields, "on_disk": read_on_disk(directory), **overrides})


def make_status(
    *lanes: admin_pb2.LaneStatus, pid: int = 0, version: str = "", **spool: Any
) -> admin_pb2.GetStatusReply:
    """What a daemon would answer."""
    daemon = admin_pb2.DaemonStatus(state="serving", pid=pid, version=version, address="127.0.0.1:1")
    return admin_pb2.GetStatusReply(daemon=daemon, spool=admin_pb2.SpoolStatus(**spool), lanes=lanes)


def told(findings: Iterable[Finding]) -> list[tuple[str, str]]:
    """Level and fix of each, which is what somebody acts on."""
    return [(finding.level.value, finding.fix) for finding in findings]


def follow(fix: str) -> None:
    """Do what a fix says."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    subprocess.run(fix, shell=True, env={"PATH": path}, capture_output=True, text=True, timeout=60, check=True)
