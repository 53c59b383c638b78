"""``spoolctl doctor`` on the machine: what is next, what is broken, and that its fix mends it."""

import json
from collections.abc import Set as AbstractSet

from tests.vm.site import SECRET, Site, claim

#: The machine's disk is a layer over another one, which is a fair warning.
_ALWAYS = {"file system"}
_CREDENTIAL = "/etc/spoold/credentials/crm"
#: How to break it, what the doctor says is wrong, and where.
_BREAKS = (
    ("chown root:root /etc/spoold/spoold.toml", "configuration", "/etc/spoold/spoold.toml"),
    ("chown root /var/lib/spoold/spool.db; chmod 0600 /var/lib/spoold/spool.db", "directory", "spool.db"),
    ("chown root:root /var/lib/spoold && chmod 0700 /var/lib/spoold", "directory", "/var/lib/spoold"),
)


def the_doctor_says_what_is_next(site: Site) -> None:
    for user in ("root", "spoold"):
        code, said = site.as_user(user, "spoolctl", "doctor")
        claim(code == 1, f"{user}: exit code {code}: {said}")
        last = said.splitlines()[-1]
        steps = ("next: providers.mixpanel.api_key_file", "spoold --check-config", "systemctl start spoold")
        claim(last.startswith(steps[0]) and all(step in last for step in steps), f"{user}: {last}")
        _findings(site, {"configuration"}, user)


def the_doctor_finds_nothing_where_nothing_is(site: Site) -> None:
    for user in ("root", "spoold", "alice"):
        _findings(site, set(), user)


def the_doctor_names_what_is_broken_with_its_fix(site: Site) -> None:
    for command, check, name in _BREAKS:
        site.machine.run("systemctl", "stop", "spoold")
        site.machine.run("sh", "-c", command)
        found, fix = _findings(site, {check})[check]
        claim(name in found, f"{command}: the doctor says: {found}")
        site.machine.run("sh", "-c", fix)
        site.machine.run("systemctl", "start", "spoold")
        _findings(site, set())


def the_doctor_misses_a_credential(site: Site) -> None:
    site.machine.run("rm", _CREDENTIAL)
    claim(site.machine.try_run("systemctl", "restart", "spoold")[0] != 0, "it starts without its credential")
    found, fix = _findings(site, {"service"})["service"]
    claim(_CREDENTIAL in found and "crm_secret" in found and "systemctl restart spoold" in fix, f"{found}: {fix}")
    site.machine.write(_CREDENTIAL, f"{SECRET}\n")
    site.machine.run("chmod", "0600", _CREDENTIAL)
    site.machine.run("systemctl", "restart", "spoold")
    _findings(site, set())


def _findings(site: Site, expected: AbstractSet[str], user: str = "root") -> dict[str, tuple[str, str]]:
    """What is to be done: where, what was found and its fix. It must be what is expected."""
    _, said = site.as_user(user, "spoolctl", "doctor", "--json")
    bad = {
        finding["check"]: (finding["found"], finding["fix"])
        for finding in json.loads(said)
        if finding["level"] in {"warning", "problem"}
    }
    claim(bad.keys() - _ALWAYS == expected, f"{user}: the doctor says: {bad}")
    return bad


FRESH = (the_doctor_says_what_is_next,)
CHECKS = (
    the_doctor_finds_nothing_where_nothing_is,
    the_doctor_names_what_is_broken_with_its_fix,
    the_doctor_misses_a_credential,
)
