"""The package arrives: what it brings, and what it leaves to the operator."""

import json

from tests.vm import check_doctor
from tests.vm.machine import wait_until
from tests.vm.site import Site, claim

_BROUGHT = (
    "/usr/share/man/man8/spoold.8.gz",
    "/usr/share/man/man1/spoolctl.1.gz",
    "/usr/share/man/man5/spoold.toml.5.gz",
    "/usr/share/doc/spoold/changelog.Debian.gz",
    "/usr/share/doc/spoold/copyright",
    "/usr/share/doc/spoold/README.Debian",
    "/usr/share/doc/spoold/examples/credentials.conf",
    "/usr/share/bash-completion/completions/spoolctl",
    "/usr/share/zsh/vendor-completions/_spoolctl",
    "/usr/share/fish/vendor_completions.d/spoolctl.fish",
)
_COMPLETE = (
    ". /usr/share/bash-completion/completions/spoolctl; COMP_WORDS=(spoolctl lanes p); COMP_CWORD=2; _spoolctl; "
)


def apt_installs_it(site: Site) -> None:
    said = site.install(site.older)
    claim("spoold --check-config" in said, f"the installation does not say what is next: {said}")


def it_is_neither_enabled_nor_started(site: Site) -> None:
    claim(site.machine.try_run("systemctl", "is-enabled", "spoold")[1] == "disabled", "it is enabled")
    claim(site.show("ActiveState") == "inactive", f"it is {site.show('ActiveState')}")


def it_brings_what_a_package_brings(site: Site) -> None:
    missing = [path for path in _BROUGHT if not (site.machine.root / path.lstrip("/")).exists()]
    claim(not missing, f"not there: {missing}")
    claim(site.machine.run("bash", "-c", f"{_COMPLETE}echo $COMPREPLY") == "pause", "bash completes nothing")
    libraries = {path.name for path in (site.machine.root / "usr/lib/spoold").iterdir()}
    claim(not {"pip", "setuptools", "pkg_resources"} & libraries, "installers are in the package")


def only_root_and_its_group_read_the_configuration(site: Site) -> None:
    said = site.machine.run("stat", "-c", "%a %U %G", "/etc/spoold/spoold.toml")
    claim(said == "640 root spoold", said)


def without_a_provider_it_says_what_to_do(site: Site) -> None:
    code, _ = site.machine.try_run("systemctl", "start", "spoold")
    claim(code != 0, "the start seems to have worked")
    claim(site.show("ActiveState") == "failed", f"it is {site.show('ActiveState')}")
    claim(site.show("ExecMainStatus") == "2", f"exit code {site.show('ExecMainStatus')}")
    _, said = site.machine.try_run("systemctl", "status", "--no-pager", "--full", "spoold")
    claim("api_key" in said, f"the status does not say what is missing: {said}")
    site.machine.run("systemctl", "reset-failed", "spoold")


def test_mode_needs_no_provider(site: Site) -> None:
    site.machine.write("/etc/default/spoold", "TEST_MODE=true\nFLUSH_INTERVAL_SECONDS=1\n")
    site.machine.run("systemctl", "start", "spoold")
    site.machine.run("spoolctl", "send", "Tried", "--wait")
    site.machine.run("systemctl", "stop", "spoold")
    (site.machine.root / "etc/default/spoold").unlink()
    claim((site.machine.root / "var/lib/spoold/test/spool.db").exists(), "the test spool is not where it belongs")


def it_is_active_only_when_it_listens(site: Site) -> None:
    site.start_provider()
    site.configure()
    site.give_credential()
    site.machine.run("systemctl", "enable", "spoold")
    site.machine.run("systemctl", "start", "--no-block", "spoold")
    wait_until(lambda: site.show("ActiveState") == "active", "it is active")
    listening = site.machine.run("ss", "-Hltn", "sport = :50054")
    claim("127.0.0.1]:50054" in listening, f"it is active and does not listen on 127.0.0.1: {listening!r}")


def the_status_tells_what_waits(site: Site) -> None:
    wait_until(lambda: "events pending" in site.show("StatusText"), "STATUS= tells what waits", 10)


def an_event_goes_all_the_way(site: Site) -> None:
    said = site.machine.run("spoolctl", "send", "Order Paid", "--user", "u-1", "--json", "--wait")
    event_id = json.loads(said)["event_id"]
    claim(site.taken().get(event_id) == "signed", "it came unsigned: the credential is not used")


def the_group_may_ask_and_nobody_else(site: Site) -> None:
    said = site.machine.run("stat", "-c", "%a %G", "/run/spoold", "/var/lib/spoold")
    claim(said.split("\n") == ["750 spoold", "750 spoold"], said)
    site.machine.run("useradd", "--groups", "spoold", "alice", "--create-home")
    for command in (("status",), ("lanes", "pause", "crm"), ("lanes", "resume", "crm"), ("audit",)):
        for user, expected in (("alice", 0), ("nobody", 3)):
            code, said = site.as_user(user, "spoolctl", *command)
            claim(code == expected, f"{user}: spoolctl {' '.join(command)}: exit code {code}: {said}")
    for folder in ("/run/spoold", "/var/lib/spoold"):
        code, said = site.as_user("nobody", "ls", folder)
        claim(code != 0 and "Permission denied" in said, f"everybody may look into {folder}: {said}")


def the_journal_can_be_read(site: Site) -> None:
    events = {json.loads(line)["event"] for line in site.journal() if line.startswith("{")}
    claim({"listening", "batch flushed successfully"} <= events, f"it says {events}")
    claim(all("whsec_" not in line for line in site.journal()), "a secret is in the journal")


CHECKS = (
    apt_installs_it,
    it_is_neither_enabled_nor_started,
    it_brings_what_a_package_brings,
    only_root_and_its_group_read_the_configuration,
    *check_doctor.FRESH,
    without_a_provider_it_says_what_to_do,
    test_mode_needs_no_provider,
    it_is_active_only_when_it_listens,
    the_status_tells_what_waits,
    an_event_goes_all_the_way,
    the_group_may_ask_and_nobody_else,
    the_journal_can_be_read,
)
