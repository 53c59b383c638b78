"""The power of a real ext4 under a real daemon is cut; to be run in namespaces of its own (see ``machine.py``).

    python -m tests.power.cutting --seed 1 --durability fsync --cuts 20 --drains 1

A real client sends events; each reply is marked in the disk's log. Then the disk is laid out as it may have been at
moments drawn from the seed, ext4 replays its journal, the spool is opened, and what was acknowledged by then is looked
for. Some of these disks get a daemon that drains into a provider. Prints where the disk is, once a daemon is about to
run on it, and at the end the figures as one line of JSON.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from spoold.api.analytics.v1 import service_pb2
from spoold.api.spoold.record.v1 import record_pb2
from spoold.clock import SystemClock, SystemEntropy
from tests.power.crash_disk import Entry, Flushed, Marked, Wrote, read_log
from tests.power.opening import Opened, opened_spool
from tests.power.promises import BrokenPromiseError, LostEventError, check_balance, check_goes_on
from tests.power.survivors import keep_some
from tests.sim.inode import Change, apply_changes
from tests.support.front_door import Stub, front_door
from tests.support.provider_server import Reply
from tests.support.services import lane, services, start, table

_DISK_BYTES = 24 << 20
_MKFS = ("-q", "-F", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0", "-J", "size=4")
#: The first block, in which the superblock is.
_SUPERBLOCK_END = 4096
_CLIENTS, _CALLS = 4, 40
_PATIENCE_SECONDS = 30.0

#: Event id → the request as it was sent.
Acknowledged = dict[str, bytes]


class Recorder:
    """A daemon on a disk that remembers, and clients that mark each reply."""

    def __init__(self, home: Path, durability: str) -> None:
        self._point, self._log = home / "fuse", home / "log"
        self._root = home / "root"
        self._durability = durability
        self.acknowledged: Acknowledged = {}

    def record(self) -> list[Entry]:
        """One life of the daemon, from an empty disk to its end by SIGKILL."""
        self._point.mkdir()
        self._root.mkdir()
        with self._served():
            disk = self._point / "disk"
            _run("mkfs.ext4", *_MKFS, str(disk))
            with mounted(disk, self._root):
                print(self._point, flush=True)
                self._live()
        return list(read_log(self._log))

    @contextmanager
    def _served(self) -> Iterator[None]:
        command = [sys.executable, "-m", "tests.power.crash_disk", str(self._point), str(_DISK_BYTES), str(self._log)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
            assert server.stdout is not None
            if not server.stdout.readline():
                raise RuntimeError("the disk can't be mounted")
            try:
                yield
            finally:
                _run("umount", str(self._point))

    def _live(self) -> None:
        with services(("mixpanel", "webhook")) as servers, (self._point / "marks").open("wb", buffering=0) as marks:
            # One lane settles as it goes, the other has everything before it to the end.
            servers["webhook"].always(Reply(503, b"busy"))
            lanes = [lane(kind, server) for kind, server in servers.items()]
            with start(self._root, *lanes, spool_table(self._durability)) as daemon, front_door(daemon.address) as stub:
                with ThreadPoolExecutor(_CLIENTS) as pool:
                    sent = [pool.submit(self._send, stub, client, marks.fileno()) for client in range(_CLIENTS)]
                for one in sent:
                    one.result()
                daemon.wait_for_lane("mixpanel", "batch flushed successfully")

    def _send(self, stub: Stub, client: int, marks: int) -> None:
        rng = random.Random(client)
        for number in range(_CALLS):
            events = [_event(f"{client}.{number}.{index}", rng) for index in range(rng.choice((1, 1, 1, 5)))]
            if len(events) == 1:
                ids = [stub.TrackEvent(events[0], timeout=_PATIENCE_SECONDS).event_id]
            else:
                items = [service_pb2.BatchItem(track=event) for event in events]
                reply = stub.TrackBatch(service_pb2.TrackBatchRequest(items=items), timeout=_PATIENCE_SECONDS)
                ids = [result.event_id for result in reply.results]
            self.acknowledged |= {key: event.SerializeToString() for key, event in zip(ids, events, strict=True)}
            os.write(marks, " ".join(ids).encode())


class Cutter:
    """Cuts the power of a recorded disk."""

    def __init__(self, home: Path, log: Sequence[Entry], acknowledged: Acknowledged, durability: str) -> None:
        self._log = log
        self._durability = durability
        self._acknowledged = acknowledged
        self._image, self._root = home / "image", home / "root"
        self.figures = Counter(acknowledged=len(acknowledged), power_cuts=0, losing_cuts=0, drained=0)

    def cut(self, rng: random.Random, cuts: int, *, drains: int) -> None:
        """Look at the disk as it may have been at so many moments behind the first mark.

        Raises:
            BrokenPromiseError: Where a spool that is to be durable lost something; any other promise whatever it is.
        """
        first = next(at for at, entry in enumerate(self._log) if isinstance(entry, Marked))
        moments = sorted(rng.sample(range(first, len(self._log)), cuts))
        drained = rng.sample(moments, drains)
        for at, ids in self._images(moments, rng):
            owed = {key: self._acknowledged[key] for key in ids}
            with mounted(self._image, self._root):
                if at in drained:
                    self._drain(owed)
                try:
                    self._check(owed)
                except LostEventError:
                    if self._durability == "fsync":
                        raise
                    self.figures["losing_cuts"] += 1
            self.figures["power_cuts"] += 1

    def _images(self, moments: Sequence[int], rng: random.Random) -> Iterator[tuple[int, list[str]]]:
        """For each moment: the image is written, and these were acknowledged."""
        durable = bytearray(_DISK_BYTES)
        pending: list[Change] = []
        ids: list[str] = []
        wanted = set(moments)
        for at, entry in enumerate(self._log):
            match entry:
                case Wrote(offset, data):
                    pending.append((offset, data))
                case Flushed():
                    apply_changes(durable, pending)
                    pending = []
                case Marked(text):
                    ids += text.split()
            if at in wanted:
                content = bytearray(durable)
                keep_some(content, pending, rng)
                content[:_SUPERBLOCK_END] = _superblock(durable, pending, rng)
                self._image.write_bytes(content)
                yield at, ids

    def _check(self, owed: Acknowledged) -> None:
        with opened_spool(self._root / "spool", SystemClock(), SystemEntropy(), durability=self._durability) as opened:
            if opened.quarantined is not None:
                raise BrokenPromiseError(f"a healthy spool was moved aside: {opened.quarantined.reason}")
            check_balance(opened)
            check_goes_on(opened)
            check_sent(opened, owed)

    def _drain(self, owed: Acknowledged) -> None:
        """A daemon on this disk delivers all of it."""
        with services(("webhook",)) as servers:
            server = servers["webhook"]
            with start(self._root, lane("webhook", server), spool_table("fsync")):
                server.wait_until(lambda: owed.keys() <= server.events_by_insert_id.keys(), _PATIENCE_SECONDS)
        self.figures["drained"] += len(owed)


def check_sent(opened: Opened, owed: Acknowledged) -> None:
    """Each event that was acknowledged is in the journal, with the bytes that were sent."""
    records = [record_pb2.Record.FromString(data) for (data,) in opened.rows("SELECT data FROM queue_journal")]
    found = {str(UUID(bytes=record.event_id)): record.track for record in records}
    lost = owed.keys() - found.keys()
    if lost:
        raise LostEventError(f"{len(lost)} of {len(owed)} acknowledged events are gone: {sorted(lost)[:3]}")
    altered = [key for key, body in owed.items() if found[key] != body]
    if altered:
        raise BrokenPromiseError(f"{len(altered)} of {len(owed)} acknowledged events are altered: {altered[:3]}")


def _superblock(durable: bytearray, pending: Sequence[Change], rng: random.Random) -> bytes:
    """Any one that was written, but whole: ext4 does not mount a disk where a power cut tore it."""
    written = [data[:_SUPERBLOCK_END] for offset, data in pending if data is not None and offset == 0]
    return rng.choice([bytes(durable[:_SUPERBLOCK_END]), *written])


@contextmanager
def mounted(image: Path, point: Path) -> Iterator[None]:
    """An ext4 image, through a loop device; its journal is replayed."""
    _run("mount", "-t", "ext4", "-o", "loop", str(image), str(point))
    try:
        yield
    finally:
        _run("umount", str(point))


def spool_table(durability: str) -> str:
    """Limits for a small disk."""
    return table("spool", durability=durability, min_free_bytes="1MiB")


def _event(name: str, rng: random.Random) -> service_pb2.TrackEventRequest:
    text = rng.randbytes(rng.choice((1, 100, 1000))).hex()
    # One property: a map of several is not written in the same order each time.
    properties = {"text": service_pb2.PropertyValue(string_value=text)}
    return service_pb2.TrackEventRequest(event_name=name, user_id="u-81", properties=properties)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description="see the module")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--durability", choices=("fsync", "os"), required=True)
    parser.add_argument("--cuts", type=int, required=True)
    parser.add_argument("--drains", type=int, required=True)
    options = parser.parse_args()
    rng = random.Random(f"cut {options.seed}")
    # A memory of its own, which is gone with the namespace even if this process has no time to tidy up.
    _run("mount", "-t", "tmpfs", "spoold-power", "/dev/shm")
    with tempfile.TemporaryDirectory(prefix="spoold-power-", dir="/dev/shm") as path:
        home = Path(path)
        recorder = Recorder(home, options.durability)
        log = recorder.record()
        cutter = Cutter(home, log, recorder.acknowledged, options.durability)
        try:
            cutter.cut(rng, options.cuts, drains=options.drains)
        except BrokenPromiseError as exc:
            print(exc, file=sys.stderr)
            return 1
        print(json.dumps(cutter.figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
