"""The provider contract on any installed kind: ``pytest tests/contract/test_provider_contract.py --kind acme``."""

import tomllib
from collections.abc import Mapping

import pytest

from spoold.errors import ConfigError
from spoold.providers import registry
from spoold.providers.base import Kind, ProviderSettings

#: For kinds that have no default endpoint.
ENDPOINT = "https://provider.example/hook"
#: For kinds that need a credential; of the shape that Standard Webhooks wants, which is the strictest.
SECRET = "whsec_c3Bvb2xkLXMzY3IzdC1rM3ktMDEyMzQ1Njc4OWFiY2RlZg=="


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kind",
        action="append",
        default=[],
        help="run the provider contract on this installed kind instead of the built-in ones; may be repeated",
    )
    parser.addoption(
        "--set",
        action="append",
        default=[],
        metavar="LINE",
        help="a line of its lane's table that the kind can't do without, such as 'project = 7'; may be repeated",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "kind_name" in metafunc.fixturenames:
        names = metafunc.config.getoption("--kind") or sorted(registry._BUILT_IN)
        metafunc.parametrize("kind_name", names, scope="module")


@pytest.fixture(scope="module")
def kind(kind_name: str) -> Kind:
    """The kind under test, looked up as a lane's is."""
    try:
        return registry.Kinds()[kind_name]
    except KeyError:
        pytest.exit(f"--kind {kind_name}: is not installed; there are: {', '.join(registry.Kinds())}", returncode=4)
    except ConfigError as exc:
        pytest.exit(f"--kind {kind_name}: {exc}", returncode=4)


@pytest.fixture(scope="module")
def lane_settings(kind: Kind, request: pytest.FixtureRequest) -> ProviderSettings:
    """What a lane of the kind would be built from: defaults, and the lines given with ``--set``."""
    try:
        table: Mapping[str, str] = tomllib.loads("\n".join(request.config.getoption("--set")))
    except tomllib.TOMLDecodeError as exc:
        pytest.exit(f"--set: not as it would stand in the lane's table: {exc}", returncode=4)
    unknown = table.keys() - kind.options.keys() - {"endpoint", kind.credential}
    if unknown:
        pytest.exit(f"--set: the kind has no {', '.join(sorted(unknown))}", returncode=4)
    options = {name: table.get(name, option.default) for name, option in kind.options.items()}
    return ProviderSettings(
        table.get("endpoint", kind.endpoint or ENDPOINT), table.get(kind.credential, SECRET), options
    )
