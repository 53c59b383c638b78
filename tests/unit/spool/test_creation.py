"""A first start that was cut short is done again; a database that lost its content is damage all the same."""

from pathlib import Path

import pytest

from spoold.spool import creation
from tests.support.events import make_drafts
from tests.support.spools import open_spool
from tests.unit.spool.salvaging import recover


class CutError(BaseException):
    """The process is gone."""


@pytest.fixture
def cut(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory in which a first start came as far as to give the database its name."""

    def stop(_directory: Path) -> None:
        raise CutError

    with monkeypatch.context() as patch:
        patch.setattr(creation, "_name", stop)
        with pytest.raises(CutError):
            recover(state_dir)
    return state_dir


def test_what_a_cut_first_start_leaves_has_another_name(cut: Path) -> None:
    assert (cut / "spool.db.new").exists()
    assert not (cut / "spool.db").exists()


@pytest.mark.parametrize("keep", [0, 1, 4096, None])
def test_a_first_start_that_was_cut_is_done_again(cut: Path, keep: int | None) -> None:
    part = cut / "spool.db.new"
    part.write_bytes(part.read_bytes()[:keep])
    (cut / "spool.db.new-wal").write_bytes(b"half a log")

    opened = recover(cut)

    assert opened.quarantined is None
    assert opened.append(make_drafts(1))[0].seq == 1
    opened.spool.close()
    assert not list(cut.glob("spool.db.new*"))


def test_an_empty_database_is_damage_whatever_lies_beside_it(cut: Path) -> None:
    (cut / "spool.db").touch()

    opened = recover(cut)

    assert opened.quarantined is not None
    assert opened.quarantined.reason == "spool.db is empty"
    opened.spool.close()


def test_a_second_name_of_a_spool_is_no_cut_first_start(state_dir: Path) -> None:
    """Where a file system lost power in the midst of a renaming, both names may be there."""
    with open_spool(state_dir) as opened:
        opened.append(make_drafts(3))
    (state_dir / "spool.db.new").hardlink_to(state_dir / "spool.db")

    again = recover(state_dir, lanes=())

    assert again.quarantined is None
    assert again.store.state.spool.accepted == 3
    again.spool.close()
