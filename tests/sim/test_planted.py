"""The simulator finds the bugs of the catalogue: here those that it finds soon, in a soak all of them."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from tests.sim.bug import PACKAGE, ROOT, Bug
from tests.sim.planted import CATALOGUE
from tests.sim.planting import Finding, try_bug

_CONTROL_SEEDS = 10
_SOON = [bug for bug in CATALOGUE if bug.seeds <= Bug.SOON]


@pytest.fixture(scope="module")
def look_for(request: pytest.FixtureRequest) -> Iterator[Callable[[Bug], Finding]]:
    """The bugs of this run are looked for by one process beside the tests, some at a time."""
    # Of the tests that ask for it alone: others go through the whole catalogue, and some bugs take minutes to be found.
    asking = [item for item in request.session.items if "look_for" in getattr(item, "fixturenames", ())]
    bugs = [item.callspec.params["bug"] for item in asking if isinstance(item, pytest.Function)]
    names = [bug.name for bug in bugs if isinstance(bug, Bug)]
    findings: dict[str, Finding] = {}
    runner = subprocess.Popen(
        [sys.executable, "-m", "tests.sim.planting", "--json", *names],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert runner.stdout is not None
    lines = iter(runner.stdout)

    def wait(bug: Bug) -> Finding:
        while bug.name not in findings:
            name, *finding = json.loads(next(lines))
            findings[name] = Finding(*finding)
        return findings[bug.name]

    yield wait
    if runner.poll() is None:
        # A test failed with ``-x``, or somebody interrupts: its children must not go on either.
        os.killpg(runner.pid, signal.SIGKILL)
    runner.stdout.close()
    runner.wait()


@pytest.mark.parametrize("bug", _SOON, ids=lambda bug: bug.name)
def test_the_simulator_finds(bug: Bug, look_for: Callable[[Bug], Finding]) -> None:
    finding = look_for(bug)

    assert finding.seeds, finding.text
    assert any(text in finding.text for text in bug.found_by), finding.text


def test_the_copy_without_a_bug_holds() -> None:
    assert try_bug(None, seeds=_CONTROL_SEEDS)[:2] == (0, f"{_CONTROL_SEEDS} seeds hold\n")


def test_names_are_unique() -> None:
    assert len({bug.name for bug in CATALOGUE}) == len(CATALOGUE)


@pytest.mark.parametrize("bug", CATALOGUE, ids=lambda bug: bug.name)
def test_each_bug_can_be_planted(bug: Bug) -> None:
    for edit in bug.edits:
        assert (ROOT / PACKAGE / edit.file).read_text().count(edit.old) == 1, (
            f"the catalogue goes with the code: {edit}"
        )
