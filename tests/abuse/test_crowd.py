"""Memory under honest load; ``tests.abuse.crowd.run_round`` has more of it, with providers of every kind."""

import random
from pathlib import Path

from tests.abuse.crowd import check_memory, largest_batch, press
from tests.support.daemon_process import DaemonProcess

#: Port 1 refuses connections: a provider that is down.
_DOWN = {"TEST_MODE": "false", "MIXPANEL_API_KEY": "a-token", "MIXPANEL_ENDPOINT": "http://127.0.0.1:1"}


def test_64_callers_with_the_largest_batches_do_not_take_256_mib(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path, **_DOWN) as daemon:
        taken = press(daemon, 64, 1, largest_batch(random.Random(1)))
        assert taken == 64_000
        check_memory(daemon)
