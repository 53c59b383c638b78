"""Third-party providers are real distributions in a temporary directory on sys.path."""

from pathlib import Path

import pytest

from spoold.errors import ConfigError
from spoold.providers.mixpanel import Mixpanel
from spoold.providers.registry import build_provider, known_kinds


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def install(site: Path, distribution: str, kind: str, value: str, code: str = "") -> None:
    """Put a package on the path that adds ``kind``."""
    folder = site / f"{distribution.replace('-', '_')}-1.2.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
    (folder / "entry_points.txt").write_text(f"[spoold.providers]\n{kind} = {value}\n")
    if code:
        (site / f"{value.partition(':')[0]}.py").write_text(code)


def test_mixpanel_is_built_in() -> None:
    assert "mixpanel" in known_kinds()
    provider = build_provider("mixpanel", endpoint=None, api_key="tok")
    assert isinstance(provider, Mixpanel)


def test_an_unknown_kind_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"kind: 'mixpnael' is not one of .*mixpanel"):
        build_provider("mixpnael", endpoint=None, api_key="tok")


def test_a_bad_endpoint_is_refused() -> None:
    with pytest.raises(ConfigError, match="endpoint"):
        build_provider("mixpanel", endpoint="nonsense", api_key="tok")


def test_a_package_adds_a_kind(site: Path) -> None:
    code = "class Carrier:\n    def __init__(self, endpoint, api_key):\n        self.given = (endpoint, api_key)\n"
    install(site, "acme-carrier", "carrier", "acme_carrier:Carrier", code)
    assert {"mixpanel", "carrier"} <= set(known_kinds())
    provider = build_provider("carrier", endpoint="http://h", api_key="k")
    assert vars(provider) == {"given": ("http://h", "k")}


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("acme_missing:Nothing", ""),
        ("acme_raises:Nothing", "raise RuntimeError('hidden')"),
        ("acme_empty:Nothing", "x = 1"),
        ("acme_wants_more:make", "def make(*, endpoint, api_key, colour): ..."),
        ("acme_fails:make", "def make(*, endpoint, api_key): raise ValueError(api_key)"),
    ],
)
def test_a_broken_package_is_named_only_when_its_kind_is_used(site: Path, value: str, code: str) -> None:
    install(site, "acme-broken", "broken", value, code)
    assert "broken" in known_kinds()
    build_provider("mixpanel", endpoint=None, api_key="tok")
    with pytest.raises(ConfigError, match=r"'broken' comes from the package acme-broken 1\.2") as caught:
        build_provider("broken", endpoint=None, api_key="hidden")
    assert "hidden" not in str(caught.value)


def test_two_packages_of_one_kind_are_both_named(site: Path) -> None:
    install(site, "acme-one", "carrier", "acme_one:Carrier")
    install(site, "acme-two", "carrier", "acme_two:Carrier")
    with pytest.raises(ConfigError, match=r"acme-one 1\.2 and the package acme-two 1\.2; remove one"):
        build_provider("carrier", endpoint=None, api_key="tok")


def test_a_package_can_not_replace_a_built_in_kind(site: Path) -> None:
    install(site, "acme-mixpanel", "mixpanel", "acme_mixpanel:Fake", "raise RuntimeError")
    assert isinstance(build_provider("mixpanel", endpoint=None, api_key="tok"), Mixpanel)
