"""What a disk may hold after a power cut, by the hundred; `make soak` goes through them by the million."""

import os
from collections.abc import Callable
from pathlib import Path
from sqlite3 import Connection
from typing import Any
from uuid import UUID

import pytest

from spoold.clock import Entropy
from spoold.spool import appending, directory, group_commit, journal, quarantine, schema, store
from tests.power.states import run_beginning, run_round

#: Rounds in which a protection that is missing must be found, and the states of each.
_ROUNDS, _STATES = 12, 300


@pytest.mark.parametrize("seed", range(2))
def test_whatever_a_disk_keeps_nothing_acknowledged_is_lost(seed: int) -> None:
    figures = run_round(seed, states=200)

    assert figures["power_cuts"] > 100
    assert figures["acknowledged"] > 50


def test_a_first_start_that_was_cut_begins_anew() -> None:
    assert run_beginning(0)["power_cuts"] > 300


def test_a_database_that_is_made_in_its_place_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "create_database", lambda *_: None)

    with pytest.raises(AssertionError, match="a healthy spool was moved aside"):
        run_beginning(0)


def test_without_a_sync_acknowledged_events_are_lost() -> None:
    with pytest.raises(AssertionError, match="was acknowledged and is gone"):
        run_round(0, durability="os")


def test_a_round_is_the_same_again() -> None:
    assert run_round(5, states=25) == run_round(5, states=25)


def _sync_files(patch: pytest.MonkeyPatch) -> None:
    sync = quarantine._sync
    patch.setattr(quarantine, "_sync", lambda path: None if path.is_dir() else sync(path))


def _sync_directories(patch: pytest.MonkeyPatch) -> None:
    sync = quarantine._sync
    patch.setattr(quarantine, "_sync", lambda path: sync(path) if path.is_dir() else None)


def _write_note_unsynced(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(quarantine, "_write", _write)


def _write(file: Path, content: bytes) -> None:
    fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
    os.write(fd, content)
    os.close(fd)


def _write_unsynced(patch: pytest.MonkeyPatch) -> None:
    connect = journal.connect_writer

    def connect_unsynced(file: Path, durability: str) -> Connection:
        connection = connect(file, durability)
        connection.execute("PRAGMA synchronous=OFF")
        return connection

    patch.setattr(journal, "connect_writer", connect_unsynced)


def _reply_before_commit(patch: pytest.MonkeyPatch) -> None:
    insert, answer = appending.insert, group_commit._answer

    def insert_and_answer(tx: Any, appends: Any) -> Any:
        receipts = insert(tx, appends)
        for append, mine in zip(appends, receipts, strict=True):
            append.future.set_result(mine)
        return receipts

    patch.setattr(store, "insert", insert_and_answer)
    patch.setattr(group_commit, "_answer", lambda future, result: future.done() or answer(future, result))


def _migrate_in_steps(patch: pytest.MonkeyPatch) -> None:
    def migrate(connection: Connection, migrations: dict[int, str]) -> None:
        connection.execute(schema._CREATE)
        version, needed = connection.execute("SELECT version, min_reader FROM schema").fetchone() or (0, 0)
        for number in (number for number in sorted(migrations) if number > version):
            for statement in schema.statements_in(migrations[number]):
                connection.execute(statement)
            needed = schema.MIN_READER.get(number, needed)
        connection.execute("DELETE FROM schema")
        connection.execute("INSERT INTO schema (version, min_reader) VALUES (?, ?)", (max(migrations), needed))

    patch.setattr(store, "migrate", migrate)


def _make_namespace_unsynced(patch: pytest.MonkeyPatch) -> None:
    def make(path: Path, entropy: Entropy) -> UUID:
        namespace = UUID(bytes=entropy.random_bytes(16), version=4)
        _write(path, f"{namespace}\n".encode())
        return namespace

    patch.setattr(directory, "_make_namespace", make)


@pytest.mark.parametrize(
    ("take_out", "found"),
    [
        (_write_unsynced, "acknowledged and is gone|moved aside|can't read"),
        (_reply_before_commit, "acknowledged and is gone"),
        (_migrate_in_steps, "not as this version made them"),
        (_make_namespace_unsynced, "id_namespace"),
        (_sync_files, "whole nowhere|was salvaged|moved aside"),
        (_sync_directories, "events moved aside"),
        (_write_note_unsynced, "was salvaged|whole nowhere|moved aside"),
    ],
)
def test_a_protection_that_is_missing_is_found(
    take_out: Callable[[pytest.MonkeyPatch], None], found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_out(monkeypatch)

    with pytest.raises(AssertionError, match=found):
        _explore()


def _explore() -> None:
    for seed in range(_ROUNDS):
        run_round(seed, states=_STATES)
