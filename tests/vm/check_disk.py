"""A disk that is full: new events are refused, the others are delivered, and with room it goes on."""

from tests.vm.machine import wait_until
from tests.vm.site import Site, claim

_SPOOL = "/var/lib/spoold"
_ROOM = '[spool]\nmin_free_bytes = "2MiB"\n'


def a_full_disk_refuses_and_still_delivers(site: Site) -> None:
    machine = site.machine
    machine.run("systemctl", "stop", "spoold")
    machine.run("mount", "-t", "tmpfs", "-o", "size=24m,mode=750", "tmpfs", _SPOOL)
    site.configure(more=_ROOM)
    machine.run("systemctl", "start", "spoold")
    try:
        _fill(site)
    finally:
        machine.run("systemctl", "stop", "spoold")
        machine.run("umount", _SPOOL)
        site.configure()
        machine.run("systemctl", "start", "spoold")


def _fill(site: Site) -> None:
    with site.provider_out():
        ids = site.send(500)
        # A neighbour takes all that is left.
        site.machine.try_run("dd", "if=/dev/zero", f"of={_SPOOL}/of-others", "bs=64k")
        wait_until(lambda: site.status()["daemon"]["state"] == "full", "it says that it is full", 15)
        code, said = site.machine.try_run("spoolctl", "send", "Tried")
        claim(code == 5 and "error:" in said, f"exit code {code}: {said}")
        claim("refused" in site.show("StatusText"), f"STATUS={site.show('StatusText')}")
    site.await_delivery(ids)
    wait_until(lambda: site.pending() == 0, "what is delivered is settled on the full disk")
    site.machine.run("rm", f"{_SPOOL}/of-others")
    wait_until(lambda: site.status()["daemon"]["state"] == "serving", "it takes events again")
    site.await_delivery(site.send(50))


CHECKS = (a_full_disk_refuses_and_still_delivers,)
