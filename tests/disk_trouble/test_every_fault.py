"""A sample of all that a disk can do to a spool; all of it: ``python -m tests.disk_trouble.every_fault --all``."""

import sqlite3
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from spoold.errors import SpoolFullError
from spoold.spool import store
from spoold.spool.group_commit import GroupCommit
from spoold.spool.space import Space
from spoold.spool.values import Receipt
from tests.disk_trouble.every_fault import Course, rehearse, run_all, troubles
from tests.sim.disk import Operation

_SIZE = 3_000

Break = Callable[[pytest.MonkeyPatch], None]


@pytest.fixture
def course(state_dir: Path) -> Course:
    home = state_dir / "rehearsal"
    home.mkdir()
    return rehearse(home, _SIZE)


def run(course: Course, home: Path, keep: Callable[[Operation, int], bool]) -> dict[str, int]:
    return run_all(troubles(course, 1, _SIZE, keep), course, home)


def test_whatever_the_disk_does_and_whenever_nobody_is_told_what_is_not_so(course: Course, state_dir: Path) -> None:
    figures = run(course, state_dir, lambda operation, nth: nth % (3 if operation == "sync" else 40) == 2)

    assert figures["disk_faults"] > 80
    assert figures["ends"] > 40
    assert figures["refused_calls"] > 10


def answer_before_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    real = GroupCommit._commit

    def commit(self: GroupCommit, now: float) -> None:
        seqs = count(self._store.state.spool.last_seq + 1)
        for number, append in enumerate(self._appends):
            append.future.set_result([Receipt(next(seqs), one, duplicate=False) for one in append.event_ids])
            self._appends[number] = replace(append, future=Future())
        real(self, now)

    monkeypatch.setattr(GroupCommit, "_commit", commit)


def trust_a_failed_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    def commit(connection: sqlite3.Connection) -> None:
        try:
            connection.execute("COMMIT")
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode != sqlite3.SQLITE_IOERR_FSYNC:
                raise

    real = store.Store.__init__
    monkeypatch.setattr(store.Store, "__init__", lambda self, *a, **kw: real(self, *a, **kw | {"commit": commit}))


def do_not_write_a_log_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "rewrite", lambda _file: None)


def keep_the_reserve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Space, "give_up_reserve", lambda _self: False)


def let_a_settle_fail_with_its_group(monkeypatch: pytest.MonkeyPatch) -> None:
    real = store.Store._transact

    def transact(self: store.Store, appends: Any, writes: Any) -> Any:
        if writes and not appends and self._space.refusal(0) is not None:
            raise SpoolFullError("the disk is full", reason="disk")
        return real(self, appends, writes)

    monkeypatch.setattr(store.Store, "_transact", transact)


def never_look_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Space, "recheck", lambda _self: None)


@pytest.mark.parametrize(
    "bug",
    [
        (answer_before_the_commit, "sync", "event 1 was acknowledged and is not there"),
        (trust_a_failed_sync, "sync", "a disk that failed was trusted"),
        (do_not_write_a_log_anew, "sync", "the log is damaged"),
        (keep_the_reserve, "write", "I7: a full disk ended the process"),
        (let_a_settle_fail_with_its_group, "write", "I7: a full disk ended the process"),
        (never_look_again, "write", "there is room again, and the spool takes nothing"),
    ],
    ids=lambda bug: bug[0].__name__,
)
def test_what_is_broken_on_purpose_is_found(
    course: Course, state_dir: Path, monkeypatch: pytest.MonkeyPatch, bug: tuple[Break, Operation, str]
) -> None:
    break_it, operation, told = bug
    break_it(monkeypatch)

    with pytest.raises(AssertionError, match=told):
        run(course, state_dir, lambda op, nth: op == operation and (op == "sync" or nth % 7 == 0))
