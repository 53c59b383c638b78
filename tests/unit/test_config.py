import json
import re
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from spoold.config import BatchConfig, Config, LoadedConfig, RetryConfig, describe_config, load_config
from spoold.errors import ConfigError
from spoold.providers.registry import Kinds

PACKAGED = Path(__file__).parents[2] / "packaging" / "spoold.toml"
KEY = {"MIXPANEL_API_KEY": "s3cr3t-0123456789"}


def load(tmp_path: Path, toml: str = "", environ: dict[str, str] | None = None) -> LoadedConfig:
    """Load ``toml`` with a key for the lane mixpanel, unless ``environ`` says otherwise."""
    file = tmp_path / "spoold.toml"
    file.write_text(toml)
    file.chmod(0o600)
    return load_config(file, KEY if environ is None else environ)


def refusal(tmp_path: Path, toml: str = "", environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, toml, environ)
    return str(caught.value)


def test_packaged_config_equals_the_defaults(tmp_path: Path) -> None:
    packaged = load_config(PACKAGED, KEY).config
    defaults = load(tmp_path).config

    assert packaged.ingest.host == "127.0.0.1"
    assert defaults.ingest.host == "0.0.0.0"
    ingest = packaged.ingest.model_copy(update={"host": defaults.ingest.host})
    assert packaged.model_copy(update={"ingest": ingest}) == defaults


@pytest.mark.parametrize("other", ["region", "endpoint"])
def test_every_commented_key_of_the_packaged_file_is_real(tmp_path: Path, other: str) -> None:
    uncommented = re.sub(r"(?m)^#(?=\[|[a-z_]+ = )", "", PACKAGED.read_text())
    one_of_two = re.sub(rf"(?m)^{other} = .*(us|api\.mixpanel\.com)\"$", "", uncommented)

    config = load(tmp_path, one_of_two, {"TEST_MODE": "true"}).config

    assert [lane.name for lane in config.lanes] == ["mixpanel", "second-project", "amplitude", "segment", "crm"]
    assert config.ingest.socket == Path("/run/spoold/ingest.sock")


def test_every_commented_key_of_the_packaged_file_shows_its_default(tmp_path: Path) -> None:
    lane = re.search(r"(?s)#\[providers\.mixpanel\].*?(?=\n# Another project)", PACKAGED.read_text())
    assert lane is not None
    uncommented = re.sub(r"(?m)^#(?=\[|[a-z_]+ = )", "", lane[0])
    plain = re.sub(r"(?m)^(region|endpoint|api_key_file|ca_file|proxy) = .*", "", uncommented)

    assert load(tmp_path, plain).config == load(tmp_path).config


def test_every_key_is_in_the_packaged_file_in_the_order_of_the_description() -> None:
    written, table = [], ""
    for line in PACKAGED.read_text().splitlines():
        if match := re.match(r"#?\[(providers\.mixpanel[.a-z]*|\w+)\]", line):
            table = f"{match[1]}."
        elif line.startswith("#[providers.second"):
            break
        elif match := re.match(r"#?([a-z_]+) = ", line):
            written.append(f"{table}{match[1]}")

    described = [key for key, _, _ in describe_config(load_config(PACKAGED, KEY))]
    assert set(written) == set(described) - {"providers.mixpanel.api_key"}
    in_tables = [key for key in written if not key.startswith("providers.")]
    assert in_tables == [key for key in described if key in in_tables]


def test_every_key_of_the_kinds_is_in_the_packaged_file() -> None:
    kinds = [Kinds()[name] for name in Kinds()]

    names = {name for kind in kinds for name in (f"{kind.credential}_file", *kind.options)}
    assert not [name for name in names if f"\n#{name} = " not in PACKAGED.read_text()]


@pytest.mark.parametrize(
    ("variable", "text", "key", "value"),
    [
        ("BATCH_SIZE", "7", "batch.size", 7),
        ("FLUSH_INTERVAL_SECONDS", "3", "batch.interval", "3s"),
        ("MAX_RETRY_ATTEMPTS", "9", "retry.max_attempts", 9),
        ("INITIAL_RETRY_DELAY_MS", "250", "retry.initial_delay", "250ms"),
        ("MAX_RETRY_DELAY_MS", "60000", "retry.max_delay", "1m"),
        ("TEST_MODE", "On", "test_mode", True),
        ("HOST", "::1", "ingest.host", "::1"),
        ("GRPC_PORT", "0", "ingest.port", 0),
        ("LOG_LEVEL", "WARNING", "log.level", "warning"),
        ("LOG_FORMAT", "console", "log.format", "console"),
        ("SPOOL_URL", "sqlite:///data/spool", "spool.url", "sqlite:///data/spool"),
        ("ADMIN_SOCKET", "/tmp/admin.sock", "admin.socket", "/tmp/admin.sock"),
        ("METRICS_ADDRESS", "[::1]:9000", "metrics.address", "[::1]:9000"),
        ("METRICS_ADDRESS", "", "metrics.address", ""),
        (
            "MIXPANEL_ENDPOINT",
            "https://api-eu.mixpanel.com/",
            "providers.mixpanel.endpoint",
            "https://api-eu.mixpanel.com",
        ),
    ],
)
def test_a_variable_overrides_the_file(variable: str, text: str, key: str, value: object) -> None:
    loaded = load_config(PACKAGED, {**KEY, variable: text})

    assert (key, value, f"environment variable {variable}") in describe_config(loaded)


def test_a_variable_that_is_empty_counts_as_not_set(tmp_path: Path) -> None:
    loaded = load(tmp_path, "batch.size = 7", {**KEY, "BATCH_SIZE": " ", "HOST": "", "ANALYTICS_PROVIDER": ""})

    assert loaded.config.batch.size == 7
    assert loaded.sources["batch.size"] == f"file {tmp_path}/spoold.toml"
    assert loaded.sources["ingest.host"] == "default"


def test_durations_and_sizes_take_units(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        """
        shutdown_timeout = 5
        spool = { max_bytes = "1GiB", min_free_bytes = 0, retention = "7d" }
        batch.interval = "1500ms"
        """,
    ).config

    assert config.shutdown_timeout_seconds == 5.0
    assert (config.spool.max_bytes, config.spool.min_free_bytes) == (1024**3, 0)
    assert config.spool.retention_seconds == 7 * 86400.0
    assert config.batch.interval_seconds == 1.5


@pytest.mark.parametrize("url", ["sqlite:///srv/spool", "sqlite:////srv/spool", "sqlite:///srv/spool/"])
def test_the_spool_url_names_an_absolute_directory(tmp_path: Path, url: str) -> None:
    assert load(tmp_path, f'spool.url = "{url}"').config.spool.directory == Path("/srv/spool")


def test_addresses_come_apart_and_together() -> None:
    config = Config.model_validate({"ingest": {"host": "::1", "port": 1}, "metrics": {"address": "[::1]:2"}})

    assert config.ingest.address == "[::1]:1"
    assert config.metrics.host_and_port == ("::1", 2)
    assert Config.model_validate({"metrics": {"address": ""}}).metrics.host_and_port is None


def test_the_default_file_is_read_when_it_exists(tmp_path: Path) -> None:
    default = tmp_path / "default.toml"
    assert load_config(None, KEY, default_path=default).config.batch.size == 50

    default.write_text("batch.size = 7")

    loaded = load_config(None, KEY, default_path=default)
    assert (loaded.config.batch.size, loaded.sources["batch.size"]) == (7, f"file {default}")


def test_a_configuration_can_not_be_changed() -> None:
    with pytest.raises(ValidationError):
        Config().test_mode = True


def test_a_configuration_built_in_code_obeys_the_same_bounds() -> None:
    assert BatchConfig(size=1, interval_seconds=1).interval_seconds == 1.0
    with pytest.raises(ValidationError, match="from 1 to 1000"):
        BatchConfig(size=0)
    with pytest.raises(ValidationError, match="above max_delay"):
        RetryConfig(initial_delay_seconds=31)


@pytest.mark.parametrize(
    ("toml", "reason"),
    [
        ("batch.size = 0", "batch.size = 0 (FILE): must be a whole number from 1 to 1000"),
        ('batch.size = "50"', 'batch.size = "50" (FILE): must be a whole number from 1 to 1000'),
        ("batch.size = true", "batch.size = true (FILE): must be a whole number from 1 to 1000"),
        (f"batch.size = 0x{'f' * 5000}", "batch.size = (int) (FILE): must be a whole number from 1 to 1000"),
        ('batch.interval = "301s"', 'batch.interval = "301s" (FILE): must be from 1s to 5m'),
        ("ingest.port = 65536", "ingest.port = 65536 (FILE): must be a whole number from 0 to 65535"),
        ('test_mode = "yes"', 'test_mode = "yes" (FILE): must be true or false'),
        ("ingest.host = 5", "ingest.host = 5 (FILE): must be a text in quotes"),
        (
            'ingest.host = "0.0.0.0:5"',
            'ingest.host = "0.0.0.0:5" (FILE): must be an IP address or a host name, without',
        ),
        ('ingest.socket = "x.sock"', 'ingest.socket = "x.sock" (FILE): must be an absolute path'),
        (f'admin.socket = "/{"x" * 107}"', "must be at most 107 bytes long"),
        ('ingest.socket = "/run/spoold/admin.sock"', "ingest.socket and admin.socket are both /run/spoold/admin.sock"),
        ('ingest.id_namespace = "00000000-0000-0000-0000-000000000000"', "and not the nil UUID"),
        ("ingest.max_event_bytes = 999", "ingest.max_event_bytes = 999 (FILE): must be from 1000 to 1000000"),
        ('metrics.address = "9464"', 'metrics.address = "9464" (FILE): must be HOST:PORT'),
        ('log.level = "loud"', "log.level = \"loud\" (FILE): must be 'debug', 'info', 'warning' or 'error'"),
        ('spool.url = "sqlite://spool"', 'spool.url = "sqlite://spool" (FILE): must be sqlite:// and an absolute'),
        (
            'spool.url = "redis:///x"',
            'spool.url = "redis:///x" (FILE): has a scheme that this version has no spool for',
        ),
        ("spool = 5", "spool = 5 (FILE): must be a table: [spool]"),
        ("spool.retention = nan", "spool.retention = NaN (FILE): must be a duration such as"),
        (
            'retry.initial_delay = "31s"',
            "initial_delay (31s) is above max_delay (30s): lower the one or raise the other",
        ),
        ("batch.sise = 5", "batch.sise (FILE): there is no such key; did you mean size?"),
        ("size = 5", "size (FILE): there is no such key; did you mean batch.size?"),
        ("lanes = []", "lanes (FILE): there is no such key; known here: test_mode"),
        ("batch.interval_seconds = 5", "there is no such key; did you mean interval?"),
        ("providers = 5", "providers (FILE): must be tables such as [providers.mixpanel]"),
        ('providers.mixpanel.name = "x"', "providers.mixpanel.name (FILE): is not a key"),
        ('providers.mixpanel.start = "now"', "must be 'latest' or 'earliest'"),
        ('providers.mixpanel.timeout = "1h"', 'providers.mixpanel.timeout = "1h" (FILE): must be from 1s to 5m'),
        ('providers.mixpanel.endpoint = "ftp://x"', "must be a URL that starts with http:// or https://"),
        ('providers.mixpanel.endpoint = "https://x:y"', "must be a URL that starts with http:// or https://"),
        ('providers.mixpanel.endpoint = "https://x/?a=1"', "must be a base URL, without ? and #"),
        ('providers.mixpanel.ca_file = "/no/ca.pem"', "can't be read: No such file or directory"),
        ('providers.mixpanel.api_key = ""', "is empty: give the provider's key, or remove the line"),
        ('[providers."Big One"]\nkind = "mixpanel"', "providers.Big One: is no name for a lane"),
        ("[[providers.mixpanel]]", "providers.mixpanel (FILE): must be a table: [providers.mixpanel]"),
    ],
)
def test_a_bad_value_is_refused_with_key_value_reason_and_fix(tmp_path: Path, toml: str, reason: str) -> None:
    environ = {} if "api_key" in toml else KEY
    assert reason in refusal(tmp_path, toml, environ).replace(f"file {tmp_path}/spoold.toml", "FILE")


@pytest.mark.parametrize(
    ("variable", "text", "reason"),
    [
        ("BATCH_SIZE", "many", 'batch.size = "many" (environment variable BATCH_SIZE): must be a whole number from 1'),
        ("BATCH_SIZE", "1001", 'batch.size = "1001" (environment variable BATCH_SIZE): must be a whole number from 1'),
        ("TEST_MODE", "maybe", 'test_mode = "maybe" (environment variable TEST_MODE): must be true or false'),
        ("MAX_RETRY_DELAY_MS", "1s000", 'retry.max_delay = "1s000" (environment variable MAX_RETRY_DELAY_MS): must be'),
        ("MAX_RETRY_DELAY_MS", "10", "retry (retry.max_delay from environment variable MAX_RETRY_DELAY_MS): initial"),
        ("MIXPANEL_ENDPOINT", "x", 'endpoint = "x" (environment variable MIXPANEL_ENDPOINT): must be a URL'),
        ("ANALYTICS_PROVIDER", "posthog", "'posthog' is neither available in this version nor a [providers.posthog"),
        ("ANALYTICS_PROVIDER", ",", "providers (environment variable ANALYTICS_PROVIDER): no provider is named"),
    ],
)
def test_a_bad_variable_is_refused_by_its_name(tmp_path: Path, variable: str, text: str, reason: str) -> None:
    assert reason in refusal(tmp_path, "", {**KEY, variable: text})


def test_all_problems_are_told_at_once_one_a_line(tmp_path: Path) -> None:
    text = refusal(tmp_path, 'batch.size = 0\nlog.format = "xml"\nspol = 1', {"GRPC_PORT": "http"})

    keys = [re.match(r"[a-z_.]+", line)[0] for line in text.splitlines()]  # type: ignore[index]
    assert sorted(keys) == ["batch.size", "ingest.port", "log.format", "providers.mixpanel.api_key", "spol"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[batch]\nsize = \n", "this is not TOML: Invalid value (at line 2, column 8)"),
        (b"a = 1\na = 2\n", "this is not TOML: Cannot overwrite a value (at line 2"),
        (b'a = "\xff"', "byte 5 is not UTF-8"),
        (b"a = " + b"[" * 5000, "this is not TOML"),
        (b"a = " + b"9" * 5000, "this is not TOML"),
    ],
)
def test_a_file_that_is_not_toml_is_refused_with_the_place(tmp_path: Path, content: bytes, reason: str) -> None:
    file = tmp_path / "spoold.toml"
    file.write_bytes(content)

    with pytest.raises(ConfigError, match=re.escape(f"{file}: {reason}")):
        load_config(file, KEY)


def test_a_given_file_must_exist_and_be_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file; create it or correct --config"):
        load_config(tmp_path / "none.toml", KEY)
    with pytest.raises(ConfigError, match="can't be read: Is a directory"):
        load_config(tmp_path, KEY)


PATHS = ["spool.url", "batch.size", "retry", "ingest.host", "ingest.socket", "ingest.id_namespace", "metrics.address"]
LANE_PATHS = [
    "",
    ".mixpanel",
    *(f".mixpanel.{key}" for key in ("kind", "api_key_file", "endpoint", "proxy", "ca_file", "region", "batch")),
    *(f".mixpanel.{key}" for key in ("in_flight", "include", "redact", "add", "add.x", "retry.max_delay")),
    *(f".webhook.{key}" for key in ("secret", "endpoint", "format", "source", "headers", "headers.X", "max_events")),
]
SCALARS = st.booleans() | st.integers() | st.floats() | st.text()


@given(
    key=st.sampled_from([*PATHS, *(f"providers{path}" for path in LANE_PATHS)]),
    value=SCALARS | st.lists(SCALARS),
)
def test_no_value_at_all_ends_in_a_traceback(tmp_path_factory: pytest.TempPathFactory, key: str, value: object) -> None:
    file = tmp_path_factory.getbasetemp() / "fuzz.toml"
    # With an endpoint a webhook gets as far as the provider itself.
    endpoint = "providers.webhook.endpoint = 'http://hook'\n" if key.startswith("providers.webhook.") else ""
    file.write_text(f"{'' if key.endswith('.endpoint') else endpoint}{key} = {json.dumps(value)}", encoding="utf-8")

    with suppress(ConfigError):
        load_config(file, KEY)


VARIABLES = ["BATCH_SIZE", "MAX_RETRY_DELAY_MS", "HOST", "SPOOL_URL", "METRICS_ADDRESS", "CREDENTIALS_DIRECTORY"]
LANE_VARIABLES = ["ANALYTICS_PROVIDER", "MIXPANEL_API_KEY", "MIXPANEL_ENDPOINT"]


@given(st.dictionaries(st.sampled_from(VARIABLES + LANE_VARIABLES), st.text(min_size=1)))
def test_no_variable_at_all_ends_in_a_traceback(environ: dict[str, str]) -> None:
    with suppress(ConfigError):
        load_config(None, environ, default_path=Path("/nonexistent"))
