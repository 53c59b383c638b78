"""A few thousand inputs of all kinds; ``tests.abuse.fuzz.run_round`` goes on for longer."""

import random
from pathlib import Path

from tests.abuse import fuzz

_SEED = random.SystemRandom().randrange(10**6)


def test_what_comes_to_the_door_is_refused_as_documented_or_kept_as_it_was_sent() -> None:
    print(f"seed {_SEED}")
    figures = fuzz.messages(random.Random(_SEED), 2_500)
    assert figures["accepted"] > 300
    assert figures["refused"] > 300


def test_any_reply_of_a_provider_means_something() -> None:
    print(f"seed {_SEED}")
    figures = fuzz.replies(random.Random(_SEED), 3_000)
    assert figures["replies_of_success"] > 20


def test_any_configuration_is_refused_with_a_sentence_or_can_be_used(tmp_path: Path) -> None:
    print(f"seed {_SEED}")
    figures = fuzz.configurations(random.Random(_SEED), 60, tmp_path)
    assert figures["accepted"]
    assert figures["refused"]


def test_any_selection_of_an_operator_is_refused_with_a_sentence_or_understood() -> None:
    print(f"seed {_SEED}")
    assert fuzz.selections(random.Random(_SEED), 300)["inputs"] == 300


def test_a_daemon_lives_on_whatever_it_is_sent(tmp_path: Path) -> None:
    print(f"seed {_SEED}")
    figures = fuzz.daemon(random.Random(_SEED), 200, tmp_path)
    assert figures["accepted"] > 20
    assert figures["refused"] > 20
