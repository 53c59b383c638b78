"""The service in its daily life: killed, hung, reloaded, rebooted, cut off."""

import shutil

from tests.upgrade.fixtures import Fixture
from tests.vm.check_instances import options
from tests.vm.machine import wait_until
from tests.vm.site import Site, claim
from tests.vm.slow_disk import slow_syncs

_WATCHDOG_SECONDS = 3.0
_IMPATIENT = f"""
[Service]
WatchdogSec={_WATCHDOG_SECONDS}s
TimeoutAbortSec=1s
RestartSec=100ms
"""
#: So many failures within 10 s are enough for a unit that does not say otherwise.
_GIVES_UP_AFTER = 5
_START_SECONDS = 4.0
#: It stops itself until its disk is made slow.
_SLOW_START = f"""
[Service]
TimeoutStartSec={_START_SECONDS}s
Restart=no
ExecStart=
ExecStart=/bin/sh -c 'kill -STOP $$$$; exec /usr/bin/spoold --config /etc/spoold/old.toml'
"""


def killed_it_is_started_again_and_loses_nothing(site: Site) -> None:
    with site.provider_out():
        ids = site.send(200)
        pid = site.show("MainPID")
        site.machine.run("kill", "-9", pid)
        site.await_active(not_pid=pid)
        claim(site.show("NRestarts") == "1", f"restarts: {site.show('NRestarts')}")
        claim(site.pending() == len(ids), f"{site.pending()} pending")
    site.await_delivery(ids)


def what_keeps_it_from_starting_is_waited_out(site: Site) -> None:
    site.drop_in("soon-again", "[Service]\nRestartSec=100ms\n")
    site.machine.run("systemctl", "stop", "spoold")
    site.machine.run("systemd-run", "--unit=squatter", "python3", "-m", "http.server", "--bind", "127.0.0.1", "50054")
    wait_until(lambda: bool(site.machine.run("ss", "-Hltn", "sport = :50054")), "its port is taken")
    site.machine.try_run("systemctl", "start", "spoold")
    wait_until(lambda: int(site.show("NRestarts")) > _GIVES_UP_AFTER, "it is started again and again")
    site.machine.run("systemctl", "stop", "squatter")
    site.await_active()
    site.drop_in("soon-again", "")


def hung_it_is_ended_by_the_watchdog_and_slow_it_is_not(site: Site) -> None:
    site.drop_in("impatient", _IMPATIENT)
    site.machine.run("systemctl", "restart", "spoold")
    pid = site.await_active()
    with slow_syncs(site.machine, pid, 1.5 * _WATCHDOG_SECONDS):
        # Answered behind a sync that took longer than the watchdog waits.
        ids = site.send(1)
    claim(site.show("MainPID") == pid, "the watchdog ends a daemon whose disk is slow")
    site.machine.run("kill", "-STOP", pid)
    site.await_active(not_pid=pid)
    claim(site.show("NRestarts") == "1", f"restarts: {site.show('NRestarts')}")
    said = site.machine.run("journalctl", "--no-pager", "--unit=spoold", "--lines=50", "-o", "cat")
    claim("Watchdog timeout" in said, f"it was not the watchdog: {said}")
    site.await_delivery(ids)
    site.drop_in("impatient", "")
    site.machine.run("systemctl", "restart", "spoold")


def a_long_opening_is_waited_for(site: Site) -> None:
    machine = site.machine
    shutil.move(Fixture(1, "killed").unpack(site.home), machine.root / "var/lib/spoold-old")
    site.configure(name="old", more='port = 50069\n[metrics]\naddress = ""\n')
    site.drop_in("slow", _SLOW_START, "spoold@old")
    machine.run("systemctl", "start", "--no-block", "spoold@old")
    wait_until(lambda: site.show("MainPID", "spoold@old") != "0", "its process is there")
    pid = site.show("MainPID", "spoold@old")
    wait_until(lambda: "T" in machine.try_run("ps", "-o", "stat=", "-p", pid)[1], "it waits for its slow disk")
    with slow_syncs(machine, pid, _START_SECONDS / 4):
        claim(site.await_active("spoold@old") == pid, "systemd has ended it while it opened its spool")
    began, ended = (
        int(site.show(f"{name}TimestampMonotonic", "spoold@old")) for name in ("ExecMainStart", "ActiveEnter")
    )
    claim(ended - began > _START_SECONDS * 1e6, f"it has opened its spool in {(ended - began) / 1e6:.1f} s")
    machine.run("spoolctl", *options("old"), "audit")
    machine.run("systemctl", "stop", "spoold@old")
    site.drop_in("slow", "", "spoold@old")
    machine.run("rm", "-r", "/etc/spoold/old.toml", "/var/lib/spoold-old")


def a_reload_keeps_connections(site: Site) -> None:
    pid = site.await_active()
    end = site.journal_end()
    with site.load() as load:
        connected = _connections(site)
        site.configure(more='[log]\nlevel = "debug"\n')
        site.machine.run("systemctl", "reload", "spoold")
        wait_until(lambda: any("configuration reloaded" in line for line in site.journal(since=end)), "it reloads")
        claim(_connections(site) == connected, "the connection is another one")
    claim(load.repeats == 0, f"{load.repeats} calls had to be repeated")
    claim(site.await_active() == pid, "it is another process")
    site.await_delivery(load.acked)


def a_reload_with_a_bad_file_changes_nothing(site: Site) -> None:
    pid = site.await_active()
    end = site.journal_end()
    site.configure(more='[log]\nlevel = "loud"\n')
    site.machine.try_run("systemctl", "reload", "spoold")
    wait_until(lambda: any("configuration kept" in line for line in site.journal(since=end)), "it refuses the file")
    claim(site.await_active() == pid, "it is another process")
    for command in (("systemctl", "status"), ("journalctl", "--unit")):
        _, said = site.machine.try_run(*command, "spoold", "--no-pager", "--full")
        claim("configuration kept" in said and "log.level" in said, f"{command[0]} does not say so: {said}")
    site.await_delivery(site.send(1))
    site.configure()
    site.machine.run("systemctl", "reload", "spoold")


def stopped_it_ends_in_order(site: Site) -> None:
    end = site.journal_end()
    ids = site.send(20)
    site.machine.run("systemctl", "stop", "spoold")
    claim(site.show("Result") == "success", f"it ended with {site.show('Result')}")
    said = " ".join(site.journal(since=end))
    claim("final flush completed" in said and '"stopped"' in said, "it did not end in order")
    site.await_delivery(ids, 1)
    site.machine.run("systemctl", "start", "spoold")


def over_a_reboot_nothing_is_lost(site: Site) -> None:
    with site.provider_out():
        ids = site.send(300)
        site.machine.reboot()
        site.await_active()
        claim(site.pending() == len(ids), f"{site.pending()} pending")
    site.await_delivery(ids)


def without_power_nothing_is_lost(site: Site) -> None:
    with site.provider_out():
        ids = site.send(300)
        site.machine.cut_power()
        site.machine.boot()
        site.await_active()
        claim(site.pending() == len(ids), f"{site.pending()} pending")
    site.await_delivery(ids)


def the_books_balance(site: Site) -> None:
    site.machine.run("spoolctl", "audit")


def _connections(site: Site) -> set[str]:
    said = site.machine.run("ss", "-Htn", "state", "established", "sport = :50054")
    return {line.split()[-1] for line in said.splitlines()}


CHECKS = (
    killed_it_is_started_again_and_loses_nothing,
    what_keeps_it_from_starting_is_waited_out,
    hung_it_is_ended_by_the_watchdog_and_slow_it_is_not,
    a_long_opening_is_waited_for,
    a_reload_keeps_connections,
    a_reload_with_a_bad_file_changes_nothing,
    stopped_it_ends_in_order,
    over_a_reboot_nothing_is_lost,
    without_power_nothing_is_lost,
    the_books_balance,
)
