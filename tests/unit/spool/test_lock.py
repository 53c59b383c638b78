"""I9: one process owns a spool directory."""

import os
from pathlib import Path

import pytest

from spoold.errors import SpoolLockedError
from spoold.spool.lock import DirectoryLock


def test_a_second_owner_is_refused_with_the_pid_of_the_first(state_dir: Path) -> None:
    with (
        DirectoryLock(state_dir),
        pytest.raises(SpoolLockedError, match=f"process {os.getpid()} owns the spool {state_dir}") as caught,
    ):
        DirectoryLock(state_dir)

    assert caught.value.pid == os.getpid()
    assert "spool.url, SPOOL_URL" in str(caught.value)


def test_a_directory_is_free_again_after_its_owner(state_dir: Path) -> None:
    lock = DirectoryLock(state_dir)
    lock.close()
    lock.close()

    with DirectoryLock(state_dir):
        assert (state_dir / "lock").read_text() == f"{os.getpid()}\n"


@pytest.mark.parametrize("content", ["", "1\n", "999999999\n", "no number", "12345678901234567890" * 20])
def test_a_file_that_nobody_holds_is_no_obstacle(state_dir: Path, content: str) -> None:
    (state_dir / "lock").write_text(content)

    with DirectoryLock(state_dir):
        assert (state_dir / "lock").read_text() == f"{os.getpid()}\n"


def test_an_owner_that_wrote_no_pid_is_called_another_process(state_dir: Path) -> None:
    with DirectoryLock(state_dir):
        (state_dir / "lock").write_text("")
        with pytest.raises(SpoolLockedError, match="another process owns") as caught:
            DirectoryLock(state_dir)

    assert caught.value.pid is None


def test_two_directories_have_two_owners(state_dir: Path) -> None:
    (state_dir / "test").mkdir()

    with DirectoryLock(state_dir), DirectoryLock(state_dir / "test"):
        pass
