"""Third-party providers are real distributions in a temporary directory on sys.path."""

from pathlib import Path

import pytest

from spoold.errors import ConfigError
from spoold.providers.base import Kind, ProviderSettings
from spoold.providers.mixpanel import KIND, Mixpanel
from spoold.providers.registry import Kinds, build_provider


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


SETTINGS = ProviderSettings("http://h", "hidden")


def test_mixpanel_is_built_in() -> None:
    assert "mixpanel" in Kinds()
    assert Kinds()["mixpanel"] is KIND
    assert isinstance(build_provider("mixpanel", KIND, SETTINGS), Mixpanel)


def test_the_names_are_sorted_and_counted() -> None:
    kinds = Kinds()
    assert list(kinds) == sorted(kinds)
    assert len(kinds) == len(list(kinds))


def test_an_unknown_kind_is_none() -> None:
    assert "mixpnael" not in Kinds()
    with pytest.raises(KeyError, match="mixpnael"):
        Kinds()["mixpnael"]


def test_a_bad_endpoint_is_refused() -> None:
    with pytest.raises(ConfigError, match="endpoint"):
        build_provider("mixpanel", KIND, ProviderSettings("nonsense", "tok"))


def test_a_package_adds_a_kind(site: Path) -> None:
    code = (
        "from spoold.providers.base import Kind\n"
        "class Carrier:\n    def __init__(self, settings):\n        self.given = settings\n"
        "KIND = Kind(Carrier, endpoint='http://carrier.example')\n"
    )
    install(site, "acme-carrier", "carrier", "acme_carrier:KIND", code)
    assert {"mixpanel", "carrier"} <= set(Kinds())
    kind = Kinds()["carrier"]
    assert kind.endpoint == "http://carrier.example"
    assert vars(build_provider("carrier", kind, SETTINGS)) == {"given": SETTINGS}


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("acme_missing:Nothing", ""),
        ("acme_raises:Nothing", "raise RuntimeError('hidden')"),
        ("acme_empty:Nothing", "x = 1"),
        ("acme_no_kind:make", "def make(settings): ..."),
    ],
)
def test_a_broken_package_is_named_only_when_its_kind_is_used(site: Path, value: str, code: str) -> None:
    install(site, "acme-broken", "broken", value, code)
    assert "broken" in Kinds()
    with pytest.raises(ConfigError, match=r"'broken' comes from the package acme-broken 1\.2") as caught:
        Kinds()["broken"]
    assert "hidden" not in str(caught.value)


def test_code_that_fails_is_named_without_what_it_said() -> None:
    def fail(settings: ProviderSettings) -> Mixpanel:
        raise ValueError(settings.credential)

    with pytest.raises(ConfigError, match=r"'own' can't be built from these settings: ValueError in .*fail") as caught:
        build_provider("own", Kind(fail), SETTINGS)
    assert "hidden" not in str(caught.value)


def test_two_packages_of_one_kind_are_both_named(site: Path) -> None:
    install(site, "acme-one", "carrier", "acme_one:KIND")
    install(site, "acme-two", "carrier", "acme_two:KIND")
    with pytest.raises(ConfigError, match=r"acme-one 1\.2 and the package acme-two 1\.2; remove one"):
        Kinds()["carrier"]


def test_a_package_can_not_replace_a_built_in_kind(site: Path) -> None:
    install(site, "acme-mixpanel", "mixpanel", "acme_mixpanel:KIND", "raise RuntimeError")
    assert Kinds()["mixpanel"] is KIND
