"""What a lane may be told beyond its credential, and what its kind adds to that."""

import json
from pathlib import Path
from typing import Any

import pytest

from spoold.config import LaneConfig, LoadedConfig, describe_config, load_config
from spoold.errors import ConfigError
from spoold.providers import mixpanel
from spoold.providers.base import Kind, Option, Provider, ProviderSettings

SECRET = "s3cr3t-0123456789"
WHSEC = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"
OTHER = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI0"
MIXPANEL = f"[providers.mixpanel]\napi_key = '{SECRET}'\n"
HOOK = "[providers.crm]\nkind = 'webhook'\nendpoint = 'https://crm.example/hook'\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "spoold.toml"
    file.touch(mode=0o600)
    return file


def load(file: Path, toml: str, kinds: dict[str, Kind] | None = None, **environ: str) -> LoadedConfig:
    file.write_text(toml)
    return load_config(file, environ, kinds=kinds)


def lane_of(file: Path, toml: str, **environ: str) -> LaneConfig:
    """The first lane."""
    return load(file, toml, None, **environ).config.lanes[0]


def refusal(file: Path, toml: str, kinds: dict[str, Kind] | None = None, **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(file, toml, kinds, **environ)
    return str(caught.value).replace(f"file {file}", "FILE")


def described(loaded: LoadedConfig) -> dict[str, tuple[object, str]]:
    return {key: (value, source) for key, value, source in describe_config(loaded)}


def endpoint_of(lane: LaneConfig) -> str:
    return lane.provider_settings(mixpanel.KIND).endpoint


def test_a_region_stands_for_its_endpoint(file: Path) -> None:
    assert endpoint_of(lane_of(file, MIXPANEL)) == "https://api.mixpanel.com"
    assert endpoint_of(lane_of(file, f"{MIXPANEL}region = 'eu'")) == "https://api-eu.mixpanel.com"
    assert endpoint_of(lane_of(file, f"{MIXPANEL}endpoint = 'http://gateway/'")) == "http://gateway"


@pytest.mark.parametrize(
    ("toml", "reason"),
    [
        (f"{MIXPANEL}region = 'eux'", 'mixpanel.region = "eux" (FILE): must be one of eu, in, us, or name an endpoint'),
        (f"{MIXPANEL}region = ['eu']", "mixpanel.region = (list) (FILE): must be one of eu, in, us"),
        (f"{MIXPANEL}region = 'eu'\nendpoint = 'http://x'", "stands beside endpoint, and only one can be meant"),
        (f"{HOOK.replace('endpoint', 'region')}", "the kind 'webhook' has no regions: name an endpoint instead"),
        ("[providers.crm]\nkind = 'webhook'", "crm.endpoint: is missing: name the URL to send to, here or in the vari"),
    ],
)
def test_a_region_that_leads_nowhere_is_refused(file: Path, toml: str, reason: str) -> None:
    assert reason in refusal(file, toml)


def test_an_endpoint_from_the_environment_wins_over_a_region_and_says_so(file: Path) -> None:
    loaded = load(file, f"{MIXPANEL}region = 'eu'", MIXPANEL_ENDPOINT="http://gateway/")

    assert endpoint_of(loaded.config.lanes[0]) == "http://gateway"
    assert described(loaded)["providers.mixpanel.region"] == (None, "default")
    (warning,) = loaded.warnings
    assert warning == "providers.mixpanel.region has no effect: environment variable MIXPANEL_ENDPOINT is set"


def test_a_url_that_is_whole_is_kept_as_it_is(file: Path) -> None:
    url = "https://crm.example/hook/?team=a-team-of-ours"

    loaded = load(file, f"[providers.crm]\nkind = 'webhook'\nendpoint = '{url}'")

    assert loaded.config.lanes[0].endpoint == url
    assert described(loaded)["providers.crm.endpoint"][0] == "https://crm.example/hook/?********"
    assert loaded.config.secrets == ("team=a-team-of-ours",)
    assert "a-team-of-ours" not in repr(loaded)


def test_a_table_of_the_lane_wins_over_the_table_for_all_key_by_key(file: Path) -> None:
    toml = (
        "[batch]\nsize = 60\n[retry]\nmax_delay = '20s'\n"
        f"{MIXPANEL}[providers.mixpanel.batch]\ninterval = '30s'\n"
        "[providers.mixpanel.retry]\nmax_attempts = 9\nmax_delay = '40s'\n"
        f"[providers.eu]\nkind = 'mixpanel'\napi_key = '{SECRET}'"
    )

    loaded = load(file, toml, MAX_RETRY_ATTEMPTS="3")

    own, other = loaded.config.lanes
    assert (own.batch.size, own.batch.interval_seconds) == (60, 30.0)
    assert (own.retry.max_attempts, own.retry.initial_delay_seconds, own.retry.max_delay_seconds) == (9, 1.0, 40.0)
    assert (other.batch, other.retry) == (loaded.config.batch, loaded.config.retry)
    shown = described(loaded)
    assert shown["providers.mixpanel.batch.size"] == (60, f"file {file}")
    assert shown["providers.mixpanel.retry.max_attempts"] == (9, f"file {file}")
    assert shown["providers.eu.retry.max_attempts"] == (3, "environment variable MAX_RETRY_ATTEMPTS")
    assert shown["providers.eu.retry.initial_delay"] == ("1s", "default")


@pytest.mark.parametrize(
    ("toml", "problem"),
    [
        (f"batch.size = 0\n{MIXPANEL}", "batch.size = 0 (FILE): must be a whole number from 1 to 1000"),
        (f"batch.sise = 5\n{MIXPANEL}", "batch.sise (FILE): there is no such key; did you mean size?"),
        (f"batch = 5\n{MIXPANEL}", "batch = 5 (FILE): must be a table: [batch]"),
        (f"retry.max_delay = '1ms'\n{MIXPANEL}", "retry (retry.max_delay from FILE): initial_delay (1s) is above"),
        (f"{MIXPANEL}batch.size = 0", "providers.mixpanel.batch.size = 0 (FILE): must be a whole number from 1 to"),
        (f"{MIXPANEL}batch.sise = 5", "providers.mixpanel.batch.sise (FILE): there is no such key; did you mean size?"),
        (f"{MIXPANEL}batch = 5", "providers.mixpanel.batch = 5 (FILE): must be a table: [providers.mixpanel.batch]"),
        (
            f"retry.max_delay = '5s'\n{MIXPANEL}retry.initial_delay = '9s'",
            "providers.mixpanel.retry (providers.mixpanel.retry.initial_delay from FILE, providers.mixpanel.retry.max_",
        ),
    ],
)
def test_a_bad_table_is_refused_once_where_it_stands(file: Path, toml: str, problem: str) -> None:
    (line,) = refusal(file, toml).splitlines()

    assert line.startswith(problem)


def test_filters_and_flow_are_told_per_lane(file: Path) -> None:
    toml = (
        "in_flight = 8\nwhen_full = 'purge'\ninclude = ['Order *']\nexclude = ['$identify']\ndrop = ['*.ssn']\n"
        "redact = ['email']\n[providers.mixpanel.add]\nteam = 'crm'\nshare = 0.5\nshard = 3\nis_test = false"
    )

    loaded = load(file, MIXPANEL + toml)

    lane = loaded.config.lanes[0]
    assert (lane.in_flight, lane.when_full) == (8, "purge")
    assert (lane.include, lane.exclude, lane.drop, lane.redact) == (
        ("Order *",), ("$identify",), ("*.ssn",), ("email",)
    )  # fmt: skip
    assert list(lane.add.items()) == [("team", "crm"), ("share", 0.5), ("shard", 3), ("is_test", False)]
    assert [type(value) for value in lane.add.values()] == [str, float, int, bool]
    shown = described(loaded)
    assert shown["providers.mixpanel.include"] == (["Order *"], f"file {file}")
    assert shown["providers.mixpanel.add"] == (lane.add, f"file {file}")
    assert json.loads(json.dumps(shown))


@pytest.mark.parametrize(
    ("toml", "reason"),
    [
        ("in_flight = 0", "in_flight = 0 (FILE): must be a whole number from 1 to 32"),
        ("in_flight = 33", "in_flight = 33 (FILE): must be a whole number from 1 to 32"),
        ("when_full = 'drop'", "when_full = \"drop\" (FILE): must be 'refuse' or 'purge'"),
        ("include = 'Order Paid'", 'include = "Order Paid" (FILE): must be a list of event names such as'),
        ("exclude = ['']", "exclude = (list) (FILE): must be a list of event names"),
        ("drop = ['a..b']", "drop = (list) (FILE): must be a list of properties such as"),
        ("redact = ['.']", "redact = (list) (FILE): must be a list of properties"),
        ("redact = [5]", "redact = (list) (FILE): must be a list of properties"),
        ("add = 'x'", 'add = "x" (FILE): must be a table of properties such as { environment = "production" }'),
        ("add.x = [1]", "add (FILE): 'x' must be a text, a finite number, a whole number up to 2^53, true or false"),
        ("add.x = nan", "add (FILE): 'x' must be"),
        ("add.x = 9007199254740993", "add (FILE): 'x' must be"),
        ("add.'' = 1", "add (FILE): must be a table of properties"),
        ("in_fligth = 3", "in_fligth (FILE): there is no such key; did you mean in_flight?"),
        ("size = 3", "size (FILE): there is no such key; did you mean batch.size?"),
        ("max_body_byte = 3", "max_body_byte (FILE): there is no such key; did you mean max_body_bytes?"),
        ("headers = {}", "headers: there is no such key; known here: api_key, api_key_file, kind, region, endpoint,"),
        ("write_key = 'x'", "write_key (FILE): there is no such key; did you mean api_key?"),
        ("'batch.size' = 3", "batch.size (FILE): there is no such key; did you mean batch?"),
        ("options = {}", "options: there is no such key"),
        ("credential_name = 'x'", "credential_name (FILE): there is no such key"),
        ("secret_options = []", "secret_options (FILE): there is no such key"),
    ],
)
def test_a_bad_key_of_a_lane_is_refused(file: Path, toml: str, reason: str) -> None:
    assert f"providers.mixpanel.{reason}" in refusal(file, MIXPANEL + toml)


def test_options_come_with_their_defaults(file: Path) -> None:
    lane = lane_of(file, HOOK)

    assert lane.options == {"format": "json", "source": "spoold", "headers": None, "max_events": 50}
    assert lane.provider_settings(Kind(mixpanel.Mixpanel)).options == lane.options


def test_options_are_read_and_described_with_their_source(file: Path) -> None:
    toml = "format = 'cloudevents'\nmax_events = 7\n[providers.crm.headers]\nAuthorization = 'Bearer abcdefgh123'"

    loaded = load(file, HOOK + toml)

    lane = loaded.config.lanes[0]
    assert lane.options["headers"] == {"Authorization": "Bearer abcdefgh123"}
    shown = described(loaded)
    assert shown["providers.crm.format"] == ("cloudevents", f"file {file}")
    assert shown["providers.crm.source"] == ("spoold", "default")
    assert shown["providers.crm.headers"] == ("********", f"file {file}")
    assert shown["providers.crm.secret"] == (None, "default")
    assert set(loaded.config.secrets) == {"Bearer abcdefgh123", "abcdefgh123"}
    assert "abcdefgh123" not in repr(loaded)


def test_an_option_in_bytes_takes_a_unit(file: Path) -> None:
    loaded = load(file, f"{MIXPANEL}max_body_bytes = '1MiB'")

    assert loaded.config.lanes[0].options == {"max_body_bytes": 1024**2}
    assert described(loaded)["providers.mixpanel.max_body_bytes"][0] == "1MiB"


@pytest.mark.parametrize(
    ("toml", "reason"),
    [
        ("format = 'xml'", "providers.crm.format = \"xml\" (FILE): must be 'json' or 'cloudevents'"),
        ("format = 5", "providers.crm.format = 5 (FILE): must be a text in quotes"),
        ("max_events = 0", "providers.crm.max_events = 0 (FILE): must be a whole number from 1 to 1000"),
        ("max_events = true", "providers.crm.max_events = true (FILE): must be a whole number from 1 to 1000"),
        ("headers = 'x'", "providers.crm.headers = ******** (FILE): must be a table of texts"),
        ("headers.X = 5", "providers.crm.headers (FILE): must be a table of texts such as"),
        ("formt = 'json'", "providers.crm.formt (FILE): there is no such key; did you mean format?"),
        # Only the provider itself can tell these.
        ("source = 'a b'", "providers.crm.source = \"a b\" (FILE): 'a b' is no URI reference"),
        ("headers.Host = 'x'", "providers.crm.headers (FILE): 'Host' is set by spoold or by the connection; remove it"),
        (f"secret = '{SECRET}'", "providers.crm.secret = ******** (FILE): not as Standard Webhooks has it"),
    ],
)
def test_a_bad_option_is_refused(file: Path, toml: str, reason: str) -> None:
    assert refusal(file, HOOK + toml).startswith(reason)


class Silent:
    def __init__(self, settings: ProviderSettings) -> None:
        self.settings = settings


def kind(**parts: Any) -> Kind:
    def build(settings: ProviderSettings) -> Provider:
        return Silent(settings)  # type: ignore[return-value]

    return Kind(build, endpoint="http://acme", **parts)


ACME = "[providers.acme]\n"


def test_an_option_of_each_type_is_checked(file: Path) -> None:
    options = {"on": Option("boolean", default=False), "count": Option("integer"), "token": Option(is_secret=True)}
    kinds = {"acme": kind(needs_credential=False, options=options)}

    lane = load(file, f"{ACME}on = true\ncount = -5\ntoken = '{SECRET}'", kinds).config.lanes[0]

    assert lane.options == {"on": True, "count": -5, "token": SECRET}
    assert "acme.on = 1 (FILE): must be true or false" in refusal(file, f"{ACME}on = 1", kinds)
    assert "acme.count = 1.5 (FILE): must be a whole number" in refusal(file, f"{ACME}count = 1.5", kinds)
    assert "acme.token = (int)" not in refusal(file, f"{ACME}token = 5", kinds)


def test_a_secret_of_any_name_in_a_file_that_everyone_can_read_is_warned_about(file: Path) -> None:
    kinds = {"acme": kind(needs_credential=False, options={"token": Option(is_secret=True)})}
    file.chmod(0o644)

    for toml in (f"{ACME}token = '{SECRET}'", f"{HOOK}headers.X = 'abc'", f"{HOOK}proxy = 'http://me:x@proxy:1'"):
        assert f"chmod 0640 {file}" in load(file, toml, kinds if "acme" in toml else None).warnings[0]
    assert load(file, f"{ACME}", kinds).warnings == ()


def test_the_kind_names_the_credential(file: Path, tmp_path: Path) -> None:
    key_file = tmp_path / "key"
    key_file.write_text(SECRET)
    key_file.chmod(0o600)
    (tmp_path / "acme_pass").write_text("from-systemd")
    (tmp_path / "acme_pass").chmod(0o600)
    kinds = {"acme": kind(credential="pass")}

    def found(toml: str, **environ: str) -> tuple[object, str]:
        loaded = load(file, ACME + toml, kinds, **environ)
        key = loaded.config.lanes[0].api_key
        assert key is not None
        assert described(loaded)["providers.acme.pass"][0] == "********"
        return key.get_secret_value(), described(loaded)["providers.acme.pass"][1]

    assert found("pass = 'a'") == ("a", f"file {file}")
    assert found("api_key = 'a'") == ("a", f"file {file}")
    assert found(f"pass_file = '{key_file}'") == (SECRET, f"key file {key_file}")
    assert found(f"api_key_file = '{key_file}'") == (SECRET, f"key file {key_file}")
    assert found("pass = 'a'", ACME_PASS="b") == ("b", "environment variable ACME_PASS")
    assert found("", ACME_API_KEY="b") == ("b", "environment variable ACME_API_KEY")
    assert found("", ACME_API_KEY="b", ACME_PASS="c") == ("c", "environment variable ACME_PASS")
    assert found("pass = 'a'", CREDENTIALS_DIRECTORY=str(tmp_path)) == ("from-systemd", "credential acme_pass")


def test_a_credential_under_two_names_is_refused(file: Path) -> None:
    kinds = {"acme": kind(credential="pass")}

    text = refusal(file, f"{ACME}pass = '{SECRET}'\napi_key = '{SECRET}'", kinds)

    assert text.startswith("providers.acme.pass = ******** (FILE): stands beside api_key, and only one can be meant")


def test_a_missing_credential_is_asked_for_by_the_kinds_name(file: Path) -> None:
    text = refusal(file, ACME, {"acme": kind(credential="pass")})

    assert text.startswith("providers.acme.pass: is missing: set providers.acme.pass_file")
    assert "ACME_PASS" in text
    assert "systemd credential named acme_pass" in text


def test_a_secret_of_any_name_is_never_shown(file: Path) -> None:
    kinds = {"acme": kind(credential="pass")}

    for toml in (f"pass = '{SECRET} '", f"pass = ['{SECRET}']", f"pass_file = '{SECRET}'", f"api_key = '{SECRET} '"):
        assert SECRET not in refusal(file, ACME + toml, kinds)


def test_a_credential_that_is_not_needed_may_be_missing(file: Path) -> None:
    lane = lane_of(file, HOOK)

    assert lane.api_key is None
    assert lane.provider_settings(Kind(mixpanel.Mixpanel, needs_credential=False)).credential == ""


def test_only_secrets_of_webhooks_may_be_several(file: Path) -> None:
    lane = lane_of(file, HOOK, CRM_SECRET=f"{WHSEC} {OTHER}")

    assert lane.api_key is not None
    assert lane.api_key.get_secret_value() == f"{WHSEC} {OTHER}"
    assert {WHSEC, OTHER} < set(lane.secrets)
    assert "without blanks" in refusal(file, "", MIXPANEL_API_KEY="two words")


def test_a_doubtful_credential_is_warned_about_without_telling_it(file: Path) -> None:
    loaded = load(file, "[providers.segment]", SEGMENT_WRITE_KEY=SECRET)

    (warning,) = loaded.warnings
    assert warning.startswith("providers.segment.write_key (environment variable SEGMENT_WRITE_KEY): the key does not")
    kinds = {"acme": kind(doubt_credential=lambda key: f"{key} is odd")}
    assert load(file, f"{ACME}api_key = '{SECRET}'", kinds).warnings[0].endswith("): ******** is odd")


def test_test_mode_builds_lanes_without_any_credential(file: Path) -> None:
    loaded = load(file, f"{HOOK}[providers.segment]\n[providers.amplitude]", TEST_MODE="1")

    assert [lane.api_key for lane in loaded.config.lanes] == [None, None, None]


def test_only_kinds_in_use_are_looked_up(file: Path) -> None:
    class Watched(dict[str, Kind]):
        def __getitem__(self, name: str) -> Kind:
            looked_up.append(name)
            return super().__getitem__(name)

    looked_up: list[str] = []
    load(file, f"{ACME}api_key = 'x'", Watched(acme=kind(), other=kind()))

    assert set(looked_up) == {"acme"}


def test_a_kind_that_can_not_be_loaded_is_refused_with_the_lane(file: Path) -> None:
    class Broken(dict[str, Kind]):
        def __getitem__(self, name: str) -> Kind:
            raise ConfigError(f"kind: {name!r} comes from acme, which can't be used", key="kind")

    assert refusal(file, ACME, Broken(acme=kind())) == (
        "providers.acme.kind: 'acme' comes from acme, which can't be used"
    )
