"""``spoolctl status``: the daemon, its spool and its lanes at a glance."""

import time
from typing import Annotated

import typer
from rich.console import RenderableType
from rich.live import Live
from rich.text import Text

from spoolctl.client import Target
from spoolctl.failure import Exit, Failure
from spoolctl.render import console, errors, print_json, status_fields, status_view
from spoold import __version__
from spoold.api.spoold.admin.v1 import admin_pb2
from spoold.clock import SystemClock
from spoold.errors import SpoolError
from spoold.spool.contract import LaneState
from spoold.spool.offline import OfflineSpool, open_offline

_WATCH_SECONDS = 1.0


def status(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for scripts.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Look again every second; Ctrl-C ends it.")] = False,
) -> None:
    """What is waiting, and why. Works with the daemon down too."""
    target: Target = context.obj
    if watch:
        _watch(target, as_json=as_json)
        return
    reply = read_status(target)
    if reply.daemon.state == "offline":
        errors.print(f"spoold is not running on {target.socket}; this is what its spool says")
    if as_json:
        print_json(status_fields(reply))
    else:
        console.print(status_view(reply))


def read_status(target: Target) -> admin_pb2.GetStatusReply:
    """Ask the daemon; when it is down, read its spool."""
    try:
        with target.admin() as admin:
            return admin.status()
    except Failure as failure:
        if failure.code != Exit.UNREACHABLE:
            raise
        try:
            with open_offline(target.spool) as spool:
                return _offline_status(spool)
        except SpoolError as exc:
            raise Failure(
                Exit.UNREACHABLE,
                f"{failure.error}; {exc}",
                "start it (systemctl start spoold), or name its socket (--socket) or its spool (--spool)",
            ) from exc


def _watch(target: Target, *, as_json: bool) -> None:
    try:
        # Whoever can't be reached at first is probably misnamed; later it is a restart, and worth watching.
        reply = read_status(target)
        if console.is_terminal and not as_json:
            with Live(status_view(reply), console=console, auto_refresh=False) as live:
                while True:
                    time.sleep(_WATCH_SECONDS)
                    live.update(_view(target), refresh=True)
        while True:
            # A pipe gets one after the other: there is nothing to draw over.
            if as_json:
                print_json(status_fields(reply))
            else:
                console.print(status_view(reply))
            time.sleep(_WATCH_SECONDS)
            reply = read_status(target)
    except KeyboardInterrupt:
        return


def _view(target: Target) -> RenderableType:
    try:
        return status_view(read_status(target))
    except Failure as failure:
        return Text(f"error: {failure.error}", "red")


def _offline_status(spool: OfflineSpool) -> admin_pb2.GetStatusReply:
    """What the tables say; what only a running daemon knows stays unset."""
    totals = spool.state.spool
    pending = spool.state.pending()
    return admin_pb2.GetStatusReply(
        daemon=admin_pb2.DaemonStatus(state="offline", version=__version__),
        spool=admin_pb2.SpoolStatus(
            accepted=totals.accepted,
            pending=pending,
            retained=spool.state.retained(),
            bytes=spool.file_bytes,
            oldest_pending_seconds=_age(spool, spool.state.settled_seq()) if pending else None,
            duplicates=totals.duplicates,
            dead_bytes=totals.dead_bytes,
            damaged=totals.damaged,
        ),
        lanes=[_offline_lane(spool, lane) for lane in spool.lanes()],
    )


def _offline_lane(spool: OfflineSpool, lane: LaneState) -> admin_pb2.LaneStatus:
    return admin_pb2.LaneStatus(
        name=lane.name,
        kind=lane.kind,
        state="closed" if lane.is_closed else "stopped" if lane.retry.is_stopped else "idle",
        accepted=lane.accepted,
        pending=lane.pending,
        delivered=lane.delivered,
        dead=lane.dead,
        filtered=lane.filtered,
        purged=lane.purged,
        failures=lane.retry.failures,
        last_error=lane.retry.last_error or None,
        oldest_pending_seconds=_age(spool, lane.cursor) if lane.pending else None,
    )


def _age(spool: OfflineSpool, after: int) -> float | None:
    received_at_ms = spool.received_at_ms(after)
    return None if received_at_ms is None else max(0.0, (SystemClock().wall_ms() - received_at_ms) / 1000)
