"""Putting a group of events into the journal: recognise what is there already, insert the rest in few statements."""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from spoold.spool.lookup import KEY, find_seq
from spoold.spool.statements import chunk_bounds, insert_caller_ids, insert_records
from spoold.spool.transaction import Transaction
from spoold.spool.values import Receipt


@dataclass(frozen=True, slots=True)
class Append:
    """One call's events on their way: all of them in one commit, or none.

    Attributes:
        records: Encoded, checksum included.
        event_ids: 16 bytes each.
        stamps_ms: Hybrid time of each, rising over all appends.
        has_caller_ids: Some id was chosen by the caller, so it may be in the journal already.
        caller_chose: For each event, whether its id was.
        size: Bytes of all records.
    """

    records: list[bytes]
    event_ids: list[bytes]
    stamps_ms: list[int]
    caller_chose: list[bool]
    has_caller_ids: bool
    size: int
    future: "Future[list[Receipt]]"


def insert(tx: Transaction, appends: Sequence[Append]) -> list[list[Receipt]]:
    """Add the events of ``appends`` to the journal and to the counters of ``tx``."""
    if not appends:
        return []
    seq = tx.spool.last_seq
    last_ms = tx.spool.last_id_ms
    duplicates = 0
    rows: list[object] = []
    keys: list[object] = []
    here: dict[bytes, int] = {}
    receipts: list[list[Receipt]] = []
    for append in appends:
        known = _known(tx, append, here) if append.has_caller_ids else {}
        mine: list[Receipt] = []
        for record, event_id, stamp_ms, is_chosen in zip(
            append.records, append.event_ids, append.stamps_ms, append.caller_chose, strict=True
        ):
            if is_chosen:
                # Also within this group: two calls may carry the same id at once.
                found = known.get(event_id) or here.get(event_id)
                if found:
                    duplicates += 1
                    mine.append(Receipt(found, event_id, duplicate=True))
                    continue
            seq += 1
            last_ms = stamp_ms
            rows += (seq, record, stamp_ms / 1000)
            if is_chosen:
                here[event_id] = seq
                keys += (event_id[KEY], seq)
            mine.append(Receipt(seq, event_id, duplicate=False))
        receipts.append(mine)
    _insert_rows(tx, rows, keys)
    added = seq - tx.spool.last_seq
    tx.spool = tx.spool._replace(
        accepted=tx.spool.accepted + added,
        duplicates=tx.spool.duplicates + duplicates,
        last_seq=seq,
        last_id_ms=last_ms,
    )
    return receipts


def _insert_rows(tx: Transaction, rows: list[object], keys: list[object]) -> None:
    execute = tx.connection.execute
    for start, end in chunk_bounds(len(rows) // 3):
        execute(insert_records(end - start), rows[3 * start : 3 * end])
    for start, end in chunk_bounds(len(keys) // 2):
        execute(insert_caller_ids(end - start), keys[2 * start : 2 * end])


def _known(tx: Transaction, append: Append, here: dict[bytes, int]) -> dict[bytes, int]:
    chosen = [i for i, c in zip(append.event_ids, append.caller_chose, strict=True) if c and i not in here]
    found = ((event_id, find_seq(tx.connection, event_id, tx.spool.id_tag)) for event_id in chosen)
    return {event_id: seq for event_id, seq in found if seq is not None}
