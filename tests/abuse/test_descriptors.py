"""A daemon without a free descriptor: by callers who take them all, and by a limit that is lowered under it."""

import random
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.abuse.siege import Siege, besieged, descriptors, wait_until
from tests.abuse.wire import RudeClient
from tests.bench.rig import cpu_seconds

#: Some milliseconds for each good call, some lines for each flush.
_SPINNING_SECONDS, _NO_MORE_LINES = 10, 60
_LIMIT, _CONNECTIONS = 64, 150


@contextmanager
def _lowered(limit: int) -> Iterator[None]:
    """What is started meanwhile may have so many descriptors."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_without_free_descriptors_events_are_taken_and_delivered_and_it_is_over_with_it(tmp_path: Path) -> None:
    with _lowered(_LIMIT):
        started = besieged(tmp_path, METRICS_ADDRESS="127.0.0.1:0")
        siege = started.__enter__()
    try:
        crowd = [RudeClient(siege.daemon.address) for _ in range(_CONNECTIONS)]
        _serves_on(siege)
        assert descriptors(siege.daemon.pid) < _LIMIT, "callers have taken descriptors that the daemon needs"
        _lower_to_nothing(siege)
        for client in crowd:
            client.reset()
        siege.make_peace()
    finally:
        started.__exit__(None, None, None)


def _lower_to_nothing(siege: Siege) -> None:
    """Nothing more can be opened for a while: it neither spins nor talks."""
    pid = siege.daemon.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (5, before[1]))
    clients = [RudeClient(siege.daemon.address) for _ in range(20)]
    used, lines = cpu_seconds(pid), len(siege.daemon.logs)
    _serves_on(siege)
    wait_until(lambda: len(siege.daemon.logs) > lines, "another flush")
    assert cpu_seconds(pid) - used < _SPINNING_SECONDS
    assert len(siege.daemon.logs) - lines < _NO_MORE_LINES
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    for client in clients:
        client.socket.close()


def _serves_on(siege: Siege) -> None:
    siege.abuse([], random.Random(0))
    siege.abuse([], random.Random(0))
