"""``spoolctl replays``: what is being sent again, how far, and its end."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Annotated

import typer
from rich.console import RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.text import Text

from spoolctl.client import Admin, Target
from spoolctl.failure import Exit, Failure
from spoolctl.reading import reading
from spoolctl.render import console, count_of, errors, format_time, new_table, print_json, printable
from spoold.api.spoold.admin.v1 import admin_pb2

app = typer.Typer(no_args_is_help=True, help="What is being sent again.")

_FIRST_POLL_SECONDS, _LAST_POLL_SECONDS = 0.05, 1.0
_RUNNING = "running"


@app.command("list")
def list_replays(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a replay, for scripts.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Look again every second until none runs.")] = False,
) -> None:
    """The replays that run and the last hundred that ended. Works with the daemon down too."""
    target: Target = context.obj
    if watch:
        _watch(target, as_json=as_json)
        return
    with reading(target) as desk:
        replays = desk.replays()
    _print(replays, as_json=as_json)


@app.command()
def cancel(
    context: typer.Context,
    replay_id: Annotated[int, typer.Argument(metavar="ID", min=1, max=2**63 - 1, help="The replay's number.")],
) -> None:
    """End a replay; what was sent stays sent."""
    target: Target = context.obj
    with target.admin() as admin:
        replay = admin.cancel_replay(replay_id)
    if replay.state != "cancelled":
        raise Failure(Exit.REFUSED, f"replay {replay.id} was {replay.state} before")
    console.print(_outcome(replay))


def follow(admin: Admin, replay: admin_pb2.Replay, *, as_json: bool) -> None:
    """Show how a replay goes on until it ends; Ctrl-C ends the watching, not the replay.

    Raises:
        Failure: It was cancelled, or a provider refused some of it.
    """
    try:
        with _bar(replay) as show:
            for now in _looks(admin, replay.id):
                replay = now
                show(replay)
                if as_json:
                    print_json(replay_fields(replay))
    except KeyboardInterrupt:
        errors.print(f"replay {replay.id} goes on without being watched")
        errors.print(hint(replay))
        return
    if replay.state != "done" or replay.failed:
        raise Failure(Exit.FAILED, _outcome(replay), "spoolctl status says how the lane stands")
    if not as_json:
        console.print(_outcome(replay))


def hint(replay: admin_pb2.Replay) -> str:
    """What an operator does next with a replay that runs."""
    return f"see it: spoolctl replays list; end it: spoolctl replays cancel {replay.id}"


def replay_fields(replay: admin_pb2.Replay) -> dict[str, object]:
    """A replay as the JSON object that scripts rely on."""
    selection = replay.selection
    return {
        "id": replay.id,
        "lane": selection.lane,
        "state": replay.state,
        "progress": round(replay.progress, 4),
        "sent": replay.sent,
        "failed": replay.failed,
        "revived": replay.revived,
        "dead": selection.is_dead,
        "since_ms": selection.since_ms if selection.HasField("since_ms") else None,
        "until_ms": selection.until_ms if selection.HasField("until_ms") else None,
        "event_ids": list(selection.event_ids),
        "event_names": list(selection.event_names),
        "user_id": selection.user_id or None,
        "created_at_ms": replay.created_at_ms,
        "finished_at_ms": replay.finished_at_ms if replay.HasField("finished_at_ms") else None,
    }


def replays_view(replays: Iterable[admin_pb2.Replay]) -> RenderableType:
    """A replay a line."""
    numbers = ("done", "sent", "failed", "revived")
    table = new_table("id", "lane", "state", *numbers, right=("id", *numbers))
    table.add_column("events, started", overflow="fold")
    for replay in replays:
        table.add_row(
            str(replay.id),
            replay.selection.lane,
            replay.state,
            f"{replay.progress:.0%}",
            str(replay.sent),
            str(replay.failed),
            str(replay.revived),
            Text(printable(described(replay.selection))).append(f"\n{format_time(replay.created_at_ms)}", "dim"),
        )
    return table


def described(selection: admin_pb2.Selection) -> str:
    """Which events a selection means, in a few words."""
    words = ["dead letters"] if selection.is_dead else []
    if selection.HasField("since_ms"):
        words.append(f"since {format_time(selection.since_ms)}")
    if selection.HasField("until_ms"):
        words.append(f"until {format_time(selection.until_ms)}")
    if selection.event_ids:
        words.append(selection.event_ids[0] if len(selection.event_ids) == 1 else f"{len(selection.event_ids)} ids")
    words += [f"event {name}" for name in selection.event_names]
    if selection.user_id:
        words.append(f"user {selection.user_id}")
    return ", ".join(words)


def _watch(target: Target, *, as_json: bool) -> None:
    with target.admin() as admin, suppress(KeyboardInterrupt):
        if console.is_terminal and not as_json:
            with Live(console=console, auto_refresh=False) as live:
                for replays in _until_none_runs(admin):
                    live.update(replays_view(replays), refresh=True)
        else:
            # A pipe gets one after the other: there is nothing to draw over.
            for replays in _until_none_runs(admin):
                _print(replays, as_json=as_json)


def _until_none_runs(admin: Admin) -> Iterator[list[admin_pb2.Replay]]:
    while True:
        replays = admin.replays()
        yield replays
        if all(replay.state != _RUNNING for replay in replays):
            return
        time.sleep(_LAST_POLL_SECONDS)


def _print(replays: list[admin_pb2.Replay], *, as_json: bool) -> None:
    if as_json:
        for replay in replays:
            print_json(replay_fields(replay))
    else:
        console.print(replays_view(replays) if replays else "there are no replays")


def _looks(admin: Admin, replay_id: int) -> Iterator[admin_pb2.Replay]:
    """The replay each time that something changed, the last one being its end."""
    pause, last = _FIRST_POLL_SECONDS, None
    while True:
        now = next((replay for replay in admin.replays() if replay.id == replay_id), None)
        if now is None:
            raise Failure(Exit.FAILED, f"replay {replay_id} ended, and more than a hundred after it")
        if now != last:
            yield now
        if now.state != _RUNNING:
            return
        last = now
        time.sleep(pause)
        pause = min(2 * pause, _LAST_POLL_SECONDS)


@contextmanager
def _bar(replay: admin_pb2.Replay) -> Iterator[Callable[[admin_pb2.Replay], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[counts]}"))
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as progress:
        task = progress.add_task(f"replay {replay.id}", total=1.0, counts="")
        yield lambda now: progress.update(task, completed=now.progress, counts=_counts(now))


def _outcome(replay: admin_pb2.Replay) -> str:
    return f"replay {replay.id} {replay.state}: {_counts(replay)}"


def _counts(replay: admin_pb2.Replay) -> str:
    counts = f"{replay.sent} sent, {replay.failed} refused"
    return f"{counts}, {count_of(replay.revived, 'dead letter')} pending again" if replay.revived else counts
