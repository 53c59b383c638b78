"""Promises, held against what is on the disk when the power is back."""

from pathlib import Path

from spoold.spool.audit import Moment, audit_step, begin_reading
from spoold.spool.balance import Audit, AuditPosition
from tests.power.book import Book
from tests.power.opening import Opened
from tests.support.events import make_draft

_AUDIT_ROWS = 1000


class BrokenPromiseError(AssertionError):
    """Something that was acknowledged is not there."""


class LostEventError(BrokenPromiseError):
    """An event was acknowledged and is gone."""


def check_spool(opened: Opened, book: Book, at: int) -> None:
    """I1, I2, I4: what was promised by then is there, unaltered; everything balances; a fresh event passes."""
    check_owed(opened, book, at)
    check_lanes(opened, book, at)
    check_balance(opened)
    check_goes_on(opened)


def check_owed(opened: Opened, book: Book, at: int) -> None:
    """I1 and I3: each acknowledged event is in the journal, byte for byte, or was forgotten by a trim."""
    rows = dict(opened.rows("SELECT _id, data FROM queue_journal"))
    for owed in book.owed:
        if owed.at > at or rows.get(owed.seq) == owed.record:
            continue
        if owed.seq in rows:
            raise BrokenPromiseError(f"event {owed.seq} is altered: {rows[owed.seq].hex()}, not {owed.record.hex()}")
        if book.may_be_gone.get(owed.seq, at + 1) > at:
            raise LostEventError(f"event {owed.seq} was acknowledged and is gone")


def check_lanes(opened: Opened, book: Book, at: int) -> None:
    """I4: a lane stands where it was said to, and its dead letters are there, byte for byte."""
    records = {owed.seq: owed.record for owed in book.owed if owed.at <= at}
    aside = {
        (lane, seq): record
        for lane, seq, record in opened.rows("SELECT lane, seq, record FROM set_aside WHERE kind = 'dead'")
    }
    lanes = opened.store.state.lanes
    for passed in book.passed:
        if passed.at > at:
            continue
        if passed.lane not in lanes or lanes[passed.lane].cursor < passed.cursor:
            raise BrokenPromiseError(f"lane {passed.lane} was settled up to {passed.cursor} and is not: {lanes}")
        for seq in passed.dead:
            if (passed.lane, seq) not in aside or aside[passed.lane, seq] != records.get(seq, aside[passed.lane, seq]):
                raise BrokenPromiseError(f"the dead letter {seq} of lane {passed.lane} is gone or altered")


def check_balance(opened: Opened) -> None:
    """I2, recounted from the disk."""
    audit = _audit(opened)
    if not audit.is_ok:
        raise BrokenPromiseError(f"I2: {'; '.join(map(str, audit.imbalances))}")


def check_goes_on(opened: Opened) -> None:
    """A fresh event is taken, behind all others."""
    last_seq = opened.store.state.spool.last_seq
    (receipt,) = opened.append([make_draft("Fresh")])
    if receipt.seq <= last_seq or receipt.duplicate:
        raise BrokenPromiseError(f"a fresh event was given {receipt} where {last_seq} was the last seq")


def check_kept(directory: Path, book: Book, at: int) -> None:
    """A small file that a call said is there."""
    for kept in book.kept:
        if kept.at <= at and (directory / kept.path).read_bytes() != kept.content:
            raise BrokenPromiseError(f"{kept.path} is not what it was")


def _audit(opened: Opened) -> Audit:
    connection = opened.store.connection
    position: AuditPosition | None = None
    begin_reading(connection)
    try:
        while True:
            step = audit_step(connection, Moment(opened.store.state, 0, ()), position, _AUDIT_ROWS)
            if step.audit is not None:
                return step.audit
            position = step.position
    finally:
        connection.execute("ROLLBACK")
