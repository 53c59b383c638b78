"""What a daemon that runs takes from a file that has changed."""

import json
from pathlib import Path

import pytest
from pydantic import SecretStr

from spoold.config import LoadedConfig, describe_config, load_config
from spoold.config_reload import ReloadResult, reload_config
from spoold.errors import ConfigError

SECRET = "s3cr3t-0123456789"
OTHER = "0ther-s3cr3t-98765"
LANE = f"[providers.mixpanel]\napi_key = '{SECRET}'\n"


class Running:
    """A file, and the configuration that a daemon has in force."""

    def __init__(self, file: Path, toml: str, **environ: str) -> None:
        self.file = file
        self.environ = environ
        self.loaded = self.write(toml)

    def write(self, toml: str) -> LoadedConfig:
        self.file.touch(mode=0o600)
        self.file.write_text(toml)
        return load_config(self.file, self.environ)

    def reload(self, toml: str) -> ReloadResult:
        self.file.write_text(toml)
        return reload_config(self.loaded, self.file, self.environ)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "spoold.toml"


def test_a_file_that_is_as_it_was_changes_nothing(file: Path) -> None:
    running = Running(file, f"batch.size = 7\n{LANE}")

    result = running.reload(f"batch.size = 7\n{LANE}")

    assert result == ReloadResult(running.loaded, (), (), (), (), ())


@pytest.mark.parametrize(
    ("toml", "keys"),
    [
        ("log.level = 'debug'\nlog.format = 'console'", ("log.level", "log.format")),
        ("shutdown_timeout = '5s'", ("shutdown_timeout",)),
        (
            "[spool]\nmax_bytes = '1GiB'\nmin_free_bytes = '1MiB'\nretention = '1h'",
            ("spool.max_bytes", "spool.min_free_bytes", "spool.retention"),
        ),
        ("ingest.max_event_bytes = 5000", ("ingest.max_event_bytes",)),
    ],
)
def test_what_can_change_changes(file: Path, toml: str, keys: tuple[str, ...]) -> None:
    running = Running(file, LANE)

    result = running.reload(f"{toml}\n{LANE}")

    assert result.changed == keys
    assert result.loaded == running.write(f"{toml}\n{LANE}")
    assert (result.altered, result.warnings) == ((), ())


@pytest.mark.parametrize("toml", ["batch.size = 9", "retry.max_delay = '40s'"])
def test_what_lanes_inherit_alters_those_that_do(file: Path, toml: str) -> None:
    own = "[providers.eu]\nkind = 'mixpanel'\napi_key = 'x'\nbatch.size = 3\nretry.max_delay = '5s'"
    running = Running(file, f"{LANE}{own}")

    result = running.reload(f"{toml}\n{LANE}{own}")

    assert result.changed == (toml.partition(" ")[0],)
    assert result.altered == ("mixpanel",)


def test_lanes_come_go_and_change_by_name(file: Path) -> None:
    old = "[providers.amplitude]\napi_key = 'a'\n[providers.segment]\nwrite_key = 'b'\n"
    running = Running(file, f"{LANE}{old}")

    result = running.reload(
        f"[providers.eu]\nkind = 'mixpanel'\napi_key = 'x'\n{LANE}exclude = ['x']\n[providers.amplitude]\napi_key = 'a'"
    )

    assert (result.added, result.removed, result.altered) == (("eu",), ("segment",), ("mixpanel",))
    assert [lane.name for lane in result.loaded.config.lanes] == ["eu", "mixpanel", "amplitude"]
    assert result.changed == ()


def test_a_lane_whose_key_file_holds_another_key_has_changed(file: Path, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.touch(mode=0o600)
    key.write_text(SECRET)
    toml = f"[providers.mixpanel]\napi_key_file = '{key}'"
    running = Running(file, toml)

    key.write_text(OTHER)
    result = running.reload(toml)

    assert result.altered == ("mixpanel",)
    assert result.loaded.config.lanes[0].api_key == SecretStr(OTHER)
    assert OTHER not in repr(result)


@pytest.mark.parametrize(
    ("toml", "key", "value"),
    [
        ("test_mode = true", "test_mode", True),
        ("spool.url = 'sqlite:///srv/x'", "spool.url", "sqlite:///srv/x"),
        ("spool.durability = 'os'", "spool.durability", "os"),
        ("ingest.host = '::1'", "ingest.host", "::1"),
        ("ingest.port = 5", "ingest.port", 5),
        ("ingest.socket = '/run/x.sock'", "ingest.socket", "/run/x.sock"),
        (
            "ingest.id_namespace = '0b7c1a52-3f0e-4d6b-9a51-5d1f6a2c8e74'",
            "ingest.id_namespace",
            "0b7c1a52-3f0e-4d6b-9a51-5d1f6a2c8e74",
        ),
        ("admin.socket = '/run/x.sock'", "admin.socket", "/run/x.sock"),
        ("metrics.address = ''", "metrics.address", ""),
    ],
)
def test_what_needs_a_restart_stays_and_is_named(file: Path, toml: str, key: str, value: object) -> None:
    running = Running(file, LANE)
    old = {name: was for name, was, _ in describe_config(running.loaded)}[key]

    result = running.reload(f"{toml}\n{LANE}")

    assert result == ReloadResult(
        running.loaded,
        (), (), (), (),
        (
            f"{key} = {json.dumps(value)} (file {file}) needs a restart; until then {json.dumps(old)} stays in force",
        ),
    )  # fmt: skip


def test_a_change_that_can_wait_does_not_hold_up_the_others(file: Path) -> None:
    running = Running(file, LANE)

    result = running.reload(f"[ingest]\nport = 5\nmax_event_bytes = 5000\n[log]\nlevel = 'debug'\n{LANE}")

    ingest = result.loaded.config.ingest
    assert (ingest.port, ingest.max_event_bytes) == (50054, 5000)
    assert result.changed == ("ingest.max_event_bytes", "log.level")
    assert result.loaded.sources["ingest.port"] == "default"
    assert [text.partition(" ")[0] for text in result.warnings] == ["ingest.port"]


def test_a_live_daemon_needs_its_keys_although_the_file_says_test_mode(file: Path) -> None:
    running = Running(file, LANE)

    with pytest.raises(ConfigError, match=r"providers\.mixpanel\.api_key: is missing"):
        running.reload("test_mode = true")


def test_a_daemon_in_test_mode_needs_none_although_the_file_says_live(file: Path) -> None:
    running = Running(file, "test_mode = true")

    result = running.reload("batch.size = 9")

    assert result.loaded.config.test_mode
    assert result.changed == ("batch.size",)
    assert "test_mode = false (default) needs a restart" in result.warnings[0]


def test_what_comes_from_the_environment_is_named_once(file: Path) -> None:
    running = Running(file, LANE, BATCH_SIZE="9", MIXPANEL_API_KEY=OTHER)

    result = running.reload(f"batch.size = 7\n{LANE}")

    assert result.loaded.config.batch.size == 9
    assert result.warnings == (
        "batch.size comes from environment variable BATCH_SIZE: a new value needs a restart",
        "providers.mixpanel.api_key comes from environment variable MIXPANEL_API_KEY: a new value needs a restart",
    )
    assert (result.changed, result.altered) == ((), ())


def test_a_systemd_credential_stays_what_it_was(file: Path, tmp_path: Path) -> None:
    credential = tmp_path / "segment_write_key"
    credential.touch(mode=0o600)
    credential.write_text("a" * 32)
    running = Running(file, "[providers.segment]", CREDENTIALS_DIRECTORY=str(tmp_path))

    credential.write_text("b" * 32)
    result = running.reload("[providers.segment]\nin_flight = 2")

    assert result.loaded.config.lanes[0].api_key == SecretStr("a" * 32)
    assert result.altered == ("segment",)
    assert result.warnings == (
        "providers.segment.write_key comes from credential segment_write_key: a new value needs a restart",
    )


def test_what_the_new_file_is_warned_about_is_passed_on(file: Path) -> None:
    running = Running(file, LANE)
    file.chmod(0o644)

    assert f"chmod 0640 {file}" in running.reload(LANE).warnings[0]


@pytest.mark.parametrize(
    ("toml", "reason"),
    [
        ("batch.size = 0", "batch.size = 0"),
        ("[providers.mixpanel", "this is not TOML"),
        (f"{LANE}[providers.crm]\nkind = 'x'", "providers.crm.kind"),
    ],
)
def test_a_bad_file_is_refused_as_at_the_start(file: Path, toml: str, reason: str) -> None:
    running = Running(file, LANE)

    with pytest.raises(ConfigError) as caught:
        running.reload(toml)

    assert reason in str(caught.value)
