"""A lane under a test's hand."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.clock import FakeClock
from tests.support.lanes import LaneRig, running_lane


@pytest.fixture
def rig(state_dir: Path, clock: FakeClock) -> Iterator[LaneRig]:
    """A lane of the usual settings on an empty spool; its waits are the longest that jitter allows."""
    with running_lane(state_dir, clock=clock, jitter=1.0) as rig:
        yield rig
