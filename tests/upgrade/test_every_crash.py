"""A migration that is cut short, or finds no room, leaves a spool with everything in it."""

import sqlite3
from collections.abc import Mapping
from pathlib import Path

import pytest

from spoold.spool import store
from spoold.spool.schema import MIN_READER, statements_in
from tests.sim.disk import StopKind
from tests.upgrade.every_crash import fill_everywhere, stop_everywhere
from tests.upgrade.fixtures import ALL, Fixture

OLD = [fixture for fixture in ALL if fixture.version < max(one.version for one in ALL)]


@pytest.mark.parametrize("fixture", OLD, ids=str)
@pytest.mark.parametrize("how", ["crash", "cut_power"])
def test_a_stop_at_any_operation_loses_nothing(state_dir: Path, fixture: Fixture, how: StopKind) -> None:
    assert stop_everywhere(fixture, how, state_dir, seed=1) > 20


@pytest.mark.parametrize("fixture", OLD, ids=str)
def test_a_full_disk_refuses_the_start_and_changes_nothing(state_dir: Path, fixture: Fixture) -> None:
    assert fill_everywhere(fixture, state_dir, seed=1, has_reserve=False) > 5


@pytest.mark.parametrize("fixture", OLD, ids=str)
def test_the_reserve_makes_room_for_a_migration(state_dir: Path, fixture: Fixture) -> None:
    assert fill_everywhere(fixture, state_dir, seed=1, has_reserve=True) > 5


def commit_each_statement(connection: sqlite3.Connection, migrations: Mapping[int, str]) -> None:
    """A migration without a transaction around it."""
    (version,) = connection.execute("SELECT version FROM schema").fetchone()
    for number in sorted(migrations):
        for statement in statements_in(migrations[number]) if number > version else ():
            connection.execute(statement)
    connection.execute("UPDATE schema SET version = ?, min_reader = ?", (max(migrations), MIN_READER[2]))


def load_without_the_reserve(self: store.Store, *arguments: object) -> None:
    self._load(*arguments)  # type: ignore[arg-type]


def test_what_is_broken_on_purpose_is_found(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "migrate", commit_each_statement)
    with pytest.raises(AssertionError, match="at operation"):
        stop_everywhere(OLD[0], "crash", state_dir, seed=1)
    with pytest.raises(AssertionError, match="full at write"):
        fill_everywhere(OLD[0], state_dir, seed=1, has_reserve=False)
    monkeypatch.undo()

    monkeypatch.setattr(store.Store, "_open", load_without_the_reserve)
    with pytest.raises(AssertionError, match="has no room to open"):
        fill_everywhere(OLD[0], state_dir, seed=1, has_reserve=True)
