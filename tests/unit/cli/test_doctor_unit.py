"""The doctor on a service that systemd can't start; the rest of it is tried where there is a systemd."""

from pathlib import Path

from spoolctl.doctor.directory import check_directory
from spoolctl.doctor.findings import Level
from spoolctl.doctor.service import Words
from spoolctl.doctor.unit import missing_credentials

from tests.support.doctor import STRANGER, make_subject


def test_credentials_without_a_file_are_named(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("key")
    unit = (
        "# /etc/systemd/system/spoold.service.d/keys.conf\n[Service]\n"
        f"LoadCredential=mixpanel_api_key:{tmp_path}/there\n"
        f"LoadCredential=crm_secret:{tmp_path}/gone\n"
        f"LoadCredentialEncrypted=segment_write_key:{tmp_path}/gone too\n"
        f"#LoadCredential=amplitude_api_key:{tmp_path}/no more than a comment\n"
        "LoadCredential=handed-down:handed-down\n"
    )

    assert missing_credentials(unit) == [
        ("crm_secret", tmp_path / "gone"),
        ("segment_write_key", tmp_path / "gone too"),
    ]


def test_a_credential_that_was_taken_back_is_not_missed(tmp_path: Path) -> None:
    assert not missing_credentials(f"LoadCredential=crm_secret:{tmp_path}/gone\nLoadCredential=\n")


def test_the_folder_that_the_unit_makes_is_not_missed() -> None:
    words = Words(None, (), (), None, is_unit=True)
    default = Path("/var/lib/spoold")
    assert not default.exists(), "this machine has a spool: the test says nothing here"

    (finding,) = check_directory(make_subject(default, user=STRANGER, words=words))

    assert (finding.level, finding.fix) == (Level.NOTE, "")
