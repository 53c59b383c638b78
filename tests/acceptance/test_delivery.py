"""What arrives at the provider, and when, from outside."""

from pathlib import Path

import pytest

from spoold.api.analytics.v1 import service_pb2
from tests.support.daemon_process import DaemonProcess
from tests.support.front_door import front_door, track, track_batch
from tests.support.mixpanel_rules import Refusal
from tests.support.provider_server import CloseAfterReading, ProviderServer, Reply

Settings = dict[str, str]


def sizes(provider: ProviderServer) -> list[int]:
    return [len(request.records) for request in provider.requests]


def test_120_events_are_flushed_as_50_50_and_the_rest(
    tmp_path: Path, provider: ProviderServer, settings: Settings
) -> None:
    with DaemonProcess(tmp_path, **settings) as daemon, front_door(daemon.address) as stub:
        ids = track(stub, count=120)
        provider.wait_until(lambda: provider.event_count == 120)

    assert sizes(provider) == [50, 50, 20]
    assert provider.events_by_insert_id.keys() == set(ids)


def test_events_and_profiles_of_one_flush_both_arrive(
    tmp_path: Path, provider: ProviderServer, settings: Settings
) -> None:
    with DaemonProcess(tmp_path, **settings) as daemon, front_door(daemon.address) as stub:
        track(stub)
        plan = {"plan": service_pb2.PropertyValue(string_value="pro"), "old": service_pb2.PropertyValue()}
        stub.IdentifyUser(service_pb2.IdentifyUserRequest(user_id="u-81", properties=plan))
        provider.wait_until(lambda: provider.request_count == 2)

    # Two routes, both at once.
    assert sorted(request.path for request in provider.requests) == ["/engage", "/import"]
    assert provider.profiles["u-81"] == {"plan": "pro"}


@pytest.mark.parametrize("fault", [Reply(503), Reply(429), CloseAfterReading(), Reply(200, b"<html>portal</html>")])
def test_a_fault_longer_than_all_retries_loses_nothing(
    tmp_path: Path, provider: ProviderServer, settings: Settings, fault: Reply | CloseAfterReading
) -> None:
    # A 429 is waited out for 3 s at least (providers.md 2.5): one is enough to see that nothing is lost.
    attempts = "1" if fault == Reply(429) else "3"
    provider.always(fault)
    with DaemonProcess(tmp_path, MAX_RETRY_ATTEMPTS=attempts, **settings) as daemon, front_door(daemon.address) as stub:
        ids = track_batch(stub, 70)
        daemon.wait_for_log("lane down")
        provider.recover()
        daemon.wait_for_log("lane recovered")
        provider.wait_until(lambda: provider.event_count == 70)

    assert provider.events_by_insert_id.keys() == set(ids)
    assert not provider.changed


def test_a_provider_that_is_not_there_loses_nothing(
    tmp_path: Path, provider: ProviderServer, settings: Settings
) -> None:
    out = settings | {"MIXPANEL_ENDPOINT": "http://127.0.0.1:1"}
    with DaemonProcess(tmp_path, **out) as daemon, front_door(daemon.address) as stub:
        ids = track(stub, count=60)
        assert daemon.wait_for_log("batch send failed, retrying")["attempt"] == 1
        daemon.kill()

    with DaemonProcess(tmp_path, **settings):
        provider.wait_until(lambda: provider.event_count == 60)

    assert provider.events_by_insert_id.keys() == set(ids)
    assert provider.duplicate_count == 0


def test_a_wrong_key_stops_the_lane_and_a_restart_with_the_right_one_delivers_in_order(
    tmp_path: Path, provider: ProviderServer, settings: Settings
) -> None:
    with DaemonProcess(tmp_path, **settings | {"MIXPANEL_API_KEY": "a-wrong-token"}) as daemon:
        with front_door(daemon.address) as stub:
            ids = track(stub, count=60)
        said = daemon.wait_for_log("lane down")
        daemon.stop()
    assert said["state"] == "stopped"
    assert "Invalid credentials" in said["reason"]

    provider.requests.clear()
    with DaemonProcess(tmp_path, **settings):
        provider.wait_until(lambda: provider.event_count == 60)

    arrived = [record["properties"]["$insert_id"] for request in provider.requests for record in request.records]
    assert arrived == ids


def test_one_bad_event_is_set_aside_with_the_providers_words_and_the_others_arrive_once(
    tmp_path: Path, provider: ProviderServer, settings: Settings
) -> None:
    provider.refuse = lambda record: Refusal("event", "not on the list") if record["event"] == "Bad" else None
    with DaemonProcess(tmp_path, **settings) as daemon, front_door(daemon.address) as stub:
        good = track(stub, count=20)
        track(stub, "Bad")
        good += track(stub, count=29)
        letter = daemon.wait_for_log("dead letter")
        provider.wait_until(lambda: provider.event_count == 49)

    assert "not on the list" in letter["reason"]
    assert provider.events_by_insert_id.keys() == set(good)
    assert provider.duplicate_count == 0


def test_test_mode_sends_nothing_and_has_a_spool_of_its_own(tmp_path: Path, provider: ProviderServer) -> None:
    with DaemonProcess(tmp_path, FLUSH_INTERVAL_SECONDS="1", MIXPANEL_ENDPOINT=provider.url) as daemon:
        with front_door(daemon.address) as stub:
            track(stub, count=50)
        daemon.wait_for_log("TEST MODE: would send batch")

        assert (daemon.spool_dir / "test" / "spool.db").exists()
        assert not (daemon.spool_dir / "spool.db").exists()
    assert provider.request_count == 0
