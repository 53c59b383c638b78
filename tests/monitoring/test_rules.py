"""The alert rules ask for what is exported, say what to do, and each is tested for firing and for being silent."""

import re

import pytest
import typer
from spoolctl.app import app

from spoold.config import load_config
from tests.monitoring.queries import (
    ROOT,
    RULES_TEST,
    SCRAPE,
    alerts,
    dashboard,
    expression_of,
    panels,
    rules_text,
    selectors,
)
from tests.monitoring.scene import Page

_ALERTS = alerts()


def commands() -> set[str]:
    """Each command line of spoolctl that an operator is told to run."""
    told = rules_text() + "\n".join(panel["description"] for panel in panels(dashboard()))
    return {" ".join(line.split()) for line in re.findall(r"\bspoolctl((?: (?:--)?[a-z-]+| \{\{.*?\}\})*)", told)}


def test_it_is_known_of_enough() -> None:
    """The parsing of this module finds what is in the file."""
    assert len(_ALERTS) == rules_text().count("alert:") > 15


@pytest.mark.parametrize("name", _ALERTS)
def test_an_alert_asks_only_for_what_is_exported(page: Page, name: str) -> None:
    expression = expression_of(_ALERTS[name])

    assert "spoold" in expression
    assert not [selector for selector in selectors(expression) if not page.has(selector)]


@pytest.mark.parametrize("name", _ALERTS)
def test_an_alert_says_how_bad_it_is_and_what_to_run_next(name: str) -> None:
    rule = _ALERTS[name]

    assert re.search(r"severity: (critical|warning)\n", rule)
    assert re.search(r"summary: .*\S", rule)
    assert re.search(r"description: .*\n(.*\n)* +Run: \S+", rule)


@pytest.mark.parametrize("name", _ALERTS)
def test_an_alert_is_tested_for_firing_and_for_being_silent(name: str) -> None:
    tests = RULES_TEST.read_text()

    assert re.search(rf"alertname: {name}\n +eval_time: \w+\n +exp_alerts:\n +- exp_labels:", tests)
    assert re.search(rf"alertname: {name}, eval_time: \w+, exp_alerts: \[\]", tests)


@pytest.mark.parametrize("line", sorted(commands()))
def test_what_an_operator_is_told_to_run_is_there(line: str) -> None:
    command = typer.main.get_command(app)
    words = line.split()
    while isinstance(command, typer.core.TyperGroup):
        assert words[:1], f"spoolctl {line}: which?"
        command = command.commands[words.pop(0)]
    options = {option for parameter in command.params for option in parameter.opts}

    assert not [word for word in words if word.startswith("--") and word not in options]


def test_the_example_scrapes_where_the_daemon_listens_by_default() -> None:
    config = load_config(ROOT / "packaging" / "spoold.toml", {"MIXPANEL_API_KEY": "token"}).config

    assert f"- {config.metrics.address}\n" in SCRAPE.read_text()
    assert "job_name: spoold\n" in SCRAPE.read_text()
