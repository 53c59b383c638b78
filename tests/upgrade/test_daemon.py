"""The real daemon on a spool of each format: what was pending arrives, once, and a fresh event passes."""

from pathlib import Path

import pytest

from spoold.record import Event
from tests.support.front_door import front_door, track
from tests.support.provider_server import ProviderServer
from tests.support.services import start
from tests.support.spools import open_spool
from tests.upgrade.every_crash import NEWEST
from tests.upgrade.fixtures import Fixture, check_balance, pending
from tests.upgrade.old_life import KINDS, lanes, servers, spoolctl


def expected(fixture: Fixture, home: Path) -> dict[str, list[Event]]:
    """What each lane has pending, seen in a copy."""
    home.mkdir()
    with open_spool(fixture.unpack(home)) as opened:
        found = {lane.name: pending(opened, lane.name) for lane in opened.spool.lanes()}
    return {name: [event for event in events if isinstance(event, Event)] for name, events in found.items()}


def check_taken(name: str, server: ProviderServer, events: list[Event], fresh: str) -> None:
    """Wait until the lane's provider has these and the fresh one, and no others."""
    has_profiles_apart = KINDS[name] == "mixpanel"
    ids = {event.event_id for event in events if event.kind == "track" or not has_profiles_apart} | {fresh}
    users = {event.user_id for event in events if event.kind == "identify" and has_profiles_apart}
    server.wait_until(lambda: server.events_by_insert_id.keys() >= ids and server.profiles.keys() >= users)
    assert server.events_by_insert_id.keys() == ids, name
    assert server.duplicate_count == 0


@pytest.mark.parametrize("version", range(1, NEWEST + 1))
def test_what_was_pending_arrives_once_and_a_fresh_event_passes(version: int, tmp_path: Path) -> None:
    fixture = Fixture(version, "killed")
    fixture.unpack(tmp_path).rename(tmp_path / "spool")
    left = expected(fixture, tmp_path / "copy")
    told = {bytes.fromhex(body): event_id for event_id, body in fixture.known["acknowledged"].items()}
    (own_words,) = (event_id for body, event_id in told.items() if b"order-81" in body)

    with servers() as services, start(tmp_path, *lanes(services, left)) as daemon:
        if "paused" in left:
            assert not services["paused"].requests
            spoolctl(daemon, "lanes", "resume", "paused")
        with front_door(daemon.address) as stub:
            (fresh,) = track(stub, "Fresh")
            assert track(stub, "Own Words", event_id="order-81") == [own_words]
        for name, events in left.items():
            check_taken(name, services[name], events, fresh)
            assert not services[name].events_by_insert_id.keys() & set(fixture.known["taken"][name])
        assert daemon.stop() == 0

    with open_spool(tmp_path / "spool") as opened:
        assert {lane.name: lane.pending for lane in opened.spool.lanes()} == dict.fromkeys(left, 0)
        assert (opened.lane("events").dead, opened.spool.stats().duplicates) == (2, 1)
        check_balance(opened)
