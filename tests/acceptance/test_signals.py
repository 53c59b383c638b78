"""What signals do while calls are coming in, and while a provider is out."""

import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.support.daemon_process import DaemonProcess
from tests.support.front_door import Stub, front_door, track
from tests.support.provider_server import Hang, ProviderServer, Reply

Settings = dict[str, str]

_CALLERS = 8


def test_sigint_ends_it_as_sigterm_does(tmp_path: Path, provider: ProviderServer, settings: Settings) -> None:
    with DaemonProcess(tmp_path, **settings) as daemon:
        with front_door(daemon.address) as stub:
            track(stub, count=7)
        code = daemon.end(signal.SIGINT)

    assert code == 0
    assert provider.event_count == 7


def test_sigterm_under_load_keeps_all_that_was_acknowledged_and_sends_nothing_twice(
    tmp_path: Path, provider: ProviderServer, settings: Settings
) -> None:
    under_way = threading.Semaphore(0)
    with DaemonProcess(tmp_path, **settings) as daemon, front_door(daemon.address) as stub:
        with ThreadPoolExecutor(_CALLERS) as callers:
            answers = [callers.submit(_track_until_refused, stub, under_way) for _ in range(_CALLERS)]
            for _ in range(300):
                under_way.acquire()
            assert daemon.stop() == 0
        acknowledged = {event_id for answer in answers for event_id in answer.result()[0]}
    with DaemonProcess(tmp_path, **settings) as daemon:
        assert daemon.stop() == 0

    assert acknowledged <= provider.events_by_insert_id.keys()
    assert {answer.result()[1] for answer in answers} == {grpc.StatusCode.UNAVAILABLE}
    assert provider.duplicate_count == 0


def test_sigterm_does_not_wait_for_a_provider_that_is_out(
    tmp_path: Path, provider: ProviderServer, settings: Settings
) -> None:
    provider.always(Reply(503))
    slow = {"INITIAL_RETRY_DELAY_MS": "60000", "MAX_RETRY_DELAY_MS": "60000"}
    with DaemonProcess(tmp_path, **settings | slow) as daemon:
        with front_door(daemon.address) as stub:
            track(stub, count=50)
        daemon.wait_for_log("batch send failed, retrying")
        assert daemon.end(signal.SIGTERM, timeout_seconds=10) == 0
        assert daemon.wait_for_log("final flush completed")["pending"] == 50


def test_health_watchers_hear_of_the_end_while_the_final_flush_still_goes_on(
    tmp_path: Path, provider: ProviderServer, settings: Settings
) -> None:
    provider.always(Hang(threading.Event()))
    with DaemonProcess(tmp_path, **settings) as daemon, front_door(daemon.address) as stub:
        track(stub, count=50)
        provider.wait_until(lambda: provider.arrived_count == 1)
        with grpc.insecure_channel(daemon.address) as channel:
            watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=20)
            heard = [next(watch).status]
            daemon.process.send_signal(signal.SIGTERM)
            heard.append(next(watch).status)
        assert daemon.end(signal.SIGTERM) == 0

    assert heard == [health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING]


def _track_until_refused(stub: Stub, under_way: threading.Semaphore) -> tuple[list[str], grpc.StatusCode]:
    ids: list[str] = []
    while True:
        try:
            ids += track(stub)
        except grpc.RpcError as refused:
            return ids, refused.code()
        under_way.release()
