"""A webhook's receiver: it checks signatures, and knows a batch again by its id."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.front_door import front_door
from tests.support.one_of_each import one_of_each
from tests.support.provider_server import CloseAfterReading, ProviderServer, Reply, Request
from tests.support.services import lane, send, services, start, tracked, wait_for_events
from tests.support.webhook_rules import cloudevent_faults, secret_of

_FLUSHED = "batch flushed successfully"


@pytest.fixture
def receiver() -> Iterator[ProviderServer]:
    """Takes nothing that is not signed with its secret."""
    with services(["webhook"]) as started:
        yield started["webhook"]


def event_ids(request: Request) -> tuple[str, ...]:
    return tuple(record.get("event_id") or record["id"] for record in request.records)


def batches(receiver: ProviderServer) -> dict[str, set[tuple[str, ...]]]:
    """For each webhook-id, the events that ever came with it."""
    found: dict[str, set[tuple[str, ...]]] = {}
    for request in receiver.requests:
        found.setdefault(request.headers["webhook-id"], set()).add(event_ids(request))
    return found


def test_each_request_is_signed_and_stamped_with_the_time_of_its_attempt(
    tmp_path: Path, receiver: ProviderServer
) -> None:
    before = datetime.now(UTC).timestamp()
    receiver.script(Reply(500))
    with start(tmp_path, lane("webhook", receiver)) as daemon, front_door(daemon.address) as stub:
        ids = send(stub, [tracked()] * 120)
        wait_for_events({"webhook": receiver}, ids)

    assert [request.status for request in receiver.requests].count(204) == 3
    for request in receiver.requests:
        assert before - 1 <= int(request.headers["webhook-timestamp"]) <= datetime.now(UTC).timestamp()
        assert request.headers["content-type"] == "application/json"
        assert "content-encoding" not in request.headers


def test_a_signature_of_another_secret_stops_the_lane_and_while_secrets_change_both_are_used(
    tmp_path: Path, receiver: ProviderServer
) -> None:
    old = secret_of(b"the-secret-that-was-there-before")
    with start(tmp_path, lane("webhook", receiver, api_key=old)) as daemon, front_door(daemon.address) as stub:
        ids = send(stub, [tracked()] * 50)
        said = daemon.wait_for_lane("webhook", "lane down", state="stopped")
        daemon.stop()
    both = lane("webhook", receiver, api_key=None, secret=f"{old} {receiver.token}")
    with start(tmp_path, both) as daemon:
        wait_for_events({"webhook": receiver}, ids)

    assert said["reason"] == "HTTP 401: the signature is not of our secret"
    assert len(receiver.requests[-1].headers["webhook-signature"].split()) == 2
    assert old not in str(daemon.logs)


def test_a_repeat_is_the_same_batch_over_kill_9_and_another_batch_size(
    tmp_path: Path, receiver: ProviderServer
) -> None:
    receiver.always(CloseAfterReading())
    with start(tmp_path, lane("webhook", receiver)) as daemon, front_door(daemon.address) as stub:
        ids = send(stub, [tracked()] * 70)
        receiver.wait_until(lambda: receiver.request_count >= 3)
        # What came later must not join a batch that the receiver may know.
        ids += send(stub, [tracked()] * 30)
        receiver.wait_until(lambda: receiver.request_count >= 6)
        daemon.kill()
    repeated = dict.fromkeys(batches(receiver))
    bodies = {request.headers["webhook-id"]: request.body for request in receiver.requests}
    receiver.recover()
    with start(tmp_path, lane("webhook", receiver, batch={"size": 7})) as daemon:
        daemon.wait_for_lane("webhook", _FLUSHED, pending=0)
        wait_for_events({"webhook": receiver}, ids)

    assert all(len(found) == 1 for found in batches(receiver).values())
    after = [request for request in receiver.requests if request.status == 204]
    again = [request for request in after if request.headers["webhook-id"] in repeated]
    assert {request.headers["webhook-id"] for request in again} == set(repeated)
    assert all(request.body == bodies[request.headers["webhook-id"]] for request in again)
    # Each event once, by one batch: the receiver may forget the batches that it knows.
    assert sorted(event_id for request in after for event_id in event_ids(request)) == sorted(ids)
    assert {len(request.records) for request in after if request not in again} <= {1, 2, 3, 4, 5, 6, 7}


def test_cloudevents_are_batches_of_their_own_type(tmp_path: Path, receiver: ProviderServer) -> None:
    table = lane("webhook", receiver, format="cloudevents", source="/spoold/eu", headers={"X-Tenant": "t-1"})
    with start(tmp_path, table) as daemon, front_door(daemon.address) as stub:
        ids = send(stub, one_of_each())
        wait_for_events({"webhook": receiver}, ids)

    (request,) = receiver.requests
    assert request.headers["content-type"] == "application/cloudevents-batch+json"
    assert request.headers["x-tenant"] == "t-1"
    assert [cloudevent_faults(event) for event in request.records] == [[]] * 4
    paid, seen, tick, profile = request.records
    assert {event["source"] for event in request.records} == {"/spoold/eu"}
    assert (paid["subject"], paid["type"], paid["eventname"]) == ("u-81", "spoold.track.v1", "Order Paid")
    assert (paid["time"], paid["data"]) == ("2023-11-14T22:13:20.123Z", {"amount": 12.5, "gift": None, "plan": "pro"})
    assert (seen["anonymousid"], "subject" in seen, "subject" in tick) == ("device-4f2a9", False, False)
    assert (profile["type"], profile["data"]) == ("spoold.identify.v1", {"coupon": None, "plan": "pro"})


def test_a_receiver_that_wants_few_events_gets_few(tmp_path: Path, receiver: ProviderServer) -> None:
    with start(tmp_path, lane("webhook", receiver, max_events=20)) as daemon, front_door(daemon.address) as stub:
        ids = send(stub, [tracked()] * 100)
        wait_for_events({"webhook": receiver}, ids)

    assert max(len(request.records) for request in receiver.requests) == 20
    assert receiver.duplicate_count == 0
