"""The service in its daily life: killed, hung, reloaded, rebooted, cut off."""

import time

from tests.vm.machine import wait_until
from tests.vm.site import Site, claim

_IMPATIENT = """
[Service]
WatchdogSec=3s
TimeoutAbortSec=2s
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
    claim(site.show("StartLimitIntervalUSec") == "0", "systemd gives up on it")
    site.machine.run("systemctl", "stop", "spoold")
    site.machine.run("systemd-run", "--unit=squatter", "python3", "-m", "http.server", "--bind", "127.0.0.1", "50054")
    wait_until(lambda: bool(site.machine.run("ss", "-Hltn", "sport = :50054")), "its port is taken")
    site.machine.try_run("systemctl", "start", "spoold")
    wait_until(lambda: int(site.show("NRestarts")) >= 3, "it is started again and again")
    site.machine.run("systemctl", "stop", "squatter")
    site.await_active()


def hung_it_is_ended_by_the_watchdog(site: Site) -> None:
    site.machine.write("/etc/systemd/system/spoold.service.d/impatient.conf", _IMPATIENT)
    site.machine.run("systemctl", "daemon-reload")
    site.machine.run("systemctl", "restart", "spoold")
    pid = site.await_active()
    # Twice as long as the watchdog waits: it pings.
    time.sleep(6)
    claim(site.await_active() == pid, "the watchdog ends a daemon that is well")
    site.machine.run("kill", "-STOP", pid)
    site.await_active(not_pid=pid)
    site.machine.run("rm", "/etc/systemd/system/spoold.service.d/impatient.conf")
    site.machine.run("systemctl", "daemon-reload")
    site.machine.run("systemctl", "restart", "spoold")


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
    hung_it_is_ended_by_the_watchdog,
    a_reload_keeps_connections,
    a_reload_with_a_bad_file_changes_nothing,
    stopped_it_ends_in_order,
    over_a_reboot_nothing_is_lost,
    without_power_nothing_is_lost,
    the_books_balance,
)
