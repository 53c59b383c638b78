"""Other versions of the package, installed under load."""

from pathlib import Path

from tests.vm.needs import CONFFILE, NEWER_LINE
from tests.vm.site import Site, claim


def an_upgrade_under_load_loses_nothing(site: Site) -> None:
    edited = _configuration(site).read_text()
    _change(site, site.newer)
    claim(_configuration(site).read_text() == edited, "the edited configuration is another one")
    offered = _configuration(site).with_suffix(".toml.dpkg-dist")
    claim(NEWER_LINE in offered.read_text(), "the newer version's configuration is nowhere to be seen")
    offered.unlink()


def a_downgrade_under_load_loses_nothing(site: Site) -> None:
    _change(site, site.older, "--allow-downgrades")


def installing_it_starts_nothing_and_touches_no_spool(site: Site) -> None:
    machine = site.machine
    ids = _left_pending(site)
    before = _spools(site)
    claim(all(name in before for name in ("/spoold/spool.db ", "/spoold-b/spool.db ")), f"there are {before}")
    # As the package brought it: a conffile that nobody has edited is replaced, and nobody is asked.
    with site.older_file(CONFFILE) as pristine:
        _configuration(site).write_bytes(pristine.read_bytes())
    site.install(site.newer)
    claim(NEWER_LINE in _configuration(site).read_text(), "the configuration is still the older version's")
    said = machine.run("stat", "-c", "%a %U %G", f"/{CONFFILE}")
    claim(said == "640 root spoold", f"the new configuration is {said}")
    site.install(site.older, "--allow-downgrades")
    for unit in ("spoold", "spoold@b"):
        claim(site.show("ActiveState", unit) == "inactive", f"{unit} was stopped, and is started")
    claim(_spools(site) == before, f"the spools were {before}, and are {_spools(site)}")
    site.configure()
    machine.run("systemctl", "start", "spoold")
    site.await_delivery(ids)


def _left_pending(site: Site) -> frozenset[str]:
    with site.provider_out():
        ids = site.send(5)
        site.machine.run("systemctl", "stop", "spoold", "spoold@b")
    return ids


def _spools(site: Site) -> str:
    """Every file of the stopped daemons', with its owner, mode, time and content."""
    where = "find /var/lib/spoold /var/lib/spoold-b"
    return site.machine.run(
        "sh", "-c", f"{where} -printf '%p %i %m %U %G %s %T@\\n' && {where} -type f -exec md5sum {{}} +"
    )


def _configuration(site: Site) -> Path:
    return site.machine.root / CONFFILE


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
    installing_it_starts_nothing_and_touches_no_spool,
)
