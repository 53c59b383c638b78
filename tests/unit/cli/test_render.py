"""What the figures look like, for people and for scripts."""

import json

import pytest
from rich.console import Console, RenderableType
from spoolctl.render import config_view, status_fields, status_view

from spoold.api.spoold.admin.v1 import admin_pb2

SERVING = admin_pb2.DaemonStatus(
    state="serving", version="0.1.0", pid=71, uptime_seconds=12.54, address="127.0.0.1:50054"
)
SPOOL = admin_pb2.SpoolStatus(
    accepted=120, pending=20, retained=100, bytes=98304, max_bytes=10 * 2**30, oldest_pending_seconds=3.2
)
MIXPANEL = admin_pb2.LaneStatus(
    name="mixpanel", kind="mixpanel", state="idle", accepted=120, pending=20, delivered=100, oldest_pending_seconds=3.2
)


def status(
    daemon: admin_pb2.DaemonStatus = SERVING,
    spool: admin_pb2.SpoolStatus = SPOOL,
    *lanes: admin_pb2.LaneStatus,
) -> admin_pb2.GetStatusReply:
    return admin_pb2.GetStatusReply(daemon=daemon, spool=spool, lanes=lanes or (MIXPANEL,))


def shown(view: RenderableType, columns: int = 80) -> list[str]:
    """The view's lines without colours."""
    console = Console(width=columns, highlight=False, markup=False, emoji=False, color_system=None)
    with console.capture() as capture:
        console.print(view)
    return [line.rstrip() for line in capture.get().splitlines()]


def test_scripts_get_the_fields_of_the_contract() -> None:
    fields = json.loads(json.dumps(status_fields(status())))

    daemon = {"state": "serving", "version": "0.1.0", "pid": 71, "uptime_seconds": 12.5, "address": "127.0.0.1:50054"}
    assert fields["daemon"].items() >= daemon.items()
    spool = {"accepted": 120, "pending": 20, "retained": 100, "bytes": 98304, "max_bytes": 10737418240}
    assert fields["spool"].items() >= {**spool, "oldest_pending_seconds": 3.2}.items()
    assert fields["lanes"] == [
        {
            "name": "mixpanel", "kind": "mixpanel", "state": "idle", "accepted": 120, "pending": 20, "delivered": 100,
            "dead": 0, "filtered": 0, "purged": 0, "failures": 0, "next_attempt_seconds": None, "last_error": None,
            "oldest_pending_seconds": 3.2, "deferred": 0,
        }
    ]  # fmt: skip


def test_an_age_of_zero_is_not_taken_for_none() -> None:
    spool = admin_pb2.SpoolStatus(oldest_pending_seconds=0.0)
    lane = admin_pb2.LaneStatus(name="a", next_attempt_seconds=0.0)
    fields = json.loads(json.dumps(status_fields(status(SERVING, spool, lane))))
    assert fields["spool"]["oldest_pending_seconds"] == 0
    assert fields["lanes"][0]["next_attempt_seconds"] == 0


def test_what_only_a_running_daemon_knows_is_null_when_it_is_down() -> None:
    offline = admin_pb2.DaemonStatus(state="offline", version="0.1.0")
    fields = json.loads(json.dumps(status_fields(status(offline))))["daemon"]
    assert (fields["state"], fields["version"]) == ("offline", "0.1.0")
    assert [fields[name] for name in ("pid", "uptime_seconds", "address")] == [None, None, None]


def test_the_status_fits_on_a_narrow_screen() -> None:
    assert shown(status_view(status())) == [
        "spoold serving 0.1.0 on 127.0.0.1:50054, pid 71, up 12.5s",
        "spool  120 accepted, 20 pending (oldest 3.2s), 100 retained, 96.0 KiB of 10GiB",
        "",
        "lane      state  pending  oldest  delivered  dead  failures  next try",
        "mixpanel  idle        20    3.2s        100     0         0         -",
    ]


def test_a_lane_in_trouble_says_why_below_the_table() -> None:
    lane = admin_pb2.LaneStatus(
        name="mixpanel", state="down", failures=7, next_attempt_seconds=12, last_error="503 busy [red]a:b:c[/red]"
    )
    lines = shown(status_view(status(SERVING, SPOOL, lane)))
    assert lines[-2].split() == ["mixpanel", "down", "0", "-", "0", "0", "7", "12.0s"]
    assert lines[-1] == "mixpanel: 503 busy [red]a:b:c[/red]"


@pytest.mark.parametrize(
    ("spool", "line"),
    [
        (admin_pb2.SpoolStatus(refusing="max_bytes"), "new events are refused: max_bytes"),
        (admin_pb2.SpoolStatus(damaged=3), "damaged records found: 3"),
    ],
)
def test_what_an_operator_must_act_on_has_a_line_of_its_own(spool: admin_pb2.SpoolStatus, line: str) -> None:
    assert line in shown(status_view(status(SERVING, spool)))


def test_test_mode_is_said_where_it_is_seen() -> None:
    daemon = admin_pb2.DaemonStatus(state="serving", test_mode=True)
    assert shown(status_view(status(daemon)), 200)[0].endswith("TEST MODE: nothing is sent")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0s"), (119.9, "119.9s"), (120, "2.0m"), (7199, "120.0m"), (7200, "2.0h"), (172_800, "2.0d")],
)
def test_an_age_is_in_the_unit_in_which_one_thinks_of_it(seconds: float, text: str) -> None:
    lane = admin_pb2.LaneStatus(name="a", state="idle", oldest_pending_seconds=seconds)
    assert shown(status_view(status(SERVING, SPOOL, lane)))[-1].split()[3] == text


def test_the_configuration_is_a_table_of_key_value_and_source() -> None:
    values = [
        admin_pb2.ConfigValue(key="batch.size", value="50", source="default"),
        admin_pb2.ConfigValue(key="log.level", value='"info"', source="environment variable LOG_LEVEL"),
    ]
    assert shown(config_view(values)) == [
        "key         value   from",
        "batch.size  50      default",
        'log.level   "info"  environment variable LOG_LEVEL',
    ]


def test_a_key_stays_whole_on_a_narrow_screen() -> None:
    value = admin_pb2.ConfigValue(key="providers.mixpanel.api_key_file", value=f'"/{"x" * 90}"', source="y" * 40)
    lines = shown(config_view([value]))
    assert any(line.startswith("providers.mixpanel.api_key_file ") for line in lines)
    assert "".join(line[31:].split()[0] for line in lines[1:] if len(line) > 31).count("x") == 90


def test_what_does_not_balance_is_told_in_the_status() -> None:
    spool = admin_pb2.SpoolStatus(
        imbalances=[
            admin_pb2.Imbalance(lane="mixpanel", term="dead", counter=3, counted=1, place="set-aside"),
            admin_pb2.Imbalance(term="dead_bytes", counter=300, counted=100, place="set-aside"),
        ]
    )

    fields = json.loads(json.dumps(status_fields(status(spool=spool))))["spool"]

    sentence = "lane mixpanel: dead is 3 by its counter, and 1 by what is in the set-aside"
    assert (fields["ledger_imbalance"], fields["imbalances"][0]) == (2, sentence)
    assert f"{sentence}; see spoolctl audit" in shown(status_view(status(spool=spool)), 200)
    assert status_fields(status())["spool"]["imbalances"] == []  # type: ignore[index]
