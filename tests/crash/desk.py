"""What an operator does beside the load."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import grpc

from spoold.api.spoold.admin.v1 import admin_pb2, admin_pb2_grpc
from tests.support.daemon_process import DaemonProcess

#: The lanes, each named for its kind.
LANES = ("mixpanel", "amplitude", "webhook")
Admin = admin_pb2_grpc.AdminServiceStub


@contextmanager
def admin(daemon: DaemonProcess) -> Iterator[Admin]:
    """What an operator speaks to."""
    with grpc.insecure_channel(f"unix:{daemon.admin_socket.absolute()}") as channel:
        yield Admin(channel)


def command(operator: Admin, word: str, *lanes: str) -> None:
    """Say a word to these lanes, or to all."""
    for lane in lanes or LANES:
        operator.CommandLane(admin_pb2.CommandLaneRequest(lane=lane, command=word))


def flush(operator: Admin) -> None:
    command(operator, "flush")


def pause(operator: Admin) -> None:
    command(operator, "pause", "amplitude")
    command(operator, "resume", "amplitude")


def replay_dead(operator: Admin) -> int:
    """Returns the replay's number."""
    return int(operator.StartReplay(admin_pb2.Selection(lane="mixpanel", is_dead=True)).id)


def replay_range(operator: Admin) -> int:
    """Returns the replay's number."""
    return int(operator.StartReplay(admin_pb2.Selection(lane="webhook")).id)


def cancel(operator: Admin) -> None:
    replay = operator.StartReplay(admin_pb2.Selection(lane="amplitude"))
    operator.CancelReplay(admin_pb2.CancelReplayRequest(id=replay.id))


def tally(operator: Admin) -> None:
    list(operator.Tally(admin_pb2.TallyRequest()))


def audit(operator: Admin) -> None:
    list(operator.Audit(admin_pb2.AuditRequest()))


#: All of it.
DEEDS: tuple[Callable[[Admin], object], ...] = (flush, replay_dead, tally, replay_range, pause, audit, cancel)
