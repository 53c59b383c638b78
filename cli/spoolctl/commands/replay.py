"""``spoolctl replay``: send again what was refused, or what a provider never had."""

from typing import Annotated

import typer
from rich.progress import Progress

from spoolctl.client import Admin, Target
from spoolctl.commands.dead import checked_id
from spoolctl.commands.replays import follow, hint, replay_fields
from spoolctl.failure import Exit, Failure
from spoolctl.moments import parse_moment
from spoolctl.render import console, count_of, errors, print_json
from spoold.api.spoold.admin.v1 import admin_pb2
from spoold.clock import SystemClock

#: What one selection takes; more ids are more replays.
_MAX_IDS = 1000
#: A replay waits in these, and nothing else would say why.
_WAITING_STATES = ("paused", "stopped", "down", "backoff")


def replay(
    context: typer.Context,
    lane: Annotated[str, typer.Option("--lane", metavar="LANE", help="To which lane.")],
    dead: Annotated[bool, typer.Option("--dead", help="The lane's dead letters: they are pending again.")] = False,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help="Received since: 2026-11-24T09:30, 2h (ago) or Unix seconds."),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help="Received before then; default: until now.")
    ] = None,
    ids: Annotated[
        list[str] | None, typer.Option("--id", metavar="ID", help="The event with this id. Repeatable.")
    ] = None,
    event: Annotated[
        list[str] | None, typer.Option("--event", metavar="NAME", help="Only events of this name. Repeatable.")
    ] = None,
    user: Annotated[str | None, typer.Option("--user", metavar="ID", help="Only this user's events.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count; send nothing.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Show how it goes on until it is done.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON objects, for scripts.")] = False,
) -> None:
    """Send events again to one lane: its dead letters, or what the journal still has, also what it never got.

    All conditions hold together, and at least one is needed besides the lane. It runs behind live traffic and goes on
    after a restart.
    """
    target: Target = context.obj
    selection = _selection(lane, is_dead=dead, since=since, until=until, ids=ids or [], names=event or [], user=user)
    with target.admin() as admin:
        matched = _count(admin, selection)
        if not matched:
            raise Failure(Exit.NOTHING, "nothing matches", "what is settled is kept for spool.retention, no longer")
        if dry_run:
            _tell_dry_run(matched, lane, as_json=as_json)
            return
        started = admin.start_replay(selection)
        _tell_start(admin, started, matched, as_json=as_json)
        if watch:
            follow(admin, started, as_json=as_json)


def _selection(
    lane: str,
    *,
    is_dead: bool,
    since: str | None,
    until: str | None,
    ids: list[str],
    names: list[str],
    user: str | None,
) -> admin_pb2.Selection:
    if not (is_dead or since is not None or until is not None or ids or names or user is not None):
        raise Failure(
            Exit.USAGE,
            "it is not said which events: --dead, --since, --until, --id, --event or --user is missing",
            f"spoolctl replay --lane {lane} --dead",
        )
    # A variable of a script that turned out empty must not select everybody's events.
    for option, words in (("--lane", [lane]), ("--event", names), ("--user", [user])):
        if "" in words:
            raise Failure(Exit.USAGE, f"{option}: is empty", "name one, or leave the option out")
    if len(ids) > _MAX_IDS:
        raise Failure(Exit.USAGE, f"--id: {len(ids)} are given, at most {_MAX_IDS} go into one replay")
    since_ms, until_ms = _moment("--since", since), _moment("--until", until)
    if since_ms is not None and until_ms is not None and until_ms <= since_ms:
        raise Failure(Exit.USAGE, f"--until: {until!r} is not after --since {since!r}", "the range would be empty")
    try:
        return admin_pb2.Selection(
            lane=lane,
            is_dead=is_dead,
            since_ms=since_ms,
            until_ms=until_ms,
            event_ids=[checked_id(text, "--id") for text in ids],
            event_names=names,
            user_id=user or "",
        )
    except UnicodeEncodeError as exc:
        raise Failure(Exit.USAGE, "--lane, --event or --user: is not UTF-8 text") from exc


def _moment(option: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return parse_moment(text, SystemClock().wall_ms())
    except ValueError as exc:
        raise Failure(Exit.USAGE, f"{option}: {exc}") from exc


def _count(admin: Admin, selection: admin_pb2.Selection) -> int:
    matched = 0
    with Progress(console=errors, transient=True, disable=not errors.is_terminal) as progress:
        task = progress.add_task("counting", total=1.0)
        for count in admin.count(selection):
            matched = count.matched
            progress.update(task, completed=count.progress)
    return matched


def _tell_dry_run(matched: int, lane: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"lane": lane, "matched": matched})
    else:
        console.print(f"{count_of(matched, 'event')} would be sent to {lane}; nothing was sent")


def _tell_start(admin: Admin, started: admin_pb2.Replay, matched: int, *, as_json: bool) -> None:
    lane = started.selection.lane
    if as_json:
        print_json({**replay_fields(started), "matched": matched})
    else:
        console.print(f"replay {started.id} started: {count_of(matched, 'event')} to {lane}")
        errors.print(hint(started))
    state = next((one.state for one in admin.status().lanes if one.name == lane), "")
    if state in _WAITING_STATES:
        errors.print(f"{lane} is {state}: the replay waits until it sends again")
