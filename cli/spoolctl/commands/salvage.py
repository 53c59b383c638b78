"""``spoolctl salvage``: what can be read of a damaged spool, and bringing it over."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.progress import Progress

from spoolctl.client import Admin, Target
from spoolctl.failure import Exit, Failure
from spoolctl.reading import salvage_message
from spoolctl.render import console, count_of, errors, new_table, print_json, salvage_fields, salvage_line
from spoold.api.spoold.admin.v1 import admin_pb2
from spoold.clock import SystemClock, SystemEntropy
from spoold.errors import SpooldError, SpoolLockedError, SpoolMissingError, SpoolUnreadableError
from spoold.spool.salvage_plan import Plan, plan_salvage, salvage_offline

_POLL_SECONDS = 0.2


def salvage(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A damaged spool, or a copy of one.")],
    apply: Annotated[bool, typer.Option("--apply", help="Bring it over; without it, only tell.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for scripts.")] = False,
) -> None:
    """What can be read of a damaged spool; with --apply it is brought over. DIR itself is never changed."""
    target: Target = context.obj
    folder = folder.absolute()
    with _failures():
        if not apply:
            outcome = _planned(folder)
            if as_json:
                print_json(plan_fields(outcome))
            else:
                console.print(plan_view(outcome))
                errors.print(f"nothing was changed; bring it over: spoolctl salvage {folder} --apply")
            return
        done = _last(_applied(target, folder))
    if as_json:
        print_json(salvage_fields(done))
    else:
        console.print(salvage_line(done))


def plan_fields(plan: Plan) -> dict[str, object]:
    """A plan as the JSON object that scripts rely on."""
    return {
        "readable": plan.readable,
        "settled": plan.settled,
        "unsure": plan.unsure,
        "damaged": plan.damaged,
        "lost": plan.lost,
        "holes": [list(hole) for hole in plan.holes],
        "lanes": [{"name": name, "pending": lane.pending, "dead": lane.dead} for name, lane in plan.lanes.items()],
    }


def plan_view(plan: Plan) -> RenderableType:
    """What is there, then a lane a line."""
    lines: list[RenderableType] = [
        f"{count_of(plan.readable, 'event')} can be read, {plan.damaged} damaged, {plan.lost} lost",
        f"{plan.settled} of them are settled in every lane and stay where they are",
    ]
    if plan.unsure:
        lines.append(f"{plan.unsure} of them go to every lane: which had them pending can't be read")
    if plan.holes:
        lines.append("nothing is left of seqs " + ", ".join(f"{first} to {last}" for first, last in plan.holes[:20]))
    table = new_table("lane", "pending", "dead", right=("pending", "dead"))
    for name, lane in plan.lanes.items():
        table.add_row(name, str(lane.pending), str(lane.dead))
    return Group(*lines, "", table) if plan.lanes else Group(*lines)


def _planned(folder: Path) -> Plan:
    with Progress(console=errors, transient=True, disable=not errors.is_terminal) as progress:
        task = progress.add_task("reading", total=1.0)
        for done, plan in plan_salvage(folder, SystemClock()):
            progress.update(task, completed=done)
            if plan is not None:
                return plan
    raise Failure(Exit.FAILED, "the plan ended without an outcome")


def _applied(target: Target, folder: Path) -> Iterator[admin_pb2.Salvage]:
    with target.admin() as admin:
        try:
            begun = admin.start_salvage(folder)
        except Failure as failure:
            if failure.code != Exit.UNREACHABLE:
                raise
        else:
            yield from _watched(admin, begun)
            return
    errors.print(f"spoold is not running on {target.socket}; bringing it over into the spool in {target.spool}")
    yield from map(salvage_message, salvage_offline(folder, target.spool, SystemClock(), SystemEntropy()))


def _watched(admin: Admin, begun: admin_pb2.Salvage) -> Iterator[admin_pb2.Salvage]:
    current = begun
    while current.state == "running":
        yield current
        time.sleep(_POLL_SECONDS)
        current = next(one for one in admin.status().spool.salvages if one.source == begun.source)
    yield current


def _last(steps: Iterable[admin_pb2.Salvage]) -> admin_pb2.Salvage:
    with Progress(console=errors, transient=True, disable=not errors.is_terminal) as progress:
        task = progress.add_task("bringing over", total=1.0)
        current: admin_pb2.Salvage | None = None
        for current in steps:
            progress.update(task, completed=current.progress)
    if current is None:
        raise Failure(Exit.FAILED, "the salvage ended without an outcome")
    return current


@contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except SpoolMissingError as exc:
        raise Failure(Exit.NOTHING, str(exc)) from exc
    except (SpoolUnreadableError, SpoolLockedError) as exc:
        raise Failure(Exit.REFUSED, str(exc)) from exc
    except (SpooldError, OSError) as exc:
        raise Failure(Exit.FAILED, str(exc)) from exc
