"""``make demo``: 120 events in and out, a kill -9 in the middle of 400 more, and the proof that none was lost.

Everything is real: the daemon is its own process with its own spool on disk, the events come over gRPC, and a local
server answers as Mixpanel does. No key and no network are needed.
"""

import shutil
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import grpc
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from spoold.api.analytics.v1 import service_pb2, service_pb2_grpc
from tests.support.daemon_process import DaemonProcess
from tests.support.provider_server import ProviderServer

_FIRST = 120
_SECOND = 400
_KILL_AFTER = 150
_CALLERS = 8
_INTERVAL_SECONDS = "2"
_PATIENCE_SECONDS = 45.0
_HOME = Path("build/demo")


class Client:
    """A service that sends events, as yours would: an id of its own on each, so that a repeat is harmless."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.acknowledged: set[str] = set()

    def send(self, address: str, ids: list[str], title: str, kill: threading.Event | None = None) -> list[str]:
        """Send an event for each id, some at a time.

        Returns:
            The ids whose answer did not come: nobody knows whether they were stored.
        """
        task = self._progress.add_task(title, total=len(ids))
        unanswered = []
        with grpc.insecure_channel(address) as channel, ThreadPoolExecutor(_CALLERS) as callers:
            stub = service_pb2_grpc.AnalyticsServiceStub(channel)
            answers = callers.map(lambda event_id: _track(stub, event_id), ids)
            for count, (event_id, is_answered) in enumerate(zip(ids, answers, strict=True), 1):
                if is_answered:
                    self.acknowledged.add(event_id)
                    self._progress.advance(task)
                else:
                    unanswered.append(event_id)
                if kill is not None and count == _KILL_AFTER:
                    kill.set()
        return unanswered


def main() -> int:
    """Run the demonstration; 0 when every acknowledged event arrived."""
    console = Console()
    shutil.rmtree(_HOME, ignore_errors=True)
    _HOME.mkdir(parents=True)
    columns = (TextColumn("  {task.description:<42}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with ProviderServer() as provider, Progress(*columns, console=console) as progress:
        client = Client(progress)
        settings = {
            "TEST_MODE": "false",
            "MIXPANEL_API_KEY": provider.token,
            "MIXPANEL_ENDPOINT": provider.url,
            "FLUSH_INTERVAL_SECONDS": _INTERVAL_SECONDS,
        }
        console.print(f"spoold starts on an empty spool in {_HOME}, a local server plays Mixpanel")
        with DaemonProcess(_HOME, **settings) as daemon:
            client.send(daemon.address, _ids(_FIRST), "acknowledged: on disk, fsynced")
            _await_arrival(provider, client, progress)
            sizes = [len(request.records) for request in provider.requests]
            console.print(
                f"  flushed as {', '.join(map(str, sizes))}: in fifties, the rest after {_INTERVAL_SECONDS} s"
            )
            console.print(f"{_SECOND} more, and kill -9 in the middle")
            in_doubt = _send_and_kill(daemon, client, console)
        console.print("spoold starts again; the client repeats what got no answer, with the same ids")
        with DaemonProcess(_HOME, **settings) as daemon:
            client.send(daemon.address, in_doubt, "acknowledged at the second try")
            _await_arrival(provider, client, progress)
            code = daemon.stop()
    return _conclude(provider, client, code, console)


def _send_and_kill(daemon: DaemonProcess, client: Client, console: Console) -> list[str]:
    kill = threading.Event()

    def strike() -> None:
        kill.wait()
        daemon.kill()

    killer = threading.Thread(target=strike)
    killer.start()
    try:
        in_doubt = client.send(daemon.address, _ids(_SECOND), "acknowledged before the kill", kill)
    finally:
        kill.set()
        killer.join()
    console.print(f"  killed: {len(in_doubt)} calls got no answer")
    return in_doubt


def _await_arrival(provider: ProviderServer, client: Client, progress: Progress) -> None:
    task = progress.add_task("arrived at the provider", total=len(client.acknowledged))

    def has_all() -> bool:
        arrived = sum(event_id in provider.events_by_insert_id for event_id in client.acknowledged)
        progress.update(task, completed=arrived)
        return arrived == len(client.acknowledged)

    provider.wait_until(has_all, _PATIENCE_SECONDS)


def _conclude(provider: ProviderServer, client: Client, code: int, console: Console) -> int:
    lost = client.acknowledged - provider.events_by_insert_id.keys()
    changed = provider.changed
    is_good = not lost and not changed and code == 0 and len(client.acknowledged) == _FIRST + _SECOND
    console.print(
        f"{'OK' if is_good else 'FAILED'}: {len(client.acknowledged)} events acknowledged, "
        f"{len(client.acknowledged) - len(lost)} arrived, {len(lost)} lost, "
        f"{provider.duplicate_count} repeats that the provider drops by their id, 1 kill -9",
        style="bold green" if is_good else "bold red",
        highlight=False,
        soft_wrap=True,
    )
    return 0 if is_good else 1


def _ids(count: int) -> list[str]:
    return [str(uuid4()) for _ in range(count)]


def _track(stub: service_pb2_grpc.AnalyticsServiceStub, event_id: str) -> bool:
    request = service_pb2.TrackEventRequest(event_name="Order Paid", user_id="u-81", event_id=event_id)
    request.properties["amount"].number_value = 12.5
    try:
        reply: service_pb2.TrackEventResponse = stub.TrackEvent(request, timeout=10)
    except grpc.RpcError:
        return False
    return reply.success and reply.event_id == event_id


if __name__ == "__main__":
    sys.exit(main())
