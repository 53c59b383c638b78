"""Talking to the daemon: its admin socket, and its front door."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from spoolctl.failure import Exit, Failure
from spoolctl.render import read_imbalance
from spoold.api.analytics.v1 import service_pb2_grpc
from spoold.api.spoold.admin.v1 import admin_pb2, admin_pb2_grpc
from spoold.spool.balance import Audit, AuditedLane

_ADMIN_SECONDS = 10.0
#: A unix socket's path has 108 bytes in the kernel, the closing NUL included.
_MAX_SOCKET_BYTES = 107
_DEFAULT_ADDRESS = "127.0.0.1:50054"
#: A wildcard is where to listen, not where to connect.
_REACHABLE_HOSTS = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}
#: The http_proxy of a shell is for the web; grpcio would go through it even to this machine.
#: A list of replays with thousands of ids is long, and this machine made it.
CHANNEL_OPTIONS = (("grpc.enable_http_proxy", 0), ("grpc.max_receive_message_length", -1))
_NOT_REACHABLE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
_REFUSED = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNIMPLEMENTED)
_ADMIN_REFUSED = (
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
)

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Target:
    """Which daemon: the global options.

    Attributes:
        socket: Its admin socket.
        spool: Where its spool lies, for when it is down.
    """

    socket: Path
    spool: Path

    @contextmanager
    def admin(self) -> Iterator["Admin"]:
        """The admin API. Nothing is asked yet."""
        if len(os.fsencode(self.socket.absolute())) > _MAX_SOCKET_BYTES:
            raise _unreachable(self.socket, f"a socket's path has at most {_MAX_SOCKET_BYTES} bytes")
        with grpc.insecure_channel(f"unix:{self.socket.absolute()}", options=CHANNEL_OPTIONS) as channel:
            yield Admin(self.socket, admin_pb2_grpc.AdminServiceStub(channel))

    def front_door(self, address: str | None) -> str:
        """Where events go in: ``address``, or what the daemon says, or the default port on this machine."""
        if address is not None:
            if not address.strip():
                raise Failure(Exit.USAGE, "--address: must be HOST:PORT, is empty")
            return address
        try:
            with self.admin() as admin:
                said = admin.status().daemon.address
        except Failure as failure:
            if failure.code != Exit.UNREACHABLE:
                raise
            said = ""
        # Empty while it starts.
        host, _, port = (said or _DEFAULT_ADDRESS).rpartition(":")
        return f"{_REACHABLE_HOSTS.get(host, host)}:{port}"


#: Where the packaged daemon is.
DEFAULT_TARGET = Target(Path("/run/spoold/admin.sock"), Path("/var/lib/spoold"))


class Admin:
    """The admin API with failures as ``Failure``."""

    def __init__(self, socket: Path, stub: admin_pb2_grpc.AdminServiceStub) -> None:
        self._socket = socket
        self._stub = stub

    def status(self) -> admin_pb2.GetStatusReply:
        """The daemon at a glance."""
        with self._failures():
            reply: admin_pb2.GetStatusReply = self._stub.GetStatus(admin_pb2.GetStatusRequest(), timeout=_ADMIN_SECONDS)
            return reply

    def config(self) -> admin_pb2.GetConfigReply:
        """The configuration in force."""
        with self._failures():
            reply: admin_pb2.GetConfigReply = self._stub.GetConfig(admin_pb2.GetConfigRequest(), timeout=_ADMIN_SECONDS)
            return reply

    def story(self, event_id: str) -> admin_pb2.GetStoryReply | None:
        """What became of an event; None when the journal does not hold it."""
        request = admin_pb2.GetStoryRequest(event_id=event_id)
        try:
            with self._failures():
                reply: admin_pb2.GetStoryReply = self._stub.GetStory(request, timeout=_ADMIN_SECONDS)
                return reply
        except Failure as failure:
            if failure.code == Exit.NOTHING:
                return None
            raise

    def command_lane(self, lane: str, command: str) -> admin_pb2.LaneStatus:
        """Say ``pause``, ``resume``, ``flush`` or ``accept_dead`` to a lane; returns how it stands then."""
        request = admin_pb2.CommandLaneRequest(lane=lane, command=command)
        with self._failures():
            reply: admin_pb2.LaneStatus = self._stub.CommandLane(request, timeout=_ADMIN_SECONDS)
            return reply

    def dead(self, lane: str = "", event_id: str = "") -> Iterator[admin_pb2.DeadLetter]:
        """Dead letters, the oldest first within each lane; of one lane or event where it is named."""
        return self._stream(self._stub.ListDead(admin_pb2.ListDeadRequest(lane=lane, event_id=event_id)))

    def count(self, selection: admin_pb2.Selection) -> Iterator[admin_pb2.EventCount]:
        """How many events a selection holds, as the daemon looks through them."""
        return self._stream(self._stub.CountEvents(selection))

    def start_replay(self, selection: admin_pb2.Selection) -> admin_pb2.Replay:
        """Send again what a selection holds now."""
        with self._failures():
            reply: admin_pb2.Replay = self._stub.StartReplay(selection, timeout=_ADMIN_SECONDS)
            return reply

    def replays(self) -> list[admin_pb2.Replay]:
        """Those that run and the last that ended, the newest first."""
        with self._failures():
            return list(self._stub.ListReplays(admin_pb2.ListReplaysRequest(), timeout=_ADMIN_SECONDS).replays)

    def cancel_replay(self, replay_id: int) -> admin_pb2.Replay:
        """End a replay; what was sent stays sent."""
        with self._failures():
            request = admin_pb2.CancelReplayRequest(id=replay_id)
            reply: admin_pb2.Replay = self._stub.CancelReplay(request, timeout=_ADMIN_SECONDS)
            return reply

    def audit(self) -> Iterator[tuple[float, Audit | None]]:
        """Recount everything: how far that is, 0 to 1, and at last the outcome."""
        for reply in self._stream(self._stub.Audit(admin_pb2.AuditRequest())):
            yield reply.progress, _read_audit(reply) if reply.is_end else None

    def start_salvage(self, folder: Path) -> admin_pb2.Salvage:
        """Have brought over what is left of a damaged spool."""
        with self._failures():
            request = admin_pb2.StartSalvageRequest(path=str(folder))
            reply: admin_pb2.Salvage = self._stub.StartSalvage(request, timeout=_ADMIN_SECONDS)
            return reply

    def tally(self, since_ms: int | None, until_ms: int | None) -> Iterator[admin_pb2.TallyReply]:
        """Count what the journal holds of a time (Unix milliseconds, None: all), stretch by stretch."""
        return self._stream(self._stub.Tally(admin_pb2.TallyRequest(since_ms=since_ms, until_ms=until_ms)))

    def _stream(self, messages: Iterable[_T]) -> Iterator[_T]:
        # Without a time limit: how long it takes depends on how much there is.
        with self._failures():
            yield from messages

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except grpc.RpcError as exc:
            code, text = exc.code(), exc.details() or ""
            if code == grpc.StatusCode.NOT_FOUND:
                raise Failure(Exit.NOTHING, text) from exc
            if code in _ADMIN_REFUSED:
                raise Failure(Exit.REFUSED, text) from exc
            if code in _NOT_REACHABLE:
                raise _unreachable(self._socket, _why_not(self._socket) or text) from exc
            raise Failure(Exit.FAILED, f"spoold answered {code.name}: {text}") from exc


def _read_audit(reply: admin_pb2.AuditReply) -> Audit:
    lanes = [
        AuditedLane(lane.name, lane.accepted, lane.delivered, lane.dead, lane.filtered, lane.purged, lane.pending)
        for lane in reply.lanes
    ]
    return Audit(tuple(lanes), tuple(map(read_imbalance, reply.imbalances)))


def _unreachable(socket: Path, reason: str) -> Failure:
    return Failure(
        Exit.UNREACHABLE,
        f"spoold is not reachable on {socket}: {reason}",
        "is it running (systemctl status spoold)? another socket: --socket, SPOOLCTL_SOCKET",
    )


def _why_not(socket: Path) -> str:
    """What keeps us from a socket, where the file system knows."""
    try:
        socket.stat()
    except FileNotFoundError:
        return "no such socket"
    except OSError as exc:
        return exc.strerror or str(exc)
    return "" if os.access(socket, os.W_OK) else "this user may not open it"


@contextmanager
def analytics(address: str) -> Iterator[service_pb2_grpc.AnalyticsServiceStub]:
    """The front door at ``address``; what it refuses becomes a ``Failure``."""
    with grpc.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
        try:
            yield service_pb2_grpc.AnalyticsServiceStub(channel)
        except grpc.RpcError as exc:
            raise _front_door_failure(exc, address) from exc


def _front_door_failure(error: grpc.RpcError, address: str) -> Failure:
    code, text = error.code(), error.details() or ""
    if code in _REFUSED:
        return Failure(Exit.REFUSED, "\n".join(_violations(error) or [text]))
    if code in _NOT_REACHABLE:
        return Failure(
            Exit.UNREACHABLE,
            f"no answer from {address}: {text}",
            "is spoold running there? another address: --address HOST:PORT",
        )
    return Failure(Exit.FAILED, f"{address} answered {code.name}: {text}")


def _violations(error: grpc.RpcError) -> list[str]:
    """Each field that the door objected to, with the reason."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type] # a failed call is both
    found: list[str] = []
    for detail in status.details if status is not None else ():
        bad_request = error_details_pb2.BadRequest()
        if detail.Unpack(bad_request):
            found += [f"{violation.field}: {violation.description}" for violation in bad_request.field_violations]
    return found
