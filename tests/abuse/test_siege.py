"""Abuse of every kind while good clients go on; ``tests.abuse.siege.run_round`` goes on for longer."""

import random
import threading
from collections.abc import Iterator

import pytest

from spoold.ingest.servicer import MAX_MESSAGE_BYTES
from tests.abuse.rude import ABUSES
from tests.abuse.siege import Siege, besieged, faults, wait_until
from tests.abuse.stalling import StallingClient

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


def test_good_clients_are_served_while_hundreds_have_stopped_in_the_midst_of_a_message(siege: Siege) -> None:
    is_over = threading.Event()

    def stall() -> None:
        with StallingClient(siege.daemon.address) as client:
            for stream in range(1, 401, 2):
                client.begin(stream, bytes(100_000), length=MAX_MESSAGE_BYTES)
            while not is_over.is_set():
                client.pump(0.1)

    stalling = [threading.Thread(target=stall) for _ in range(2)]
    for thread in stalling:
        thread.start()
    try:
        # The ones on their way when it began may be refused; then they get their turn while the others stand.
        before = len(siege.acknowledged)
        wait_until(lambda: len(siege.acknowledged) >= before + 100, "a hundred good calls", 20)
    finally:
        is_over.set()
        for thread in stalling:
            thread.join()


def test_a_provider_that_misbehaves_costs_no_memory_and_loses_nothing(siege: Siege) -> None:
    drawn = random.Random(_SEED).sample(faults(), _FAULTS)
    siege.server.script(*drawn)
    wait_until(lambda: siege.server.is_through, f"the requests that meet {drawn}")
    siege.check_memory(f"a provider that did {drawn}")


def test_when_it_is_over_all_is_as_before_and_nothing_is_lost(siege: Siege) -> None:
    siege.make_peace()
