"""SIGKILL at random moments under load; ``make soak`` does it by the thousand."""

import os
import random

from tests.crash.kills import run_round

_KILLS = 3
#: SEED=n goes through the same moments again, as far as threads allow.
_SEED = int(os.environ.get("SEED", random.randrange(10**6)))


def test_what_was_acknowledged_outlives_kills_at_random() -> None:
    figures = run_round(_SEED, kills=_KILLS)
    assert figures["kills"] == _KILLS
