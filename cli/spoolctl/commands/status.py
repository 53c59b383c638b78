"""``spoolctl status``: the daemon, its spool and its lanes at a glance."""

import time
from typing import Annotated

import typer
from rich.console import RenderableType
from rich.live import Live
from rich.text import Text

from spoolctl.client import Target
from spoolctl.failure import Failure
from spoolctl.reading import reading
from spoolctl.render import console, print_json, status_fields, status_view
from spoold.api.spoold.admin.v1 import admin_pb2

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
    with reading(target) as desk:
        reply = desk.status()
    if as_json:
        print_json(status_fields(reply))
    else:
        console.print(status_view(reply))


def _watch(target: Target, *, as_json: bool) -> None:
    try:
        # Whoever can't be reached at first is probably misnamed; later it is a restart, and worth watching.
        reply = _look(target)
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
            reply = _look(target)
    except KeyboardInterrupt:
        return


def _view(target: Target) -> RenderableType:
    try:
        return status_view(_look(target))
    except Failure as failure:
        return Text(f"error: {failure.error}", "red")


def _look(target: Target) -> admin_pb2.GetStatusReply:
    with reading(target, is_watching=True) as desk:
        return desk.status()
