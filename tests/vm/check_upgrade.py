"""Other versions of the package, installed under load."""

from pathlib import Path

from tests.vm.site import Site, claim


def an_upgrade_under_load_loses_nothing(site: Site) -> None:
    _change(site, site.newer)


def a_downgrade_under_load_loses_nothing(site: Site) -> None:
    _change(site, site.older, "--allow-downgrades")


def installing_it_does_not_start_what_was_stopped(site: Site) -> None:
    site.machine.run("systemctl", "stop", "spoold@b")
    site.install(site.newer)
    claim(site.show("ActiveState", "spoold@b") == "inactive", "a stopped instance was started")
    site.install(site.older, "--allow-downgrades")


def _change(site: Site, package: Path, *options: str) -> None:
    pids = {unit: site.await_active(unit) for unit in ("spoold", "spoold@a")}
    accepted = site.status()["spool"]["accepted"]
    with site.load() as load:
        site.install(package, *options)
        for unit, pid in pids.items():
            # The installation is over, so the restart is too.
            claim(site.show("MainPID", unit) not in {"0", pid}, f"{unit} still runs the old version")
            site.await_active(unit)
    installed = site.machine.run("dpkg-query", "--show", "--showformat=${Version}", "spoold")
    claim(installed in package.name, f"{installed} is installed")
    site.await_delivery(load.acked)
    more = site.status()["spool"]["accepted"] - accepted
    claim(more >= len(load.acked), f"{len(load.acked)} events were acknowledged, the spool counts {more}")
    site.machine.run("spoolctl", "audit")


CHECKS = (
    an_upgrade_under_load_loses_nothing,
    a_downgrade_under_load_loses_nothing,
    installing_it_does_not_start_what_was_stopped,
)
