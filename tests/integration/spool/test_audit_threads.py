"""Audits of a spool at work: threads append, settle, bury, defer, revive, replay, close and trim."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from spoold.spool.balance import Audit
from tests.support.events import make_drafts
from tests.support.spools import OpenSpool, running_spool
from tests.unit.spool.test_audit_storm import LANES, Storm

_TURNS = 150
#: Small pages, so that an audit takes many, with other threads' commits between them.
_ROWS = 20


class Worker(Storm):
    """One lane's owner, in a thread of its own."""

    def __init__(self, opened: OpenSpool, name: str, seed: int) -> None:
        super().__init__(opened, seed)
        self.name = name
        self.acts = [*[self.settle] * 6, *[self.attend] * 2, self.replay, self.reopen]

    def lane(self) -> str:
        return self.name

    def work(self) -> None:
        for _ in range(_TURNS):
            self.act()


def feed(opened: OpenSpool) -> None:
    for number in range(_TURNS):
        opened.spool.append(make_drafts(1 + number % 30)).result(timeout=30)


def until(done: Callable[[], bool], step: Callable[[], None]) -> None:
    while not done():
        step()
    step()


def trim(opened: OpenSpool) -> None:
    opened.spool.trim(40)


def audit(opened: OpenSpool, audits: list[Audit]) -> None:
    position = None
    while True:
        position, _, outcome = opened.spool.audit(position, max_rows=_ROWS)
        if outcome is not None:
            audits.append(outcome)
            return


def test_no_imbalance_is_seen_while_everything_moves(state_dir: Path) -> None:
    audits: list[Audit] = []
    with running_spool(state_dir, retention_seconds=0) as opened, ThreadPoolExecutor() as pool:
        for name in LANES:
            opened.spool.open_lane(name, "mixpanel", "latest")
        work: list[Future[None]] = [pool.submit(feed, opened)]
        work += [pool.submit(Worker(opened, name, seed).work) for seed, name in enumerate(LANES)]

        def is_done() -> bool:
            return all(one.done() for one in work)

        beside = [
            pool.submit(until, is_done, lambda: audit(opened, audits)),
            pool.submit(until, is_done, lambda: audit(opened, audits)),
            pool.submit(until, is_done, lambda: trim(opened)),
        ]
        for one in [*work, *beside]:
            one.result(timeout=120)
        spool = opened.store.state.spool

    assert [str(one) for outcome in audits for one in outcome.imbalances] == []
    assert len(audits) > 10
    assert spool.accepted > 2_000
    assert spool.trimmed > 100
