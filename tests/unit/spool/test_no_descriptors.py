"""A process that has no descriptor left: nobody's end, and over when one comes back."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from spoold.errors import SpoolUnreadableError
from spoold.spool.balance import Audit
from spoold.spool.housekeeping import Housekeeper
from spoold.spool.values import SpoolStats
from tests.support.events import make_drafts
from tests.support.spools import OpenSpool


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Nothing more can be opened."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_reader_that_cannot_be_opened_is_no_damage_and_no_failed_disk(spool: OpenSpool) -> None:
    spool.append(make_drafts(1))
    with no_descriptors(), pytest.raises(SpoolUnreadableError, match="is LimitNOFILE too low"):
        spool.spool.stats()
    assert spool.spool.stats().accepted == 1


def test_housekeeping_goes_on_when_descriptors_come_back(spool: OpenSpool) -> None:
    looks: list[SpoolStats] = []
    audits: list[Audit] = []
    housekeeper = Housekeeper(spool.spool, looks.append, audits.append)
    spool.append(make_drafts(1))
    with no_descriptors():
        assert housekeeper.step(0.0) == 1.0
    assert not looks
    housekeeper.step(1.0)
    assert len(looks) == 1


def test_events_are_taken_meanwhile(spool: OpenSpool) -> None:
    spool.append(make_drafts(1))
    with no_descriptors():
        spool.append(make_drafts(3))
    assert spool.spool.stats().accepted == 4
