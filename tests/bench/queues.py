"""From append to settle, against stock persist-queue."""

import time
from pathlib import Path

from persistqueue import SQLiteQueue

from spoold.record import Draft
from spoold.spool.values import Lease, RetryState, Settlement
from tests.bench.figures import Figure, alternate
from tests.bench.load import make_event
from tests.bench.rig import home
from tests.support.spools import running_spool

_STOCK_EVENTS = 400
_EVENTS = 40_000
_CALL = 100
_PAGE = 1_000


def queue(pairs: int) -> list[Figure]:
    """Events a second through the spool, and through ``put`` and ``get`` one at a time."""
    found = alternate(pairs, _stock_rate, _spool_rate)
    ours, theirs = found.medians(float)
    detail = f"{ours:.0f} : {theirs:.0f} events/s (appends of {_CALL}, settles of {_PAGE})"
    name = "append to settle / stock put and get"
    return [Figure(name, found.ratios(float), 20, True, found.noise(float), detail)]


def _stock_rate() -> float:
    body = make_event().SerializeToString()
    with home("stock") as folder:
        stock = SQLiteQueue(str(folder), auto_commit=True)
        start = time.perf_counter()
        for _ in range(_STOCK_EVENTS):
            stock.put(body)
        for _ in range(_STOCK_EVENTS):
            assert stock.get(block=False) == body
        rate = _STOCK_EVENTS / (time.perf_counter() - start)
        stock.close()
        return rate


def _spool_rate() -> float:
    with home("spool") as folder:
        return _append_and_settle(folder)


def _append_and_settle(folder: Path) -> float:
    drafts = [Draft("track", make_event(number).SerializeToString()) for number in range(_CALL)]
    with running_spool(folder) as opened:
        spool = opened.spool
        spool.open_lane("bench", "mixpanel", "earliest")
        lease = spool.claim("bench")
        start = time.perf_counter()
        for future in [spool.append(drafts) for _ in range(_EVENTS // _CALL)]:
            future.result(timeout=60)
        after = settled = 0
        for _ in range(_EVENTS):
            page = spool.read("bench", after, max_events=_PAGE, max_bytes=1 << 22)
            after = spool.settle(lease, _settlement(after, page.after, len(page.events), lease)).cursor
            settled += len(page.events)
            if settled >= _EVENTS:
                break
        rate = settled / (time.perf_counter() - start)
        assert settled == _EVENTS, settled
        return rate


def _settlement(after: int, upto: int, delivered: int, lease: Lease) -> Settlement:
    return Settlement(
        id=f"{lease.epoch}-{after}".encode(), after=after, upto=upto, delivered=delivered, filtered=0, dead=(),
        retry=RetryState(), outcome="delivered", status=200, took_ms=1,
    )  # fmt: skip
