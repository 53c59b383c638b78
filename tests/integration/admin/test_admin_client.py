"""How spoolctl finds the daemon and its front door."""

from pathlib import Path

import pytest
from spoolctl.client import Target
from spoolctl.failure import Exit, Failure

from tests.integration.admin.conftest import Desk


@pytest.mark.parametrize(
    ("said", "address"),
    [
        ("0.0.0.0:50054", "127.0.0.1:50054"),
        ("[::]:50054", "[::1]:50054"),
        ("10.0.0.0:50054", "10.0.0.0:50054"),
        ("[fe80::]:50054", "[fe80::]:50054"),
        ("localhost:9", "localhost:9"),
        ("", "127.0.0.1:50054"),
    ],
)
def test_the_front_door_is_where_the_daemon_listens(desk: Desk, said: str, address: str) -> None:
    desk.address = said
    assert Target(desk.path, Path("/nowhere")).front_door(None) == address


def test_the_front_door_of_a_daemon_that_cant_be_asked_is_the_default_one() -> None:
    assert Target(Path("/nowhere/admin.sock"), Path("/nowhere")).front_door(None) == "127.0.0.1:50054"


def test_an_address_that_was_typed_is_taken_without_asking() -> None:
    assert Target(Path("/nowhere/admin.sock"), Path("/nowhere")).front_door("db7:1") == "db7:1"


def test_a_daemon_that_is_down_is_not_reachable_and_the_reason_is_told(tmp_path: Path) -> None:
    with Target(tmp_path / "admin.sock", tmp_path).admin() as admin, pytest.raises(Failure) as caught:
        admin.status()

    assert caught.value.code == Exit.UNREACHABLE
    assert caught.value.error.endswith(f"{tmp_path}/admin.sock: no such socket")


def test_a_story_that_nobody_has_is_none(desk: Desk) -> None:
    with Target(desk.path, Path("/nowhere")).admin() as admin:
        assert admin.story("0199c2f0-7a00-7000-8000-00000000002a") is None
