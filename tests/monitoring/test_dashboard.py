"""The dashboard has what Grafana needs, shows all that the daemon exports, and asks for nothing else."""

import itertools
import re

import pytest

from tests.monitoring.queries import Json, Query, dashboard, panels, queries, selectors, variable_queries
from tests.monitoring.scene import Page

_BOARD = dashboard()
_QUERIES = [*queries(_BOARD), *(Query("a variable", query) for query in variable_queries(_BOARD))]
#: What Grafana itself puts in.
_BUILT_IN = {"__rate_interval", "__range"}

each_panel = pytest.mark.parametrize("panel", panels(_BOARD), ids=lambda panel: panel["title"])


def cells(panel: Json) -> set[tuple[int, int]]:
    """The places of the grid that a panel takes."""
    place = panel["gridPos"]
    columns, lines = range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
    return set(itertools.product(columns, lines))


def test_it_shows_every_metric_that_the_daemon_exports(page: Page) -> None:
    shown = {page.family(selector.series) for query in queries(_BOARD) for selector in selectors(query.expression)}

    assert shown == set(page.families)


@pytest.mark.parametrize("query", _QUERIES, ids=lambda query: query.panel)
def test_it_asks_only_for_what_is_exported(page: Page, query: Query) -> None:
    found = list(selectors(query.expression))

    assert found
    assert not [selector for selector in found if not page.has(selector)]


def test_it_can_be_provisioned() -> None:
    assert (_BOARD["uid"], _BOARD["title"], _BOARD["id"]) == ("spoold", "spoold", None)
    # What an export for sharing has: nobody is asked to fill it in.
    assert not _BOARD.keys() & {"__inputs", "__requires"}


def test_its_rows_go_from_the_whole_to_the_parts() -> None:
    rows = [panel["title"] for panel in _BOARD["panels"] if panel["type"] == "row"]

    assert rows == ["At a glance", "The door", "The spool", "Lanes", "Commits"]


def test_each_panel_has_an_id_and_a_place_of_its_own() -> None:
    ids = [panel["id"] for panel in _BOARD["panels"]]
    taken = [cell for panel in _BOARD["panels"] for cell in cells(panel)]

    assert len(set(ids)) == len(ids)
    assert len(set(taken)) == len(taken)
    assert {column for column, _ in taken} == set(range(24))


@each_panel
def test_a_panel_says_what_it_shows(panel: Json) -> None:
    assert panel["title"]
    assert re.search(r"\.$|\. See: spoolctl [a-z ]+$", panel["description"])
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert all(target["legendFormat"] for target in panel["targets"])


@each_panel
def test_a_panel_asks_the_data_source_that_was_chosen(panel: Json) -> None:
    references = [target["refId"] for target in panel["targets"]]

    assert references
    assert len(set(references)) == len(references)
    for asking in (panel, *panel["targets"]):
        assert asking["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


@each_panel
def test_a_panel_shows_the_instances_and_lanes_that_were_chosen(page: Page, panel: Json) -> None:
    for target in panel["targets"]:
        for series, matchers in re.findall(r"(spoold_\w+)(?:\{([^}]*)\})?", target["expr"]):
            assert 'instance=~"$instance"' in matchers
            assert ('lane=~"$lane"' in matchers) == ("lane" in page.labels[series])


def test_the_variables_that_are_used_are_defined_and_no_others() -> None:
    variables = _BOARD["templating"]["list"]
    used = set(re.findall(r"\$\{?(\w+)", f"{_BOARD['panels']} {variables}"))

    assert [variable["name"] for variable in variables] == ["datasource", "instance", "lane"]
    assert used - _BUILT_IN - {"__all"} == {"datasource", "instance", "lane"}
