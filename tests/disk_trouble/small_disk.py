"""The real daemon on a small disk of its own that fills: by its own appends, and to the last byte by another program.

    python -m tests.disk_trouble.small_disk tmpfs      # or ext4; needs root

The disk is mounted where nobody else sees it. Nothing that was refused was promised; delivery goes on, a daemon that
was killed starts on the full disk, and everything is as before once there is room.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from spoold.api.analytics.v1 import service_pb2
from tests.support.daemon_process import DaemonProcess
from tests.support.front_door import Stub, front_door, track_batch
from tests.support.provider_server import ProviderServer, Reply, Request
from tests.support.services import start, table

Kind = Literal["tmpfs", "ext4"]

_ROOT = Path(__file__).parents[2]
_MOUNT = {
    "tmpfs": "mount -t tmpfs -o size=8m spoold-test {home}/disk",
    "ext4": "truncate -s 20M {home}/image && mkfs.ext4 -q -b 4096 -m 0 {home}/image"
    " && mount -o loop {home}/image {home}/disk",
}
#: Events of a kilobyte in a call: to fill the disk, and so few that what the log holds is less than the reserve,
#: wherever the daemon is killed.
_MANY, _FEW = 100, 25
#: Attempts that fail while the disk is full.
_FAILURES = 40
#: On a machine with much else to do.
_PATIENCE_SECONDS = 60.0
#: Looks at a daemon in which the lane does nothing. They take longer than it waits between two attempts.
_STANDSTILL_LOOKS = 5
_TAKER_SECONDS, _TAKEN_BYTES = 0.0002, 4096


def run_on(kind: Kind) -> dict[str, int]:
    """Live through all of it, on a disk of this kind; returns the figures.

    Raises:
        AssertionError: A promise was broken, as the message tells.
        PermissionError: No disk can be mounted here.
    """
    with tempfile.TemporaryDirectory(prefix="spoold-disk-") as directory:
        mount = f"mkdir {directory}/disk && {_MOUNT[kind].format(home=directory)}"
        command = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", f'{mount} || exit 77; exec "$@"', "-"]
        script = [sys.executable, "-m", "tests.disk_trouble.small_disk", "--inside", directory, kind]
        done = subprocess.run([*command, *script], cwd=_ROOT, capture_output=True, text=True, check=False)
    if done.returncode in {1, 77} and not done.stdout and "Traceback" not in done.stderr:
        raise PermissionError(f"no {kind} can be mounted here: {done.stderr.strip()}")
    assert done.returncode == 0, f"{done.stderr}\n(again: python -m tests.disk_trouble.small_disk {kind})"
    figures: dict[str, int] = json.loads(done.stdout)
    return figures


def run_round(seed: int) -> dict[str, int]:
    """One disk, of a kind that the seed decides."""
    return run_on("ext4" if seed % 2 else "tmpfs")


def retry_seconds(error: grpc.RpcError) -> float:
    """When a refused caller shall come again."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type] # a failed call is both
    retry = error_details_pb2.RetryInfo()
    assert status is not None
    assert status.details[0].Unpack(retry)
    return float(retry.retry_delay.ToTimedelta().total_seconds())


class SmallDisk:
    """A spool on a disk of some MiB, its callers, and a provider that is down unless told otherwise."""

    def __init__(self, home: Path, provider: ProviderServer) -> None:
        self._home = home
        self._disk = home / "disk"
        self._provider = provider
        self._told: set[str] = set()
        self.figures: Counter[str] = Counter()
        provider.always(Reply(503))

    def run(self) -> None:
        """All of it, one after another."""
        try:
            self._run()
        except Exception as exc:
            raise AssertionError(f"{type(exc).__name__}: {exc}; the daemon: {self._last.logs[-9:]}") from exc

    def _run(self) -> None:
        with self._daemon() as daemon:
            self.fill_by_appends(daemon)
        # What it has forgotten would be room on a full disk.
        shutil.rmtree(self._disk / "spool")
        with self._daemon() as daemon, front_door(daemon.address) as stub:
            self._send(stub, 3)
            daemon.kill()
        self._fill_to_the_last_byte()
        with self._daemon() as daemon:
            self.go_on_while_full(daemon)
        with self._daemon() as daemon:
            with front_door(daemon.address) as stub:
                self._send(stub, 3)
            # Between two of its commits: what gets room only while the other program takes it has none.
            daemon.process.send_signal(signal.SIGSTOP)
            self._fill_to_the_last_byte()
            daemon.process.send_signal(signal.SIGCONT)
            self.go_on_while_full(daemon)
        with self._daemon() as daemon:
            self.wait_for_room(daemon)
        assert self._provider.events_by_insert_id.keys() == self._told, "what was acknowledged and nothing else"
        assert not self._provider.changed
        self.figures["acknowledged"] = len(self._told)
        self.figures["repeats"] = self._provider.duplicate_count

    def fill_by_appends(self, daemon: DaemonProcess) -> None:
        """The provider is down; the daemon takes events until it would leave too little room."""
        with front_door(daemon.address) as stub:
            self._fill(stub)
            assert daemon.wait_for_log("spool full")["reason"] == "min_free_bytes"
            self._deliver(daemon)
            # What is delivered is forgotten before its time, so there is room again, and nobody has done a thing.
            daemon.wait_for_log("spool has room again")
            self._send(stub, 1)
        self._deliver(daemon)

    def go_on_while_full(self, daemon: DaemonProcess) -> None:
        """Callers are refused, the provider takes a part, the rest after a kill, and then there is room again."""
        with front_door(daemon.address) as stub:
            self._refuse(stub)
            # Each failed attempt is a commit too, and none of them may use up what the reserve has left.
            requests = self._provider.request_count
            self._provider.wait_until(lambda: self._provider.request_count >= requests + _FAILURES, _PATIENCE_SECONDS)
            before = self._lane(daemon)["pending"]
            # A lane that is down tries its first event and another one in turn.
            self._allow(2)
            self._wait(daemon, lambda lane: lane["pending"] < before)
            self._refuse(stub)
        daemon.kill()
        self.figures["kills"] += 1
        with self._daemon() as again:
            with front_door(again.address) as stub:
                self._refuse(stub)
                self._deliver(again)
                self._refuse(stub)
                (self._disk / "filler").unlink()
                again.wait_for_log("spool has room again")
                self._send(stub, 1)
            self._deliver(again)

    def wait_for_room(self, daemon: DaemonProcess) -> None:
        """Another program takes whatever comes free: in the end no commit has room. Nothing ends, and all goes on."""
        with front_door(daemon.address) as stub:
            self._send(stub, 3)
            daemon.process.send_signal(signal.SIGSTOP)
            self._fill_to_the_last_byte()
            with self._taker():
                daemon.process.send_signal(signal.SIGCONT)
                self._wait_for_standstill(daemon)
                self._refuse(stub)
                self._provider.recover()
            (self._disk / "filler").unlink()
            daemon.wait_for_log("spool has room again")
            self._send(stub, 1)
        self._deliver(daemon)
        assert daemon.stop() == 0

    @contextmanager
    def _taker(self) -> Iterator[None]:
        """The other program, at work: first to ask for room that somebody gives up."""
        is_over = threading.Event()

        def take() -> None:
            with (self._disk / "filler").open("ab", buffering=0) as filler:
                while not is_over.wait(_TAKER_SECONDS):
                    with suppress(OSError):
                        while filler.write(b"x" * _TAKEN_BYTES):
                            pass

        with ThreadPoolExecutor(1) as pool:
            taking = pool.submit(take)
            try:
                yield
            finally:
                is_over.set()
        taking.result()

    def _wait_for_standstill(self, daemon: DaemonProcess) -> None:
        """Each attempt of the lane is settled; so where nothing can be stored there is not another one."""
        looks, before = 0, -1
        until = time.monotonic() + _PATIENCE_SECONDS
        while looks < _STANDSTILL_LOOKS and time.monotonic() < until:
            self._lane(daemon)
            count = self._provider.request_count
            looks, before = (looks + 1 if count == before else 0), count
        assert looks == _STANDSTILL_LOOKS, f"there was room all the time, for {before} attempts"
        self.figures["standstills"] += 1

    def _daemon(self) -> DaemonProcess:
        # One request at a time: what the provider took is settled at once, and not behind one that it refused.
        lane = table("providers.mixpanel", api_key=self._provider.token, endpoint=self._provider.url, in_flight=1)
        spool = table("spool", min_free_bytes="2MiB")
        waits = {"INITIAL_RETRY_DELAY_MS": "1", "MAX_RETRY_DELAY_MS": "5"}
        self._last = start(self._home, spool, lane, SPOOL_URL=f"sqlite://{self._disk}/spool", **waits)
        return self._last

    def _send(self, stub: Stub, calls: int) -> None:
        """Calls of a caller who repeats what is refused: the room may be gone for another moment."""
        end = time.monotonic() + _PATIENCE_SECONDS
        while calls:
            try:
                self._told |= set(track_batch(stub, _FEW, size=1000))
                calls -= 1
            except grpc.RpcError as error:
                if time.monotonic() > end:
                    raise
                self._check_refusal(error)

    def _fill(self, stub: Stub) -> None:
        for _ in range(1000):
            try:
                self._told |= set(track_batch(stub, _MANY, size=1000))
            except grpc.RpcError as error:
                self._check_refusal(error)
                return
        raise AssertionError("the disk takes more than it has")

    def _refuse(self, stub: Stub) -> None:
        try:
            stub.TrackEvent(service_pb2.TrackEventRequest(event_name="Too Much", user_id="u-81"), timeout=10)
        except grpc.RpcError as error:
            self._check_refusal(error)
        else:
            raise AssertionError("an event was taken on a full disk")

    def _check_refusal(self, error: grpc.RpcError) -> None:
        assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, error
        assert retry_seconds(error) > 0
        self.figures["refusals"] += 1

    def _allow(self, requests: int) -> None:
        """Let the provider take so many requests, then be down again."""
        left = iter(range(requests))

        def overrule(_request: Request) -> Reply | None:
            return None if next(left, None) is not None else Reply(503)

        self._provider.overrule = overrule
        self._provider.recover()

    def _deliver(self, daemon: DaemonProcess) -> None:
        """The provider is well until it has all, and all of it is settled."""
        self._provider.overrule = None
        self._provider.recover()
        self._provider.wait_until(lambda: self._provider.event_count == len(self._told), _PATIENCE_SECONDS)
        self._wait(daemon, lambda lane: lane["pending"] == 0)
        assert self._provider.events_by_insert_id.keys() == self._told
        self._provider.always(Reply(503))

    def _wait(self, daemon: DaemonProcess, is_there: Callable[[dict[str, Any]], bool]) -> None:
        for _ in range(60):
            if is_there(lane := self._lane(daemon)):
                return
        raise AssertionError(f"it never came to that: {lane}, {daemon.logs[-9:]}")

    def _lane(self, daemon: DaemonProcess) -> dict[str, Any]:
        program = str(Path(sys.executable).with_name("spoolctl"))
        command = [program, "--socket", str(daemon.admin_socket), "status", "--json"]
        lane: dict[str, Any]
        (lane,) = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)["lanes"]
        return lane

    def _fill_to_the_last_byte(self) -> None:
        """By another program, first in pages, then in bytes."""
        for block in ("4096", "1"):
            command = ["dd", "if=/dev/zero", f"of={self._disk}/filler", f"bs={block}", "oflag=append", "conv=notrunc"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert "No space left" in done.stderr, done.stderr
        stat = os.statvfs(self._disk)
        assert stat.f_bavail == 0


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("kind", choices=_MOUNT)
    parser.add_argument("--inside", type=Path, help="where the disk is mounted already")
    arguments = parser.parse_args()
    if arguments.inside is None:
        print(json.dumps(run_on(arguments.kind)))
        return
    with ProviderServer("small-disk-token") as provider:
        disk = SmallDisk(arguments.inside, provider)
        disk.run()
    assert not list((arguments.inside / "disk").rglob("quarantine")), "a healthy spool was moved aside"
    print(json.dumps(disk.figures))


if __name__ == "__main__":
    main()
