"""The manual has what the daemon tells: its metrics with their labels, its messages, its signals."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import spoold
from spoold.gauges import LANE_STATES, read_gauges
from spoold.metrics import Metrics
from tests.support.clock import FakeClock
from tests.support.manual import items, page, plain, section
from tests.support.spools import OpenSpool

PACKAGE = Path(spoold.__file__).parent
#: Labels whose values are words of the program's own.
VALUES = {"reason", "outcome", "state", "type"}
LEVELS = ("debug", "info", "warning", "error")


def trees() -> Iterator[ast.Module]:
    for path in PACKAGE.rglob("*.py"):
        if "api" not in path.parts:
            yield ast.parse(path.read_text())


def said() -> dict[str, str]:
    """Each message of the daemon's log, with its level."""
    found: dict[str, str] = {}
    for tree in trees():
        for node in ast.walk(tree):
            match node:
                case ast.Call(ast.Attribute(logger, level), [ast.Constant(str(message)), *_]) if (
                    level in LEVELS and "log" in ast.unparse(logger)
                ):
                    found[message] = level
    return found


def measured(metrics: Metrics, spool: OpenSpool, clock: FakeClock) -> dict[str, set[str]]:
    """Each metric with its labels, as a scrape has them."""
    metrics.add_gauges(read_gauges(spool.spool, dict, clock, lambda: None))
    metrics.begin_lane("mixpanel")
    metrics.events_accepted.labels("track")
    found = {}
    for family in metrics.registry.collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        found[name] = {label for sample in family.samples for label in sample.labels} - {"le"}
    return found


@pytest.mark.usefixtures("lane")
def test_the_manual_has_each_metric_with_its_labels_and_no_other(spool: OpenSpool, clock: FakeClock) -> None:
    told = {}
    for head in items(section(page("spoold-metrics.7"), "DESCRIPTION")):
        name, _, labels = head.removeprefix("Li ").partition(" Brq ")
        told[name] = set(labels.split(" , ")) - {""}

    assert told == measured(Metrics(), spool, clock)


@pytest.mark.usefixtures("lane")
def test_the_manual_has_each_value_that_a_label_can_have(spool: OpenSpool, clock: FakeClock) -> None:
    metrics = Metrics()
    measured(metrics, spool, clock)
    texts = {head.split()[1]: plain(text) for head, text in items(page("spoold-metrics.7")).items()}

    for family in metrics.registry.collect():
        text = texts[f"{family.name}_total" if family.type == "counter" else family.name]
        values = {sample.labels[label] for sample in family.samples for label in sample.labels.keys() & VALUES}
        assert not [value for value in values if not re.search(rf"\b{value}\b", text)]


def test_the_manual_has_each_message_of_the_log_with_its_level_and_no_other() -> None:
    told = {}
    for head, text in items(section(page("spoold-messages.7"), "DESCRIPTION")).items():
        told[head.removeprefix("Li ")] = re.split(r"[:.]", text.strip())[0].lower()

    assert told == said()


def test_the_manual_has_each_signal() -> None:
    caught = {
        node.attr
        for tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and re.fullmatch("SIG[A-Z]+", node.attr)
    }

    assert caught == set(re.findall(r"SIG[A-Z]+", section(page("spoold.8"), "SIGNALS")))


def test_the_manual_has_each_state_of_a_lane() -> None:
    states = items(section(page("spoolctl-lanes.1"), "States", "Ss"))

    assert [head.removeprefix("Cm ") for head in states] == list(LANE_STATES)


def test_each_refusal_of_the_door_for_want_of_room_has_its_advice() -> None:
    advice = section(page("spoold.8"), "New events are refused", "Ss")

    assert not [reason for reason in ("max_bytes", "min_free_bytes", "disk", "wal") if reason not in advice]
