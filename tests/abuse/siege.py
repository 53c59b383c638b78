"""A daemon that delivers, good clients who go on with their work, and abuse of every kind at the same time.

Whatever is done to the daemon: its memory stays bounded, each event that a good client had acknowledged is delivered,
and when the abuse is over everything is as before.
"""

import gzip
import json
import random
import re
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc

from spoold.api.analytics.v1 import service_pb2 as pb
from tests.abuse.rude import ABUSES, Abuse
from tests.support.daemon_process import DaemonProcess
from tests.support.front_door import front_door
from tests.support.provider_server import (
    Action,
    CloseAfterReading,
    CloseBeforeReading,
    Drip,
    Hang,
    ProviderServer,
    Raw,
    Reply,
)
from tests.support.services import lane, start

MAX_RESIDENT_MIB = 256
_ABUSES_A_ROUND, _AT_ONCE = 9, 3
_GOOD_CLIENTS = 2
_CALL_SECONDS = 10.0
_CALM_SECONDS = 30.0
#: gRPC's pools of threads and the provider's connections come and go by a few.
_SPARE = 12
_REPEATABLE = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
}
#: A chunk that is a whole gzip member of 1 MiB: one behind the other they are one body without an end.
_ZEROS = b"%x\r\n%b\r\n" % (len(_MEMBER := gzip.compress(bytes(1 << 20))), _MEMBER)
_SHARED_MEMORY = Path("/dev/shm")
_BAD_WORDS = re.compile(r"Traceback|unexpected error|a part died|a lane died|never retrieved|uncaught", re.IGNORECASE)


def run_round(seed: int) -> dict[str, int]:
    """Some kinds of abuse at once, and a provider that misbehaves as well.

    Raises:
        AssertionError: A promise was broken.
    """
    rng = random.Random(seed)
    with TemporaryDirectory(prefix="spoold-siege-", dir=_SHARED_MEMORY if _SHARED_MEMORY.is_dir() else None) as home:
        try:
            with besieged(Path(home)) as siege:
                names = rng.choices(sorted(ABUSES), k=_ABUSES_A_ROUND)
                for first in range(0, len(names), _AT_ONCE):
                    siege.server.script(*rng.sample(faults(), 3))
                    siege.abuse([ABUSES[name] for name in names[first : first + _AT_ONCE]], rng)
                siege.make_peace()
                return siege.figures
        except AssertionError as exc:
            raise AssertionError(f"tests.abuse.siege.run_round({seed}): {exc}") from exc


def faults() -> list[Action]:
    """How a provider may misbehave; each ends within the lane's time-out."""
    head = b"HTTP/1.1 200 OK\r\n"
    chunked = head + b"Transfer-Encoding: chunked\r\n\r\n"
    return [
        Hang(threading.Event()),
        CloseBeforeReading(),
        CloseAfterReading(),
        Drip(head + b"\r\n", b"x" * 65_536, 0.0),
        Drip(head + b"x: ", b"y" * 65_536, 0.0),
        Drip(head, b"x: y\r\n" * 5_000, 0.001),
        Drip(b"", b"H", 0.01),
        Drip(chunked, b"0" * 65_536, 0.0),
        Drip(chunked + b"0\r\n", b"a: b\r\n" * 5_000, 0.001),
        Drip(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n" * 500, 0.001),
        Drip(chunked + b"1", b";a=b" * 10_000, 0.0),
        Drip(chunked.replace(b"Transfer", b"Content-Encoding: gzip\r\nTransfer"), _ZEROS, 0.0),
        Raw(head + b"Content-Length: 100\r\n\r\n{"),
        Raw(chunked + b"FFFFFFFFFF\r\n" + b"x" * 2_000_000),
        Raw(b"\x00\xff what?\r\n\r\n"),
        Reply(503, gzip.compress(bytes(100 << 20), 1), {"Content-Encoding": "gzip"}),
        Reply(500, b"<" * 1_000_000),
        Reply(429, b"", {"Retry-After": "0"}),
    ]


class Siege:
    """See the module.

    Attributes:
        figures: What was done so far.
        peak_mib: The most memory that the daemon ever had, at the last look.
    """

    def __init__(self, daemon: DaemonProcess, server: ProviderServer) -> None:
        self.daemon = daemon
        self.server = server
        self.figures = {"abuses": 0, "rude_calls": 0, "acknowledged": 0}
        self.acknowledged: list[str] = []
        self.peak_mib = 0.0
        self._refused: list[str] = []
        self._unexpected: list[str] = []
        self._is_over = threading.Event()
        self._clients = [threading.Thread(target=self._be_good) for _ in range(_GOOD_CLIENTS)]
        self._before = (0, 0)

    def begin(self) -> None:
        """The good clients begin; what the daemon has open when they do is what it may have in the end."""
        for client in self._clients:
            client.start()
        wait_until(lambda: len(self.acknowledged) >= 20, "the first calls")
        self._before = (descriptors(self.daemon.pid), threads(self.daemon.pid))

    def abuse(self, abuses: list[Abuse], rng: random.Random) -> None:
        """All of these at once; in the meantime and afterwards good clients are served."""
        before = len(self.acknowledged)
        counts: list[int] = []
        drawn = [random.Random(rng.random()) for _ in abuses]

        def run(abuse: Abuse, own: random.Random) -> None:
            counts.append(abuse(self.daemon.address, own))

        rude = [threading.Thread(target=run, args=pair) for pair in zip(abuses, drawn, strict=True)]
        for thread in rude:
            thread.start()
        for thread in rude:
            thread.join()
        assert len(counts) == len(abuses), "an abuse could not be carried out: see its traceback"
        wait_until(lambda: len(self.acknowledged) >= before + 10, f"good calls beside {names(abuses)}")
        self.check_memory(names(abuses))
        self.figures["abuses"] += len(abuses)
        self.figures["rude_calls"] += sum(counts)

    def check_memory(self, what: str) -> None:
        """The most that it ever was."""
        self.peak_mib = resident_peak_mib(self.daemon.pid)
        assert self.peak_mib < MAX_RESIDENT_MIB, f"{self.peak_mib:.0f} MiB resident after {what}"

    def end(self) -> None:
        """The good clients go home. Idempotent."""
        self._is_over.set()
        for client in self._clients:
            if client.ident is not None:
                client.join()

    def make_peace(self) -> None:
        """All is as before, and everything acknowledged is with the provider."""
        pid = self.daemon.pid
        self.server.recover()
        descriptors_before, threads_before = self._before
        wait_until(lambda: descriptors(pid) <= descriptors_before + _SPARE, "the descriptors' return")
        self.end()
        wait_until(lambda: threads(pid) <= threads_before + _SPARE, "the threads' end")
        self.server.wait_until(lambda: self._missing() == 0, 60)
        assert not self.server.changed, "an event was altered"
        assert not self._unexpected, f"a good client was told: {self._unexpected[0]}"
        self.figures["acknowledged"] = len(self.acknowledged)
        self.figures["refused_and_repeated"] = len(self._refused)
        self._check_words()
        status = self._spoolctl("status", "--json")
        assert status["daemon"]["state"] == "serving", status["daemon"]
        audit = self._spoolctl("audit", "--json")
        assert audit["ok"], audit

    def _missing(self) -> int:
        return len(set(self.acknowledged) - self.server.events_by_insert_id.keys())

    def _check_words(self) -> None:
        logs = self.daemon.logs
        # A line that is no JSON is one of gRPC's own.
        bad = [log for log in logs if log["event"] == "unstructured" or _BAD_WORDS.search(json.dumps(log))]
        assert not bad, f"in the log: {bad[:3]}"
        assert len(logs) < 3_000, f"{len(logs)} lines in the log"

    def _spoolctl(self, *arguments: str) -> dict[str, Any]:
        program = Path(sys.executable).with_name("spoolctl")
        command = [str(program), "--socket", str(self.daemon.admin_socket), *arguments]
        told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert told.returncode == 0, told.stderr
        answer: dict[str, Any] = json.loads(told.stdout)
        return answer

    def _be_good(self) -> None:
        """Call after call, as README's client does: each with its own id, repeated until it is known to be stored."""
        with front_door(self.daemon.address, ("grpc.use_local_subchannel_pool", 1)) as stub:
            while not self._is_over.is_set():
                request = pb.TrackEventRequest(event_name="Good", user_id="u-81", event_id=str(uuid.uuid4()))
                self._track(stub.TrackEvent, request)
                self._is_over.wait(0.002)

    def _track(self, track: Callable[..., pb.TrackEventResponse], request: pb.TrackEventRequest) -> None:
        while not self._is_over.is_set():
            try:
                reply = track(request, timeout=_CALL_SECONDS)
            except grpc.RpcError as error:
                (self._refused if error.code() in _REPEATABLE else self._unexpected).append(str(error))
                self._is_over.wait(0.05)
            else:
                self.acknowledged.append(reply.event_id)
                return


@contextmanager
def besieged(home: Path, **environment: str) -> Iterator[Siege]:
    """A daemon with one lane, and good clients of it."""
    with ProviderServer("mixpanel-token") as server:
        table = lane("mixpanel", server, timeout="1s", retry={"max_delay": "100ms"})
        with start(home, table, **environment) as daemon:
            siege = Siege(daemon, server)
            try:
                siege.begin()
                yield siege
            finally:
                siege.end()


def names(abuses: list[Abuse]) -> str:
    """What they are called."""
    return ", ".join(abuse.__name__ for abuse in abuses)


def wait_until(is_so: Callable[[], bool], what: str, timeout_seconds: float = _CALM_SECONDS) -> None:
    """Look again and again."""
    end = time.monotonic() + timeout_seconds
    pause = threading.Event()
    while not is_so():
        assert time.monotonic() < end, f"waited {timeout_seconds:g} s for {what}"
        pause.wait(0.02)


def descriptors(pid: int) -> int:
    """How many a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def threads(pid: int) -> int:
    """How many a process has."""
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def resident_peak_mib(pid: int) -> float:
    """VmHWM: the most memory that a process ever had."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024
