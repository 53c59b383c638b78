"""The unit keeps its word: what the service can't do, tried by a process in its sandbox."""

import json
from pathlib import Path

from tests.vm.site import Site, claim

_DONE = {
    "write /var/lib/spoold",
    "write /run/spoold",
    "lower its priority",
    "internet socket",
}
#: Ten times what systemd-analyze shows: 1.2.
_EXPOSURE = 12
_LIMITS = {"MemoryHigh": str(768 << 20), "MemoryMax": str(1 << 30), "TasksMax": "512", "LimitNOFILE": "16384"}
#: As many as a call may carry, twenty times.
_BURST = 20_000
_PROBE = """
[Service]
Type=oneshot
Restart=no
ExecStart=
ExecStart=/usr/bin/python3 -sE /opt/probe.py
"""


def it_can_do_what_it_needs_and_nothing_else(site: Site) -> None:
    machine = site.machine
    machine.write("/opt/probe.py", (Path(__file__).parent / "probe.py").read_text())
    machine.write("/tmp/of-others", "x")
    machine.run("sh", "-c", "mkdir -m 0777 /etc/everybodys /usr/everybodys /var/lib/everybodys; chmod 0755 /home/alice")
    unit = (machine.root / "lib/systemd/system/spoold.service").read_text()
    machine.write("/etc/systemd/system/probe.service", unit)
    machine.write("/etc/systemd/system/probe.service.d/probe.conf", _PROBE)
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", "probe")
    found: dict[str, str] = json.loads(site.journal("probe")[-1])
    claim({name for name, outcome in found.items() if outcome == "done"} == _DONE, f"what it could do: {found}")


def it_has_no_capability_and_a_filter(site: Site) -> None:
    pid = site.await_active()
    status = dict(line.split(":\t", 1) for line in site.machine.run("cat", f"/proc/{pid}/status").splitlines())
    claim(status["Uid"].split()[0] != "0", "it runs as root")
    for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb"):
        claim(int(status[name], 16) == 0, f"{name} is {status[name]}")
    claim(status["NoNewPrivs"] == "1" and status["Seccomp"] == "2", f"{status['NoNewPrivs']}, {status['Seccomp']}")


def a_burst_stays_below_its_limits(site: Site) -> None:
    pid = site.await_active()
    limits = site.machine.run("cat", f"/proc/{pid}/limits")
    files = next(line.split()[3] for line in limits.splitlines() if line.startswith("Max open files"))
    claim(files == "16384", f"open files: {files}")
    found = {name: site.show(name) for name in _LIMITS}
    claim(found == _LIMITS, f"the unit's limits are {found}")
    with site.provider_out():
        ids = site.send(_BURST)
    site.await_delivery(ids)
    status = dict(line.split(":\t", 1) for line in site.machine.run("cat", f"/proc/{pid}/status").splitlines())
    peak = int(status["VmHWM"].split()[0]) * 1024
    claim(peak < int(_LIMITS["MemoryHigh"]), f"it has held {peak} bytes")
    claim(int(status["Threads"]) < int(_LIMITS["TasksMax"]), f"it has {status['Threads']} threads")
    claim(site.show("MainPID") == pid, "it was ended meanwhile")


def systemd_analyze_is_content(site: Site) -> None:
    for unit in ("spoold.service", "spoold@.service"):
        site.machine.run(
            "systemd-analyze",
            "security",
            "--no-pager",
            "--offline=true",
            f"--threshold={_EXPOSURE}",
            f"/lib/systemd/system/{unit}",
        )
        said = site.machine.run(
            "systemd-analyze", "verify", "--man=no", f"/lib/systemd/system/{unit.replace('@', '@a')}"
        )
        claim(not said, f"systemd-analyze verify {unit}: {said}")


CHECKS = (
    it_can_do_what_it_needs_and_nothing_else,
    it_has_no_capability_and_a_filter,
    a_burst_stays_below_its_limits,
    systemd_analyze_is_content,
)
