"""A real Prometheus server with the shipped configuration and rules watches a real daemon."""

from math import isnan
from typing import NamedTuple

import pytest

from tests.monitoring.prometheus import Prometheus, Relay, find_missing, watching
from tests.monitoring.queries import Query, dashboard, queries
from tests.monitoring.scene import scene

_MISSING = find_missing()

pytestmark = pytest.mark.skipif(_MISSING is not None, reason=_MISSING or "")

#: What these say is true of the machine that runs the test.
_OF_THE_MACHINE = {"SpooldDiskNearlyFull", "SpooldSlowCommits"}


class Seen(NamedTuple):
    """What Prometheus saw.

    Attributes:
        met_when_well: The alerts whose condition was met, whether or not for long enough.
        met_in_trouble: Likewise.
        shown: What each expression of the dashboard was in trouble: a value for each series.
    """

    met_when_well: set[str]
    met_in_trouble: set[str]
    shown: dict[Query, list[float]]

    def of(self, panel: str) -> list[float]:
        """All values that a panel shows."""
        return [value for query, values in self.shown.items() if query.panel == panel for value in values]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    home = tmp_path_factory.mktemp("server")
    with scene(home) as playing, Relay(playing.scrape) as relay, watching(home, relay.target) as prometheus:
        relay.wait_until_taken()
        playing.go_well()
        relay.wait_until_taken()
        met_when_well = met(prometheus)
        playing.go_wrong()
        relay.wait_until_taken()
        shown = {query: prometheus.values(query.expression) for query in queries(dashboard())}
        return Seen(met_when_well, met(prometheus), shown)


def met(prometheus: Prometheus) -> set[str]:
    """The alerts whose condition is met now."""
    rules = prometheus.rules()
    assert not [rule for rule in rules if rule["health"] == "err"]
    return {rule["name"] for rule in rules if prometheus.values(rule["query"])} - _OF_THE_MACHINE


def test_a_daemon_that_is_well_meets_no_alert(seen: Seen) -> None:
    assert not seen.met_when_well


def test_a_daemon_in_trouble_meets_the_alerts_of_its_trouble(seen: Seen) -> None:
    assert seen.met_in_trouble == {
        "SpooldDeadLetters", "SpooldInvalidEvents", "SpooldLaneDown", "SpooldManyRetries"
    }  # fmt: skip


def test_each_panel_has_data(seen: Seen) -> None:
    assert not [query for query, values in seen.shown.items() if not values]
    # A spool as small as this one needs no checkpoint.
    panels = {query.panel for query, values in seen.shown.items() if all(map(isnan, values))}
    assert panels <= {"Time of a checkpoint"}


def test_the_panels_show_what_is_true(seen: Seen) -> None:
    figures = {name: seen.of(name) for name in ("Daemons", "Lanes down or stopped", "Dead letters", "Ledger imbalance")}

    assert figures == {"Daemons": [1], "Lanes down or stopped": [1], "Dead letters": [1], "Ledger imbalance": [0]}
    # idle and down, as the panel's mapping has them
    assert sorted(seen.of("States")) == [0, 3]
