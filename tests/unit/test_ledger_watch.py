"""An imbalance is told once, and once more when it has changed or is over."""

import json
import sys
from typing import Any

import pytest

from spoold.ledger_watch import LedgerWatch
from spoold.log import configure_logging
from spoold.spool.balance import Audit, Imbalance

WELL = Audit((), ())


def missing(counter: int, counted: int) -> Audit:
    return Audit((), (Imbalance("l", "dead", counter, counted, "ledger"),))


def test_an_imbalance_is_told_once_however_many_events_come_and_go(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json", sys.stdout)
    watch = LedgerWatch()
    told: list[Any] = []
    for audit in (WELL, missing(3, 2), missing(8, 7), missing(8, 6), WELL, WELL):
        watch.take(audit)
        assert watch.is_ok == audit.is_ok
        told.append([json.loads(line) for line in capsys.readouterr().out.splitlines()])

    assert [[(one["level"], one["event"], one.get("events")) for one in lines] for lines in told] == [
        [],
        [("error", "ledger out of balance", 1)],
        [],
        [("error", "ledger out of balance", 2)],
        [("info", "ledger balances again", None)],
        [],
    ]
    assert told[1][0]["imbalances"] == ["lane l: dead is 3 by its counter, and 2 by what is in the ledger"]
