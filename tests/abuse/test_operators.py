"""Some command lines of any kind; ``tests.abuse.operators.run_round`` goes on for longer."""

import os
import random
from pathlib import Path

import pytest

from tests.abuse.operators import call_all, check

_SEED = random.SystemRandom().randrange(10**6)


def test_any_command_line_ends_with_a_documented_code_and_a_sentence(tmp_path: Path) -> None:
    print(f"seed {_SEED}")
    assert call_all(random.Random(_SEED), 24, tmp_path)["refused"]


@pytest.mark.parametrize(
    ("word", "environment", "streams"),
    [
        (b"/\xff", {}, ""),
        (b"/nowhere", {"SPOOLCTL_SOCKET": os.fsdecode(b"/\xff")}, ""),
        (b"/nowhere", {"COLUMNS": "0"}, ""),
        (b"/nowhere", {}, "2>/dev/full"),
        ("/\N{SNOWMAN}".encode(), {"PYTHONIOENCODING": "ascii"}, ""),
    ],
    ids=["a path that is no text", "in the environment", "no columns", "no place for errors", "a poor encoding"],
)
def test_what_was_found(tmp_path: Path, word: bytes, environment: dict[str, str], streams: str) -> None:
    assert check([b"spoolctl", b"--socket", word, b"status"], environment, streams, home=tmp_path) in (2, 3)


def test_a_time_zone_that_cannot_be_is_none_of_our_trouble(tmp_path: Path) -> None:
    assert check([b"spoolctl", b"doctor"], {"TZ": "UTC+99"}, "", home=tmp_path) in (0, 1)


@pytest.mark.parametrize("command", [[b"status"], [b"--help"], [b"config"]])
def test_output_that_nobody_reads_on_is_no_trouble(tmp_path: Path, command: list[bytes]) -> None:
    assert check([b"spoolctl", *command], {}, "| head -c 1", home=tmp_path) in (0, 1, 3)
