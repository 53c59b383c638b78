"""The admin socket: who may open it, and what stands in its way."""

import os
import socket
import stat
from pathlib import Path

import pytest

from spoold.api.spoold.admin.v1 import admin_pb2
from spoold.errors import ListenError
from tests.integration.admin.conftest import Desk, MakeDesk


def is_serving(desk: Desk) -> bool:
    return bool(desk.stub.GetStatus(admin_pb2.GetStatusRequest(), timeout=10).daemon.pid == 71)


def test_only_owner_and_group_may_open_the_socket(desk: Desk) -> None:
    mode = desk.path.stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o660


def test_the_sockets_folder_is_made(make_desk: MakeDesk, tmp_path: Path) -> None:
    with make_desk(tmp_path / "run" / "admin.sock") as desk:
        assert is_serving(desk)
        assert stat.S_IMODE(desk.path.parent.stat().st_mode) & 0o007 == 0


def test_the_socket_goes_with_the_server_and_stopping_twice_is_fine(make_desk: MakeDesk, tmp_path: Path) -> None:
    with make_desk(tmp_path / "admin.sock") as desk:
        desk.run(desk.server.stop(0))
        assert not desk.path.exists()
        desk.run(desk.server.stop(0))


def test_a_socket_that_a_killed_daemon_left_is_replaced(make_desk: MakeDesk, tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    with socket.socket(socket.AF_UNIX) as leftover:
        leftover.bind(str(path))

    with make_desk(path) as desk:
        assert is_serving(desk)


def test_a_socket_on_which_another_daemon_answers_stays_its_own(make_desk: MakeDesk, desk: Desk) -> None:
    with pytest.raises(ListenError, match="another process listens there") as caught, make_desk(desk.path):
        pass

    assert caught.value.address == f"unix:{desk.path}"
    assert is_serving(desk)


def test_a_listener_that_is_too_busy_to_answer_keeps_its_socket(make_desk: MakeDesk, tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as caller:
        busy.bind(str(path))
        busy.listen(0)
        caller.connect(str(path))
        with pytest.raises(ListenError, match="another process listens there"), make_desk(path):
            pass
        assert path.is_socket()
    path.unlink()


def test_what_is_no_socket_is_kept(make_desk: MakeDesk, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("mine")

    with pytest.raises(ListenError, match="something that is no socket is there"), make_desk(path):
        pass

    assert path.read_text() == "mine"


@pytest.mark.parametrize(
    ("folder", "reason"), [("/proc/nowhere", "No such file or directory"), ("/dev/null/x", "Not a directory")]
)
def test_a_folder_that_cant_be_made_is_told_with_path_and_reason(make_desk: MakeDesk, folder: str, reason: str) -> None:
    said = rf"admin\.socket \(ADMIN_SOCKET\) {folder}/admin\.sock: {reason}"
    with pytest.raises(ListenError, match=said), make_desk(Path(folder) / "admin.sock"):
        pass


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_the_sockets_mode_does_not_depend_on_the_umask(make_desk: MakeDesk, tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with make_desk(tmp_path / "admin.sock") as desk:
            assert stat.S_IMODE(desk.path.stat().st_mode) == 0o660
    finally:
        os.umask(before)
