import json
import os
import socket
from pathlib import Path

import pytest
from pydantic import SecretStr

from spoold.config import LaneConfig, LoadedConfig, describe_config, load_config
from spoold.errors import ConfigError
from spoold.providers import mixpanel

SECRET = "s3cr3t-0123456789"
OTHER = "0ther-s3cr3t-98765"
EU = '[providers.eu]\nkind = "mixpanel"\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "spoold.toml"
    file.touch(mode=0o600)
    return file


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "mixpanel.key"
    path.touch(mode=0o600)
    path.write_text(f"{SECRET}\n")
    return path


@pytest.fixture
def credentials(tmp_path: Path) -> Path:
    directory = tmp_path / "credentials"
    directory.mkdir()
    return directory


def load(file: Path, toml: str, **environ: str) -> LoadedConfig:
    file.write_text(toml)
    return load_config(file, environ)


def refusal(file: Path, toml: str, **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(file, toml, **environ)
    return str(caught.value)


def names(loaded: LoadedConfig) -> list[str]:
    return [lane.name for lane in loaded.config.lanes]


def api_key(loaded: LoadedConfig) -> tuple[str | None, str]:
    """The first lane's key and where it came from."""
    lane = loaded.config.lanes[0]
    return lane.api_key.get_secret_value() if lane.api_key else None, loaded.sources[f"providers.{lane.name}.api_key"]


@pytest.mark.parametrize(
    ("toml", "selection", "lanes"),
    [
        ("", "", ["mixpanel"]),
        ("", "mixpanel", ["mixpanel"]),
        ("", " Mixpanel , mixpanel,", ["mixpanel"]),
        (EU, "", ["eu"]),
        (EU, "eu", ["eu"]),
        (EU, "mixpanel", ["mixpanel"]),
        (EU, "mixpanel,eu", ["eu", "mixpanel"]),
        (f"[providers.mixpanel]\n{EU}", "", ["mixpanel", "eu"]),
        (f"{EU}[providers.mixpanel]", "", ["eu", "mixpanel"]),
        (f"{EU}[providers.crm]\nkind = 'webhook'", "eu", ["eu"]),
        ("[providers]", "", ["mixpanel"]),
    ],
)
def test_tables_define_the_lanes_and_the_variable_selects(
    file: Path, toml: str, selection: str, lanes: list[str]
) -> None:
    assert names(load(file, toml, ANALYTICS_PROVIDER=selection, TEST_MODE="1")) == lanes


@pytest.mark.parametrize(
    ("toml", "reason"),
    [
        ("[providers.posthog]", "a kind 'posthog' is not available in this version; available: amplitude, mixpanel"),
        (
            "[providers.crm]\nkind = 'posthog'",
            'providers.crm.kind = "posthog" (FILE): is not available in this version',
        ),
        ("[providers.crm]\nkind = 5", "providers.crm.kind = 5 (FILE): is not available in this version"),
        ("providers.crm = 'x'", "providers.crm (FILE): must be a table: [providers.crm]"),
    ],
)
def test_a_lane_of_no_available_kind_is_refused(file: Path, toml: str, reason: str) -> None:
    assert reason in refusal(file, toml).replace(f"file {file}", "FILE")


def test_kinds_come_from_the_caller(file: Path) -> None:
    file.write_text("[providers.crm]\nkind = 'webhook'\napi_key = 'x'")

    assert load_config(file, {}, kinds={"webhook": mixpanel.KIND}).config.lanes[0].kind == "webhook"


def test_environment_beats_credential_beats_key_file(file: Path, key_file: Path, credentials: Path) -> None:
    toml = f"[providers.mixpanel]\napi_key_file = '{key_file}'"
    assert api_key(load(file, toml)) == (SECRET, f"key file {key_file}")

    (credentials / "mixpanel_api_key").write_text("from-systemd\n")
    (credentials / "mixpanel_api_key").chmod(0o400)
    loaded = load(file, toml, CREDENTIALS_DIRECTORY=str(credentials))
    assert api_key(loaded) == ("from-systemd", "credential mixpanel_api_key")

    loaded = load(file, toml, CREDENTIALS_DIRECTORY=str(credentials), MIXPANEL_API_KEY=" from-env\n")
    assert api_key(loaded) == ("from-env", "environment variable MIXPANEL_API_KEY")
    assert loaded.warnings == ()


def test_environment_and_credential_beat_a_key_in_the_file(file: Path, credentials: Path) -> None:
    toml = f"[providers.mixpanel]\napi_key = '{SECRET}'"
    assert api_key(load(file, toml)) == (SECRET, f"file {file}")
    assert api_key(load(file, toml, MIXPANEL_API_KEY="from-env"))[0] == "from-env"

    (credentials / "mixpanel_api_key").write_text("from-systemd")
    assert api_key(load(file, toml, CREDENTIALS_DIRECTORY=str(credentials)))[0] == "from-systemd"


def test_variables_and_credentials_go_by_the_name_of_the_lane(file: Path, credentials: Path) -> None:
    (credentials / "b_api_key").write_text(OTHER)
    toml = "[providers.eu-1]\nkind = 'mixpanel'\n[providers.b]\nkind = 'mixpanel'"

    loaded = load(file, toml, EU_1_API_KEY=SECRET, EU_1_ENDPOINT="http://eu", CREDENTIALS_DIRECTORY=str(credentials))

    eu, other = loaded.config.lanes
    assert (eu.api_key, eu.endpoint) == (SecretStr(SECRET), "http://eu")
    assert (other.api_key, other.endpoint) == (SecretStr(OTHER), None)


def test_a_missing_credential_is_refused_with_the_ways_to_give_one(file: Path) -> None:
    text = refusal(file, EU)

    assert text.startswith("providers.eu.api_key: is missing: set providers.eu.api_key_file")
    assert "EU_API_KEY" in text
    assert "systemd credential named eu_api_key" in text


def test_two_credentials_in_the_file_are_refused_even_under_a_variable(file: Path, key_file: Path) -> None:
    toml = f"{EU}api_key = '{SECRET}'\napi_key_file = '{key_file}'"

    assert "stands beside api_key_file" in refusal(file, toml, EU_API_KEY="x")


def test_test_mode_needs_no_credential_and_no_file(file: Path) -> None:
    loaded = load(file, f"{EU}api_key_file = '/no/key'\nca_file = '/no/ca.pem'", TEST_MODE="true")

    assert api_key(loaded) == (None, "default")
    assert [text.partition(" ")[0] for text in loaded.warnings] == ["providers.eu.api_key_file", "providers.eu.ca_file"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "is empty"), (b" \n", "is empty"), (b"\xff\xfe", "not UTF-8"), (b"two words", "without blanks or control")],
)
def test_a_key_file_without_a_usable_key_is_refused(file: Path, key_file: Path, content: bytes, reason: str) -> None:
    key_file.write_bytes(content)

    text = refusal(file, f"{EU}api_key_file = '{key_file}'")

    assert reason in text
    assert f"key file {key_file}" in text
    assert "words" not in text


def test_a_key_file_that_can_not_be_read_is_refused_with_the_cause(file: Path, tmp_path: Path) -> None:
    assert "can't be read: No such file or directory" in refusal(file, f"{EU}api_key_file = '{tmp_path}/none'")
    assert "can't be read: Is a directory" in refusal(file, f"{EU}api_key_file = '{tmp_path}'")
    # A socket stands for what even root can't open.
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{tmp_path}/s")
        assert "can't be read: No such device or address" in refusal(file, f"{EU}api_key_file = '{tmp_path}/s'")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_key_file_of_somebody_else_is_refused(file: Path, key_file: Path) -> None:
    key_file.chmod(0)

    assert "can't be read: Permission denied" in refusal(file, f"{EU}api_key_file = '{key_file}'")


def test_a_bad_credential_is_refused_and_not_passed_over(file: Path, key_file: Path, credentials: Path) -> None:
    (credentials / "eu_api_key").mkdir()

    text = refusal(file, f"{EU}api_key_file = '{key_file}'", CREDENTIALS_DIRECTORY=str(credentials))

    assert "providers.eu.api_key (credential eu_api_key): can't be read: Is a directory" in text


@pytest.mark.parametrize(("mode", "is_exposed"), [(0o644, True), (0o604, True), (0o640, False), (0o600, False)])
def test_a_key_that_everyone_can_read_is_warned_about(
    file: Path, key_file: Path, mode: int, *, is_exposed: bool
) -> None:
    key_file.chmod(mode)

    warnings = load(file, f"{EU}api_key_file = '{key_file}'").warnings

    advice = f"readable by everyone (mode {mode:04o}): chmod {mode & ~7:04o} {key_file}"
    assert [advice in warning for warning in warnings] == [True] * is_exposed


def test_a_configuration_file_that_holds_a_key_is_warned_about_too(file: Path) -> None:
    file.chmod(0o644)

    assert f"chmod 0640 {file}" in load(file, f"{EU}api_key = '{SECRET}'").warnings[0]
    assert load(file, EU, EU_API_KEY=SECRET).warnings == ()


@pytest.mark.parametrize(
    "toml",
    [
        f"api_key = '{SECRET} x'",
        f"api_key = ['{SECRET}']",
        f"api_key_file = '{SECRET}'",
        f"apikey = '{SECRET}'",
        f"secret = '{SECRET}'",
        f"endpoint = 'https://me:{SECRET}@x'",
        f"endpoint = 'https://x?token={SECRET}'",
        f"proxy = 'ftp://me:{SECRET}@x'",
        f"proxy = 'http://me:{SECRET}@x/path'",
        f"[spool]\nurl = 'postgresql://me:{SECRET}@x/db'",
        f"[spool]\n{SECRET} = ",
        f"[providers.us]\nkind = 'mixpanel'\napi_key = '{SECRET}'\napi_key_file = '/x'",
    ],
)
def test_no_refusal_shows_a_secret(file: Path, toml: str) -> None:
    file.write_text(f"{EU}{toml}")
    with pytest.raises(ConfigError) as caught:
        load_config(file, {"EU_API_KEY": ""})

    assert SECRET not in f"{caught.value} {caught.value!r}"
    assert (caught.value.__cause__, caught.value.__context__) == (None, None) or "TOML" in str(caught.value)


def test_no_description_shows_a_secret(file: Path) -> None:
    loaded = load(file, f"{EU}proxy = 'http://me:{OTHER}@proxy:3128'", EU_API_KEY=SECRET)

    shown = json.dumps(describe_config(loaded)) + repr(loaded) + str(loaded)

    assert SECRET not in shown
    assert OTHER not in shown
    assert ("providers.eu.api_key", "********", "environment variable EU_API_KEY") in describe_config(loaded)
    assert ("providers.eu.proxy", "http://********@proxy:3128", f"file {file}") in describe_config(loaded)
    assert loaded.config.secrets == (SECRET, OTHER)


def test_a_key_that_is_not_set_is_described_as_null(file: Path) -> None:
    described = {key: value for key, value, _ in describe_config(load(file, "", TEST_MODE="1"))}

    assert described["providers.mixpanel.api_key"] is None


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("MIXPANEL_APIKEY", "MIXPANEL_API_KEY"),
        ("BATCHSIZE", "BATCH_SIZE"),
        ("batch_size", "BATCH_SIZE"),
        ("GRPC_PROT", "GRPC_PORT"),
        ("SPOOL_URI", "SPOOL_URL"),
        ("MAX_RETRY_DELAY", "MAX_RETRY_DELAY_MS"),
        ("ANALYTICS_PROVIDERS", "ANALYTICS_PROVIDER"),
    ],
)
def test_a_near_miss_of_a_variable_is_warned_about(file: Path, name: str, meant: str) -> None:
    (warning,) = load(file, "test_mode = true", **{name: SECRET}).warnings

    assert warning == f"environment variable {name} has no meaning here; did you mean {meant}?"


@pytest.mark.parametrize(
    "name",
    ["HOSTNAME", "HOSTS", "GHOST", "PORT", "LANG", "PATH", "HOME", "OTEL_LOG_LEVEL", "RUST_LOG", "SSH_TTY",
     "AWS_API_KEY", "DD_API_KEY", "SPOOLCTL_SOCKET", "NOTIFY_SOCKET", "LISTEN_FDS", "INVOCATION_ID"],
)  # fmt: skip
def test_other_programs_variables_are_left_alone(file: Path, name: str) -> None:
    assert load(file, "test_mode = true\n[providers.us]\nkind = 'mixpanel'", **{name: "x"}).warnings == ()


def test_a_near_miss_beside_the_right_name_is_left_alone(file: Path) -> None:
    assert load(file, "test_mode = true", BATCH_SIZE="5", BATCH_SIZES="5").warnings == ()


def test_a_key_for_a_lane_that_is_not_there_is_warned_about(file: Path) -> None:
    (warning,) = load(file, EU, EU_API_KEY=SECRET, MIXPANEL_API_KEY=OTHER).warnings

    assert warning == "environment variable MIXPANEL_API_KEY has no effect: no lane is named mixpanel"


def test_a_lane_built_in_code_obeys_the_same_rules() -> None:
    lane = LaneConfig(name="a", kind="mixpanel", api_key=SecretStr(SECRET), endpoint="http://127.0.0.1:1")

    assert lane.endpoint == "http://127.0.0.1:1"
    with pytest.raises(ValueError, match="is no name for a lane"):
        LaneConfig(name="A", kind="mixpanel")


def test_a_lane_built_in_code_shows_no_secret_either() -> None:
    with pytest.raises(ValueError, match="without blanks") as caught:
        LaneConfig.model_validate({"name": "a", "kind": "mixpanel", "api_key": f"{SECRET} "})

    assert SECRET not in str(caught.value)
