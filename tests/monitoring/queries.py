"""What the dashboard and the rules ask for."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "packaging" / "grafana" / "spoold.json"
RULES = ROOT / "packaging" / "prometheus" / "spoold.rules.yml"
RULES_TEST = RULES.with_name("spoold.rules.test.yml")
SCRAPE = RULES.with_name("scrape.yml")

Json = dict[str, Any]

#: What Grafana puts in: all of a variable's values, and times that follow from the time range.
_VARIABLES = {"$instance": ".*", "$lane": ".*", "$__rate_interval": "1m", "$__range": "1h"}


class Selector(NamedTuple):
    """A series that is asked for.

    Attributes:
        matchers: (label, value) pairs; of a regular expression each alternative.
    """

    series: str
    matchers: tuple[tuple[str, str], ...]


class Query(NamedTuple):
    """An expression of a panel, as Prometheus gets it."""

    panel: str
    expression: str


def dashboard() -> Json:
    """The dashboard."""
    found: Json = json.loads(DASHBOARD.read_text())
    return found


def panels(board: Json) -> list[Json]:
    """Its panels, without the rows that they stand in."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def queries(board: Json) -> list[Query]:
    """All that its panels ask for."""
    return [Query(panel["title"], _filled_in(target["expr"])) for panel in panels(board) for target in panel["targets"]]


def variable_queries(board: Json) -> list[str]:
    """What its variables ask for."""
    variables = board["templating"]["list"]
    return [_filled_in(variable["query"]["query"]) for variable in variables if variable["type"] == "query"]


def rules_text() -> str:
    """The alert rules without their comments."""
    return re.sub(r"^ *#.*\n", "", RULES.read_text(), flags=re.MULTILINE)


def alerts() -> dict[str, str]:
    """The text of each alert rule, by its name."""
    _, *blocks = re.split(r"^ +- alert: ", rules_text(), flags=re.MULTILINE)
    return {block.split("\n", 1)[0]: block for block in blocks}


def expression_of(rule: str) -> str:
    """What an alert rule asks for."""
    found = re.search(r"^ +expr: (?:>-\n)?((?:.|\n)*?)^ +(?:for|labels):", rule, re.MULTILINE)
    assert found, rule
    return found[1]


def selectors(text: str) -> Iterator[Selector]:
    """The daemon's series that expressions name."""
    for series, matchers in re.findall(r"\b(spoold_\w+)(?:\{([^}]*)\})?", text):
        pairs = re.findall(r'(\w+)(?:=|!=|=~|!~)"([^"]*)"', matchers)
        yield Selector(series, tuple((label, one) for label, value in pairs for one in value.split("|")))


def _filled_in(expression: str) -> str:
    for name, value in _VARIABLES.items():
        expression = expression.replace(name, value)
    return expression
