"""What promtool says of the rules, of each panel's expression, and of what a daemon exports."""

import json
from pathlib import Path

import pytest

from tests.monitoring.prometheus import find_missing, promtool
from tests.monitoring.queries import RULES, RULES_TEST, dashboard, queries
from tests.monitoring.scene import Page

_MISSING = find_missing()

pytestmark = pytest.mark.skipif(_MISSING is not None, reason=_MISSING or "")


def test_the_rules_are_valid() -> None:
    assert "SUCCESS" in promtool("check", "rules", "--lint-fatal", RULES)


def test_each_alert_fires_and_is_silent_when_it_should() -> None:
    assert "SUCCESS" in promtool("test", "rules", RULES_TEST)


def test_the_expressions_of_the_dashboard_are_valid(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:expression:{number}", "expr": query.expression}
        for number, query in enumerate(queries(dashboard()))
    ]
    path = tmp_path / "panels.yml"
    # JSON is YAML.
    path.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))

    assert f"{len(rules)} rules found" in promtool("check", "rules", "--lint-fatal", path)


def test_the_metrics_have_the_names_and_texts_that_prometheus_wants(page: Page) -> None:
    assert not promtool("check", "metrics", text=page.text)
