"""Fixtures of the spool's tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.clock import FakeClock
from tests.support.spools import OpenSpool, open_spool
from tests.unit.spool.replaying import fill


@pytest.fixture
def mixed(state_dir: Path, clock: FakeClock) -> Iterator[OpenSpool]:
    """Thirteen events ten seconds apart, and a lane that knows every fate."""
    with open_spool(state_dir, clock=clock) as opened:
        fill(opened, clock)
        yield opened
