"""Keys as systemd credentials: they arrive, in each way that systemd knows, and nobody sees them."""

from tests.vm.site import SECRET, Site, claim

_SET = f"""
[Service]
LoadCredential=
SetCredential=crm_secret:{SECRET}
"""
_ENCRYPTED = """
[Service]
LoadCredential=
LoadCredentialEncrypted=crm_secret:/etc/spoold/credentials/crm.encrypted
"""


def a_key_is_nowhere_to_be_seen(site: Site) -> None:
    machine = site.machine
    pid = site.await_active()
    asked = {
        "systemctl show": machine.run("systemctl", "show", "--all", "spoold"),
        "systemctl status": machine.run("systemctl", "status", "--no-pager", "--full", "spoold"),
        "the journal": machine.run("journalctl", "--no-pager", "-o", "json", "--all"),
        "spoolctl config": machine.run("spoolctl", "config") + machine.run("spoolctl", "config", "--json"),
        "spoolctl doctor": machine.try_run("spoolctl", "doctor", "--json")[1],
        "the environment": machine.run("cat", f"/proc/{pid}/environ", f"/proc/{pid}/cmdline"),
        "the spool": machine.try_run("grep", "-rc", SECRET, "/var/lib/spoold")[1],
    }
    claim("crm_secret" in asked["spoolctl config"], f"spoolctl config does not say where it is from: {asked}")
    shown = [place for place, said in asked.items() if SECRET in said]
    claim(not shown, f"the key is to be seen in: {shown}")
    claim(all(line.endswith(":0") for line in asked["the spool"].splitlines()), f"in the spool: {asked['the spool']}")
    for user in ("alice", "nobody"):
        code, _ = site.as_user(user, "cat", "/run/credentials/spoold.service/crm_secret", "/etc/spoold/credentials/crm")
        claim(code != 0, f"{user} can read the key")


def a_key_may_stand_in_the_unit_or_be_encrypted(site: Site) -> None:
    machine = site.machine
    words = "systemd-creds encrypt --name=crm_secret /etc/spoold/credentials/crm /etc/spoold/credentials/crm.encrypted"
    machine.run(*words.split())
    for kind, drop_in in (("set", _SET), ("encrypted", _ENCRYPTED)):
        site.drop_in("other-key", drop_in)
        machine.run("systemctl", "restart", "spoold")
        (event_id,) = site.send(1)
        site.await_delivery(frozenset({event_id}))
        claim(site.taken()[event_id] == "signed", f"a credential that is {kind} is not used")
    site.drop_in("other-key", "")
    machine.run("systemctl", "restart", "spoold")


CHECKS = (a_key_is_nowhere_to_be_seen, a_key_may_stand_in_the_unit_or_be_encrypted)
