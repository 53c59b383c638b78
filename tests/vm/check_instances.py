"""Several instances on one machine, each with its own configuration, spool and sockets."""

from tests.vm.site import Site, claim

_PORTS = {"a": (50061, 9471), "b": (50062, 9472)}


def options(name: str) -> tuple[str, ...]:
    """How spoolctl is told which instance is meant."""
    return ("--socket", f"/run/spoold-{name}/admin.sock", "--spool", f"/var/lib/spoold-{name}")


def instances_stand_side_by_side(site: Site) -> None:
    for name, (port, metrics) in _PORTS.items():
        # The spool that a copied file names is the first instance's.
        more = f'port = {port}\n[metrics]\naddress = "127.0.0.1:{metrics}"\n[spool]\nurl = "sqlite:///var/lib/spoold"\n'
        site.configure(name=name, more=more)
        site.machine.run("systemctl", "enable", "--now", f"spoold@{name}")
    before = site.status()["spool"]["accepted"]
    with site.provider_out():
        sent = {name: site.send(count, *options(name)) for name, count in (("a", 10), ("b", 20))}
        for name, ids in sent.items():
            accepted = site.status(*options(name))["spool"]["accepted"]
            claim(accepted == len(ids), f"spoold@{name} accepted {accepted} of {len(ids)}")
    claim(site.status()["spool"]["accepted"] == before, "events of instances are in the first one's spool")
    for ids in sent.values():
        site.await_delivery(ids)


def an_instance_without_a_file_says_so(site: Site) -> None:
    site.machine.try_run("systemctl", "start", "spoold@nowhere")
    said = " ".join(site.journal("spoold@nowhere"))
    claim("/etc/spoold/nowhere.toml: there is no such file" in said, f"the journal says: {said}")
    claim(site.show("ActiveState", "spoold@nowhere") == "failed", site.show("ActiveState", "spoold@nowhere"))
    site.machine.run("systemctl", "reset-failed", "spoold@nowhere")


CHECKS = (instances_stand_side_by_side, an_instance_without_a_file_says_so)
