"""What the next start finds, however the last one ended."""

import os
import random
import signal
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import grpc

from tests.support.daemon_process import DaemonProcess
from tests.support.front_door import Stub, front_door, track
from tests.support.provider_server import CloseAfterReading, Hang, ProviderServer, Reply

Settings = dict[str, str]

_CALLERS = 8
_LIVES = 4
_EVENTS_A_LIFE = 400
#: SEED=n goes through the same moments again, as far as threads allow.
_SEED = int(os.environ.get("SEED", random.randrange(10**6)))


def test_lives_that_end_at_random_lose_nothing_and_change_nothing(
    tmp_path: Path, provider: ProviderServer, settings: Settings
) -> None:
    choice = random.Random(_SEED)
    acknowledged: set[str] = set()
    in_doubt: list[str] = []
    for _ in range(_LIVES):
        ids = in_doubt + [str(uuid4()) for _ in range(_EVENTS_A_LIFE)]
        with DaemonProcess(tmp_path, **settings) as daemon, front_door(daemon.address) as stub:
            in_doubt = _send_and_kill(daemon, stub, ids, after=choice.randrange(1, len(ids)))
        acknowledged |= set(ids) - set(in_doubt)
    with DaemonProcess(tmp_path, **settings) as daemon, front_door(daemon.address) as stub:
        acknowledged |= {event_id for event_id in in_doubt if _is_taken(stub, event_id)}
        assert daemon.stop() == 0

    assert len(acknowledged) == _LIVES * _EVENTS_A_LIFE, f"SEED={_SEED}"
    assert provider.events_by_insert_id.keys() == acknowledged, f"SEED={_SEED}"
    assert not provider.changed


def test_what_was_sent_and_not_confirmed_is_sent_again_with_the_same_bytes(
    tmp_path: Path, provider: ProviderServer, settings: Settings
) -> None:
    """I3: over a restart."""
    provider.script(CloseAfterReading(), Hang(threading.Event()))
    with DaemonProcess(tmp_path, **settings) as daemon, front_door(daemon.address) as stub:
        track(stub, count=50)
        provider.wait_until(lambda: provider.arrived_count == 2)
        daemon.kill()
    with DaemonProcess(tmp_path, **settings):
        provider.wait_until(lambda: provider.duplicate_count == 50)

    assert provider.requests[0].body == provider.requests[-1].body
    assert not provider.changed


def test_what_was_pending_at_the_end_is_due_at_once(
    tmp_path: Path, provider: ProviderServer, settings: Settings
) -> None:
    patient = settings | {"FLUSH_INTERVAL_SECONDS": "300"}
    with DaemonProcess(tmp_path, **patient) as daemon:
        with front_door(daemon.address) as stub:
            ids = track(stub, count=7)
        daemon.kill()

    with DaemonProcess(tmp_path, **patient):
        provider.wait_until(lambda: provider.event_count == 7)
    assert provider.events_by_insert_id.keys() == set(ids)


def test_test_mode_leaves_the_events_of_a_live_spool_alone(
    tmp_path: Path, provider: ProviderServer, settings: Settings
) -> None:
    provider.always(Reply(503))
    with DaemonProcess(tmp_path, **settings) as daemon, front_door(daemon.address) as stub:
        ids = track(stub, count=50)
        daemon.wait_for_log("batch send failed, retrying")
    with DaemonProcess(tmp_path) as daemon, front_door(daemon.address) as stub:
        track(stub, "Rehearsal")
        assert daemon.stop() == 0

    provider.recover()
    with DaemonProcess(tmp_path, **settings):
        provider.wait_until(lambda: provider.event_count == 50)
    assert provider.events_by_insert_id.keys() == set(ids)


def test_an_id_that_comes_again_after_a_restart_is_one_event(
    tmp_path: Path, provider: ProviderServer, settings: Settings
) -> None:
    event_id = str(uuid4())
    for number in (signal.SIGKILL, signal.SIGTERM):
        with DaemonProcess(tmp_path, **settings) as daemon, front_door(daemon.address) as stub:
            assert track(stub, event_id=event_id) == [event_id]
            daemon.end(number)

    assert provider.event_count == 1


def _send_and_kill(daemon: DaemonProcess, stub: Stub, ids: list[str], *, after: int) -> list[str]:
    """Send, kill the daemon after so many answers; returns the ids that got none."""
    in_doubt = []
    with ThreadPoolExecutor(_CALLERS) as callers:
        answers: list[Future[bool]] = [callers.submit(_is_taken, stub, event_id) for event_id in ids]
        for count, (event_id, answer) in enumerate(zip(ids, answers, strict=True), 1):
            if not answer.result():
                in_doubt.append(event_id)
            if count == after:
                daemon.process.kill()
    daemon.end()
    return in_doubt


def _is_taken(stub: Stub, event_id: str) -> bool:
    try:
        return track(stub, event_id=event_id) == [event_id]
    except grpc.RpcError:
        return False
