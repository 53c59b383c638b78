"""From append to settle, against stock persist-queue."""

import time
from pathlib import Path
from statistics import median

from persistqueue import SQLiteQueue

from spoold.record import Draft
from spoold.spool.contract import Lease, RetryState, Settlement
from tests.bench.rig import Figure, home, make_event, spread
from tests.support.spools import running_spool

_STOCK_EVENTS = 400
_EVENTS = 40_000
_CALL = 100
_PAGE = 1_000


def queue(pairs: int) -> list[Figure]:
    """Events a second through the spool and through ``put`` and ``get``."""
    rows = []
    for _ in range(pairs):
        with home("stock") as folder:
            stock = _stock_rate(folder)
        with home("spool") as folder:
            rows.append((_spool_rate(folder), stock))
    ratios = [ours / stock for ours, stock in rows]
    ours, stock = (median(column) for column in zip(*rows, strict=True))
    detail = f"{ours:.0f} against {stock:.0f} events/s"
    return [Figure("append to settle / stock put and get", median(ratios), 20, True, detail, spread(ratios))]


def _stock_rate(folder: Path) -> float:
    body = make_event().SerializeToString()
    stock = SQLiteQueue(str(folder), auto_commit=True)
    start = time.perf_counter()
    for _ in range(_STOCK_EVENTS):
        stock.put(body)
    for _ in range(_STOCK_EVENTS):
        stock.get()
    rate = _STOCK_EVENTS / (time.perf_counter() - start)
    stock.close()
    return rate


def _spool_rate(folder: Path) -> float:
    drafts = [Draft("track", make_event(number).SerializeToString()) for number in range(_CALL)]
    with running_spool(folder) as opened:
        spool = opened.spool
        spool.open_lane("bench", "mixpanel", "earliest")
        lease = spool.claim("bench")
        start = time.perf_counter()
        for future in [spool.append(drafts) for _ in range(_EVENTS // _CALL)]:
            future.result()
        after = 0
        while after < _EVENTS:
            page = spool.read("bench", after, max_events=_PAGE, max_bytes=1 << 22)
            after = spool.settle(lease, _settlement(after, page.after, len(page.events), lease)).cursor
        return _EVENTS / (time.perf_counter() - start)


def _settlement(after: int, upto: int, delivered: int, lease: Lease) -> Settlement:
    return Settlement(
        id=f"{lease.epoch}-{after}".encode(), after=after, upto=upto, delivered=delivered, filtered=0, dead=(),
        retry=RetryState(), outcome="delivered", status=200, took_ms=1,
    )  # fmt: skip
