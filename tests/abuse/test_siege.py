"""Abuse of every kind while good clients go on; ``tests.abuse.siege.run_round`` goes on for longer."""

import random
from collections.abc import Iterator

import pytest

from tests.abuse.rude import ABUSES
from tests.abuse.siege import Siege, besieged, faults, wait_until

_FAULTS = 4
_SEED = random.SystemRandom().randrange(10**6)


@pytest.fixture(scope="module")
def siege(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Siege]:
    """One daemon for all of it: what one kind of abuse leaves behind, the next one finds."""
    with besieged(tmp_path_factory.mktemp("siege")) as siege:
        yield siege


@pytest.mark.parametrize("name", ABUSES)
def test_good_clients_are_served_beside(siege: Siege, name: str) -> None:
    siege.abuse([ABUSES[name]], random.Random(_SEED))


def test_a_provider_that_misbehaves_costs_no_memory_and_loses_nothing(siege: Siege) -> None:
    drawn = random.Random(_SEED).sample(faults(), _FAULTS)
    siege.server.script(*drawn)
    wait_until(lambda: siege.server.is_through, f"the requests that meet {drawn}")
    siege.check_memory(f"a provider that did {drawn}")


def test_when_it_is_over_all_is_as_before_and_nothing_is_lost(siege: Siege) -> None:
    siege.make_peace()
