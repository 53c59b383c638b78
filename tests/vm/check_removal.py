"""The package goes: what was not delivered stays, until its owner says otherwise."""

from tests.vm.check_instances import options
from tests.vm.site import Site, claim

_SPOOL = "/var/lib/spoold"
#: Known to be left: the system's own records, what the operator made, and what stands here on purpose.
_NOT_OURS = ("/proc", "/sys", "/run/log", "/var/log", "/root", "/opt", "/tmp", "/var/tmp")


def a_removal_keeps_the_spool_and_counts(site: Site) -> None:
    (site.machine.root / "var/lib/receiver/out").touch()
    site.send(7)
    site.send(3, *options("a"))
    said = site.machine.run("apt-get", "remove", "--yes", "spoold")
    claim(f"{_SPOOL} keeps 7 events pending" in said, f"not counted: {said[-500:]}")
    claim(f"{_SPOOL}-a keeps 3 events pending" in said, f"the instance's are not counted: {said[-500:]}")
    claim((site.machine.root / "var/lib/spoold/spool.db").exists(), "the spool is gone")
    running = site.machine.try_run("systemctl", "list-units", "--no-legend", "--state=active", "spoold*")[1]
    claim(not running, f"still there: {running}")
    compiled = list((site.machine.root / "usr/lib").glob("spoold*"))
    claim(not compiled, f"left behind: {compiled}")


def a_purge_keeps_what_was_not_delivered_and_counts(site: Site) -> None:
    said = site.machine.run("apt-get", "purge", "--yes", "spoold")
    claim("7 events pending" in said and f"{_SPOOL} stays" in said, said[-500:])
    claim((site.machine.root / "var/lib/spoold/spool.db").exists(), "the spool is gone")
    claim(not (site.machine.root / "etc/spoold/spoold.toml").exists(), "the configuration is still there")


def installed_again_it_delivers_what_was_kept(site: Site) -> None:
    site.install(site.older)
    site.configure()
    with site.provider_out():
        site.machine.run("systemctl", "enable", "--now", "spoold")
        claim(site.pending() == 7, f"{site.pending()} pending")
    site.machine.run("spoolctl", "lanes", "flush")
    site.await_delivery(site.send(1))
    claim(site.pending() == 0, f"{site.pending()} pending")


def a_purge_by_debconf_deletes(site: Site) -> None:
    site.machine.run("sh", "-c", "echo spoold spoold/purge-spool boolean true | debconf-set-selections")
    said = site.machine.run("apt-get", "purge", "--yes", "spoold")
    claim(f"{_SPOOL} is deleted" in said, said[-500:])
    _claim_nothing_is_left(site)


def a_purge_by_a_file_deletes(site: Site) -> None:
    site.install(site.older)
    site.configure()
    site.machine.run("systemctl", "enable", "--now", "spoold")
    site.send(2)
    site.machine.write("/etc/spoold/purge-spool", "")
    said = site.machine.run("apt-get", "purge", "--yes", "spoold")
    claim(f"{_SPOOL} is deleted" in said, said[-500:])
    _claim_nothing_is_left(site)


def _claim_nothing_is_left(site: Site) -> None:
    # What the operator made: instances' files and credentials.
    for path in ("/etc/spoold", "/etc/systemd/system/spoold.service.d", "/etc/systemd/system/probe.service.d"):
        site.machine.run("rm", "-rf", path)
    said = site.machine.run("find", "/", "-xdev", "(", "-name", "*spoold*", "-o", "-name", "*spoolctl*", ")", "-print")
    left = [path for path in said.splitlines() if not path.startswith(_NOT_OURS)]
    claim(not left, f"left behind: {left}")


CHECKS = (
    a_removal_keeps_the_spool_and_counts,
    a_purge_keeps_what_was_not_delivered_and_counts,
    installed_again_it_delivers_what_was_kept,
    a_purge_by_debconf_deletes,
    a_purge_by_a_file_deletes,
)
