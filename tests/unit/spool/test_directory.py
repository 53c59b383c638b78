"""The directory of a spool, and the namespace that it keeps for callers' ids."""

import os
from pathlib import Path
from uuid import UUID

import pytest

from spoold.errors import SpoolUnreadableError
from spoold.spool.directory import load_namespace, prepare_directory
from tests.support.clock import FakeEntropy


def test_a_directory_is_made_for_owner_and_group_only(state_dir: Path) -> None:
    prepare_directory(state_dir / "var" / "spoold")
    prepare_directory(state_dir / "var" / "spoold")

    assert (state_dir / "var" / "spoold").stat().st_mode & 0o777 == 0o750


def test_a_directory_that_can_not_be_made_is_refused_with_the_fix(state_dir: Path) -> None:
    (state_dir / "file").write_text("")

    with pytest.raises(SpoolUnreadableError, match=r"can't be made: Not a directory; .*spool.url, SPOOL_URL"):
        prepare_directory(state_dir / "file" / "spoold")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_a_directory_that_can_not_be_written_is_refused_with_the_fix(state_dir: Path) -> None:
    (state_dir / "foreign").mkdir(mode=0o550)

    with pytest.raises(SpoolUnreadableError, match=r"can't be written by user id \d+: give it to"):
        prepare_directory(state_dir / "foreign")


def test_a_namespace_is_made_once_and_kept(state_dir: Path, entropy: FakeEntropy) -> None:
    made = load_namespace(state_dir, entropy)

    assert made.version == 4
    assert load_namespace(state_dir, entropy) == made
    assert [path.name for path in state_dir.iterdir()] == ["id_namespace"]


def test_each_spool_makes_a_namespace_of_its_own(state_dir: Path, entropy: FakeEntropy, tmp_path: Path) -> None:
    assert load_namespace(state_dir, entropy) != load_namespace(tmp_path, entropy)


def test_a_namespace_that_an_operator_put_there_is_used(state_dir: Path, entropy: FakeEntropy) -> None:
    (state_dir / "id_namespace").write_text("0190B6F2-7C1D-7ABC-8DEF-0123456789AB\n\n")

    assert load_namespace(state_dir, entropy) == UUID("0190b6f2-7c1d-7abc-8def-0123456789ab")


@pytest.mark.parametrize("content", [b"", b"no uuid", b"\xff\xfe", b"0190b6f2"])
def test_a_namespace_file_without_a_uuid_is_refused_and_kept(
    state_dir: Path, entropy: FakeEntropy, content: bytes
) -> None:
    (state_dir / "id_namespace").write_bytes(content)

    with pytest.raises(SpoolUnreadableError, match="does not hold a UUID: put the old one back"):
        load_namespace(state_dir, entropy)
    assert (state_dir / "id_namespace").read_bytes() == content
