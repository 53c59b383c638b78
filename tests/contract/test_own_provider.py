"""The README's provider, installed as its pyproject.toml says, and held to the contract as its owner would do it."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from spoold.config import LaneConfig
from spoold.providers.registry import ENTRY_POINT_GROUP, Kinds

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "README.md").read_text().partition("### A kind of your own\n")[2].partition("\n## ")[0]
SUITE = "tests/contract/test_provider_contract.py"


def block(language: str, holding: str) -> str:
    (text,) = [text for text in re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL) if holding in text]
    return str(text)


CODE = block("python", "KIND")
PROJECT: dict[str, Any] = tomllib.loads(block("toml", "[project]"))

#: What an owner may get wrong, and the test that says so.
MISTAKES = [
    ('"data": event.properties', '"data": str(event.properties)', "the_order_in_which_properties_came_does_not_matter"),
    ("canonical_json(\n", "b'7' + canonical_json(\n", "every_part_is_one_json_object_for_a_known_route"),
    ("if len(part) + 2 > MAX_BODY_BYTES:", "if not part:", "an_event_too_large_for_any_request_is_unsendable"),
    ("reply.status == 200", "reply.status < 400", "nothing_is_delivered_by_a_status_that_is_neither_a_success_nor_400"),
    ("secrets=[self._key]", "secrets=[]", "no_reason_is_empty_long_or_secret"),
    ("reply.status in (401, 403)", "int(reply.body)", "any_reply_has_an_outcome_whose_indexes_and_waits_make_sense"),
    ("common_outcome(reply, [self._key]) or ", "", "a_wrong_host_or_path_stops_the_lane"),
    ("(self._url,", "(f'{self._url}?{stamp[0]}',", "a_later_attempt_differs_in_nothing_but_what_tells_its_time"),
    (
        "(parts)",
        "(b'{\"at\":%d}' % stamp.now_ms for _ in parts)",
        "a_later_attempt_differs_in_nothing_but_what_tells_its_time",
    ),
    ('{"Authorization":', '{"Batch": stamp.batch_id, "A":', "a_batch_is_named_only_where_its_events_stay_together"),
    ('{"Authorization":', '{"A": str(id(self)), "B":', "the_same_parts_make_the_same_request_at_any_start"),
    ('"application/json"', '"a\\nb"', "a_request_arrives_as_it_was_made"),
    ('default="live"', 'default="dev"', "the_default_of_an_option_is_a_value_that_it_may_have"),
    ('{"channel": O', '{"proxy": Option(), "channel": O', "the_keys_of_a_kind_are_plain_words_that_no_lane_has_anyway"),
    ('"https://collect.eu.acme.example"', '"eu.acme.example"', "the_endpoints_of_a_kind_are_base_urls"),
    ('checked_url(settings.endpoint, "endpoint")', '"http://acme"', "requests_go_to_the_host_that_the_lane_names"),
]


def install(site: Path, code: str, kind: str = "acme") -> None:
    """What pip would put there, under another name if need be."""
    (entry,) = PROJECT["project"]["entry-points"][ENTRY_POINT_GROUP].items()
    (module,) = PROJECT["tool"]["setuptools"]["py-modules"]
    name, version = PROJECT["project"]["name"], PROJECT["project"]["version"]
    assert entry == ("acme", f"{module}:KIND")
    (site / f"{module.replace('acme', kind)}.py").write_text(code)
    folder = site / f"{name.replace('acme', kind).replace('-', '_')}-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.replace('acme', kind)}\nVersion: {version}\n")
    (folder / "entry_points.txt").write_text(f"[{ENTRY_POINT_GROUP}]\n{kind} = {entry[1].replace('acme', kind)}\n")


def run_contract(site: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """The command of the README, without a trace in this checkout."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", SUITE, *options]
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "HYPOTHESIS_STORAGE_DIRECTORY": str(site / "hypothesis")}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100, check=False)


def test_the_provider_of_the_readme_holds_the_contract(tmp_path: Path) -> None:
    install(tmp_path, CODE)

    run = run_contract(tmp_path, "--kind", "acme", "--set", 'channel = "test"')

    assert run.returncode == 0, run.stdout
    assert re.search(r"^[0-9]{2} passed", run.stdout, re.MULTILINE)


def test_each_mistake_is_found_by_the_test_of_that_promise(tmp_path: Path) -> None:
    chosen = {f"acme{number:02}": test for number, (_, _, test) in enumerate(MISTAKES)}
    for kind, (good, bad, _) in zip(chosen, MISTAKES, strict=True):
        assert CODE.count(good) == 1, good
        install(tmp_path, CODE.replace(good, bad), kind)

    kinds = [option for kind in chosen for option in ("--kind", kind)]
    run = run_contract(tmp_path, *kinds, "-k", " or ".join(f"({kind} and {test})" for kind, test in chosen.items()))

    failed = {(kind, test) for test, kind in re.findall(r"^FAILED \S+::test_(\w+)\[(acme..)", run.stdout, re.MULTILINE)}
    assert failed == set(chosen.items()), run.stdout[-2_000:]


def test_a_kind_that_is_not_installed_is_said_in_a_sentence(tmp_path: Path) -> None:
    run = run_contract(tmp_path, "--kind", "acme")

    assert run.returncode == 4
    assert "--kind acme: is not installed; there are: " in run.stdout


def test_the_lane_of_the_readme_has_keys_that_its_kind_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, CODE)
    monkeypatch.syspath_prepend(str(tmp_path))
    (table,) = tomllib.loads(block("toml", "[providers."))["providers"].values()
    kind = Kinds()["acme"]

    assert table.pop("region") in kind.regions
    assert table.pop("channel") in kind.options["channel"].choices
    assert table.keys() <= {str(field.validation_alias or name) for name, field in LaneConfig.model_fields.items()}
