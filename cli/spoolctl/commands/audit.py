"""``spoolctl audit``: proves that no accepted event is lost, lane by lane."""

from collections.abc import Iterable
from typing import Annotated

import typer
from rich.console import RenderableType
from rich.progress import Progress

from spoolctl.client import Target
from spoolctl.commands.tally import By, tell_tally
from spoolctl.failure import Exit, Failure
from spoolctl.reading import Desk, reading
from spoolctl.render import console, errors, new_table, print_json
from spoold.spool.balance import Audit, AuditedLane

_ADVICE = (
    "copy the spool's directory before it changes further, and report it with the lines above; "
    "what a provider may lack is sent again by: spoolctl replay --lane LANE --since 24h"
)


def audit(
    context: typer.Context,
    lane: Annotated[str | None, typer.Option("--lane", metavar="LANE", help="Only this lane.")] = None,
    by: Annotated[
        list[By] | None, typer.Option("--by", help="Count accepted events instead, by hour or name. Repeatable.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help="Accepted since: 2026-11-24T09:30, 2h (ago) or Unix seconds."),
    ] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="Accepted before then.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON, for scripts.")] = False,
) -> None:
    """Recount accepted = delivered + dead + filtered + purged + pending from what is on the disk.

    Exit code 1 where a counter and the disk differ. Works with the daemon down too.
    """
    target: Target = context.obj
    if lane == "":
        raise Failure(Exit.USAGE, "--lane: is empty", "leave it out for all lanes")
    if by:
        if lane is not None:
            raise Failure(Exit.USAGE, "--lane: is no part of --by", "every lane has the same accepted events")
        tell_tally(target, set(by), since, until, as_json=as_json)
        return
    if since is not None or until is not None:
        raise Failure(Exit.USAGE, "--since and --until: need --by", "an audit is of everything: leave them out")
    with reading(target) as desk:
        outcome = _counted(desk)
    if lane is not None:
        outcome = _of_lane(outcome, lane)
    if as_json:
        print_json(audit_fields(outcome))
    else:
        console.print(audit_view(outcome.lanes) if outcome.lanes else "there are no lanes")
    if not outcome.is_ok:
        raise Failure(Exit.FAILED, "\n".join(map(str, outcome.imbalances)), _ADVICE)


def audit_fields(outcome: Audit) -> dict[str, object]:
    """An audit as the JSON object that scripts rely on."""
    lanes = [{**lane._asdict(), "balance": lane.balance} for lane in outcome.lanes]
    return {"ok": outcome.is_ok, "lanes": lanes}


def audit_view(lanes: Iterable[AuditedLane]) -> RenderableType:
    """A lane a line."""
    numbers = ("accepted", "delivered", "dead", "filtered", "purged", "pending", "balance")
    table = new_table("lane", *numbers, right=numbers)
    for lane in lanes:
        table.add_row(lane.name, *map(str, lane[1:]), str(lane.balance))
    return table


def _counted(desk: Desk) -> Audit:
    with Progress(console=errors, transient=True, disable=not errors.is_terminal) as progress:
        task = progress.add_task("counting", total=1.0)
        for done, outcome in desk.audit():
            progress.update(task, completed=done)
            if outcome is not None:
                return outcome
    raise Failure(Exit.FAILED, "the audit ended without an outcome")


def _of_lane(outcome: Audit, name: str) -> Audit:
    lanes = tuple(lane for lane in outcome.lanes if lane.name == name)
    if not lanes:
        there = ", ".join(lane.name for lane in outcome.lanes) or "none"
        raise Failure(Exit.NOTHING, f"no lane is named {name!r}; there are: {there}")
    return Audit(lanes, tuple(one for one in outcome.imbalances if one.lane == name))
