"""``spoolctl lanes``: how each provider's way through the journal stands, and an operator's word to it."""

from typing import Annotated

import typer
from rich.text import Text

from spoolctl.client import Target
from spoolctl.failure import Exit, Failure
from spoolctl.reading import reading
from spoolctl.render import console, count_of, errors, lane_fields, lanes_view, print_json
from spoold.api.spoold.admin.v1 import admin_pb2

app = typer.Typer(no_args_is_help=True, help="How the lanes stand, and what they shall do.")

Lane = Annotated[str, typer.Argument(metavar="LANE", help="The lane's name.")]


@app.command("list")
def list_lanes(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a lane, for scripts.")] = False,
) -> None:
    """How the lanes stand. Works with the daemon down too."""
    target: Target = context.obj
    with reading(target) as desk:
        lanes = desk.status().lanes
    if as_json:
        for lane in lanes:
            print_json(lane_fields(lane))
    elif not lanes:
        console.print("no lane was ever opened")
    else:
        console.print(lanes_view(lanes))
        for lane in lanes:
            if lane.HasField("last_error"):
                console.print(Text(f"{lane.name}: {lane.last_error}", "yellow"))


@app.command()
def pause(context: typer.Context, lane: Lane) -> None:
    """Send nothing more through a lane; its events wait until it is resumed, over restarts too."""
    status = _command(context, lane, "pause")
    console.print(f"{lane} is paused with {count_of(status.pending, 'event')} pending")
    errors.print(f"send again: spoolctl lanes resume {lane}")


@app.command()
def resume(
    context: typer.Context,
    lane: Lane,
    accept_dead: Annotated[
        bool, typer.Option("--accept-dead", help="Events refused alike shall become dead letters, not stop the lane.")
    ] = False,
) -> None:
    """Send again: a paused lane, or one that stopped, at once."""
    status = _command(context, lane, "accept_dead" if accept_dead else "resume")
    console.print(f"{lane} sends again, {count_of(status.pending, 'event')} pending")


@app.command()
def flush(
    context: typer.Context,
    lane: Annotated[str | None, typer.Argument(metavar="[LANE]", help="The lane's name; without one: all.")] = None,
) -> None:
    """Send what is pending now, without sitting out a wait."""
    target: Target = context.obj
    with target.admin() as admin:
        names = [lane] if lane is not None else [one.name for one in admin.status().lanes if one.state != "closed"]
        if not names:
            raise Failure(Exit.NOTHING, "no lane is open")
        for name in names:
            _tell_flush(admin.command_lane(name, "flush"))


def _tell_flush(lane: admin_pb2.LaneStatus) -> None:
    if lane.state == "paused":
        errors.print(f"{lane.name} is paused and sends nothing before: spoolctl lanes resume {lane.name}")
    else:
        console.print(f"{lane.name} sends what it has, {count_of(lane.pending, 'event')} pending")


def _command(context: typer.Context, lane: str, command: str) -> admin_pb2.LaneStatus:
    target: Target = context.obj
    with target.admin() as admin:
        return admin.command_lane(lane, command)
