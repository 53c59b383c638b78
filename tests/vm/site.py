"""A machine as its operator has it: the service, a provider that it delivers to, and services that send."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.vm.machine import Machine, MachineError, wait_until
from tests.vm.needs import ROOT

CONFIGURATION = """
[batch]
interval = "1s"
[retry]
initial_delay = "100ms"
max_delay = "1s"
[ingest]
host = "127.0.0.1"
{more}
[providers.crm]
kind = "webhook"
endpoint = "http://127.0.0.1:8080/hook"
"""
_RECEIVER_UNIT = """
[Service]
ExecStart=/usr/bin/python3 /opt/receiver.py
StateDirectory=receiver
[Install]
WantedBy=multi-user.target
"""
_CREDENTIAL = """
[Service]
LoadCredential=crm_secret:/etc/spoold/credentials/crm
"""
SECRET = "whsec_c3Bvb2xkIGlzIHRyaWVkIG9uIGEgcmVhbCBtYWNoaW5l"


def claim(is_so: object, what: str) -> None:
    """Raise MachineError with ``what`` unless it is so."""
    if not is_so:
        raise MachineError(what)


@dataclass
class Load:
    """What a service sends meanwhile.

    Attributes:
        acked: Ids that were acknowledged, when it has ended.
        repeats: Calls that had to be repeated.
    """

    acked: frozenset[str] = frozenset()
    repeats: int = 0


@dataclass
class Site:
    """The machine with what is on it.

    Attributes:
        older: The package that is installed.
        newer: The one to upgrade to.
        home: Outside the machine, for what outlives a command.
    """

    machine: Machine
    older: Path
    newer: Path
    home: Path

    def install(self, package: Path, *options: str) -> str:
        """Have apt install a package, without a network; an edited configuration is kept, and nobody is asked."""
        target = self.machine.root / "root" / package.name
        target.write_bytes(package.read_bytes())
        target.chmod(0o644)
        command = ("apt-get", "install", "--yes", "--no-install-recommends", "-o", "Dpkg::Use-Pty=0")
        return self.machine.run(*command, "-o", "Dpkg::Options::=--force-confold", *options, f"/root/{package.name}")

    @contextmanager
    def older_file(self, path: str) -> Iterator[Path]:
        """A file as the older package brings it."""
        folder = self.home / "older"
        subprocess.run(["dpkg-deb", "--extract", str(self.older), str(folder)], check=True)
        yield folder / path
        shutil.rmtree(folder)

    def configure(self, *, name: str = "spoold", more: str = "") -> None:
        """Write the configuration: everything goes to the provider on the machine."""
        self.machine.write(f"/etc/spoold/{name}.toml", CONFIGURATION.format(more=more))
        self.machine.run("chgrp", "spoold", f"/etc/spoold/{name}.toml")
        self.machine.run("chmod", "0640", f"/etc/spoold/{name}.toml")

    def give_credential(self) -> None:
        """The webhook's secret, as root's alone."""
        self.machine.write("/etc/spoold/credentials/crm", f"{SECRET}\n")
        self.machine.run("chmod", "0600", "/etc/spoold/credentials/crm")
        self.drop_in("credentials", _CREDENTIAL)

    def drop_in(self, name: str, text: str, unit: str = "spoold") -> None:
        """What an operator adds to the unit; nothing takes it away again. It counts from the next start on."""
        path = f"/etc/systemd/system/{unit}.service.d/{name}.conf"
        self.machine.write(path, text)
        if not text:
            self.machine.run("rm", path)
        self.machine.run("systemctl", "daemon-reload")

    def start_provider(self) -> None:
        """The provider that the service delivers to."""
        self.machine.write("/opt/receiver.py", (Path(__file__).parent / "receiver.py").read_text())
        self.machine.write("/etc/systemd/system/receiver.service", _RECEIVER_UNIT)
        self.machine.run("systemctl", "enable", "--now", "receiver")

    @contextmanager
    def provider_out(self) -> Iterator[None]:
        """The provider answers 503 meanwhile."""
        out = self.machine.root / "var/lib/receiver/out"
        out.touch()
        try:
            yield
        finally:
            out.unlink()

    def taken(self) -> dict[str, str]:
        """The ids that the provider took, and whether they came signed."""
        taken = self.machine.root / "var/lib/receiver/taken"
        return dict(line.split() for line in taken.read_text().splitlines()) if taken.exists() else {}

    def await_delivery(self, ids: frozenset[str], seconds: float = 90.0) -> None:
        """Wait until the provider has all of them."""
        wait_until(lambda: ids <= self.taken().keys(), f"all of {len(ids)} events are delivered", seconds)

    def send(self, count: int, *options: str) -> frozenset[str]:
        """Send through the front door; returns the ids that were acknowledged."""
        said = self.machine.run("spoolctl", *options, "send", "Tried", "--user", "u-1", "--count", str(count), "--json")
        return frozenset(json.loads(line)["event_id"] for line in said.splitlines())

    def status(self, *options: str) -> dict[str, Any]:
        """``spoolctl status``."""
        found: dict[str, Any] = json.loads(self.machine.run("spoolctl", *options, "status", "--json").splitlines()[-1])
        return found

    def as_user(self, user: str, *words: str) -> tuple[int, str]:
        """Run a command as a user, with the groups that it is in; returns its exit code and what it said."""
        return self.machine.try_run("setpriv", "--reuid", user, "--regid", "nogroup", "--init-groups", *words)

    def pending(self) -> int:
        """How many events wait."""
        return int(self.status()["spool"]["pending"])

    def show(self, name: str, unit: str = "spoold") -> str:
        """A property of the unit."""
        return self.machine.run("systemctl", "show", "--property", name, "--value", unit)

    def await_active(self, unit: str = "spoold", *, not_pid: str = "") -> str:
        """Wait until the service serves, as another process than ``not_pid``; returns its pid."""

        def is_up() -> bool:
            return self.show("ActiveState", unit) == "active" and self.show("MainPID", unit) not in {"0", not_pid}

        wait_until(is_up, f"{unit} is active")
        return self.show("MainPID", unit)

    def journal(self, unit: str = "spoold", since: str = "") -> list[str]:
        """The daemon's own lines."""
        cursor = ("--after-cursor", since) if since else ()
        said = self.machine.run(
            "journalctl", "--no-pager", "--quiet", "-o", "cat", f"_SYSTEMD_UNIT={unit}.service", *cursor
        )
        return said.splitlines()

    def journal_end(self) -> str:
        """A place in the journal: what comes behind it is new."""
        said = self.machine.run("journalctl", "--no-pager", "--quiet", "-n", "0", "--show-cursor")
        return said.rpartition("-- cursor: ")[2]

    @contextmanager
    def load(self) -> Iterator[Load]:
        """A service sends, outside the machine's processes, until the context ends."""
        load = Load()
        acked = self.home / "acked"
        words = self.machine.in_its_network(sys.executable, "-m", "tests.vm.sender", str(acked))
        sender = subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            wait_until(lambda: acked.exists() and acked.stat().st_size > 0, "the first event is acknowledged")
            yield load
            wait_until(self._grows(acked), "events are acknowledged again")
            said, _ = sender.communicate("end\n", timeout=60)
            load.acked, load.repeats = frozenset(acked.read_text().split()), int(said)
        finally:
            sender.kill()
            sender.wait()
            acked.unlink(missing_ok=True)

    def _grows(self, file: Path) -> Any:
        size = file.stat().st_size
        return lambda: file.stat().st_size > size
