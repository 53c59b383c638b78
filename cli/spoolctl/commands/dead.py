"""``spoolctl dead``: what was set aside for good, and why."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, TypeAlias
from uuid import UUID

import typer
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from spoolctl.client import Target
from spoolctl.failure import Exit, Failure
from spoolctl.reading import reading
from spoolctl.render import console, format_time, new_table, print_json, printable
from spoold.api.spoold.admin.v1 import admin_pb2

app = typer.Typer(no_args_is_help=True, help="Dead letters: what the providers refused for good.")

#: What a script finds in each, also where the record is damaged and nothing but its seq can be trusted.
_EVENT_FIELDS = (
    "seq", "event_id", "type", "event_name", "user_id", "anonymous_id", "properties", "timestamp_ms", "received_at_ms",
)  # fmt: skip

Key: TypeAlias = tuple[str, int | None, str]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a dead letter, for scripts.")]


@dataclass(slots=True)
class Group:
    """Dead letters of one lane that have status and reason in common; times in Unix milliseconds."""

    count: int
    first_at_ms: int
    last_at_ms: int
    example: str


@app.command("list")
def list_dead(
    context: typer.Context,
    lane: Annotated[str | None, typer.Option("--lane", metavar="LANE", help="Only this lane's.")] = None,
    as_json: AsJson = False,
) -> None:
    """Dead letters, grouped by reason. Works with the daemon down too."""
    target: Target = context.obj
    if lane == "":
        raise Failure(Exit.USAGE, "--lane: is empty", "leave it out for all lanes")
    with reading(target) as desk:
        letters = desk.dead(lane=lane or "")
        if as_json:
            for letter in letters:
                print_json(dead_fields(letter))
            return
        groups = grouped(letters)
    console.print(dead_view(groups) if groups else "there are no dead letters")


@app.command()
def show(
    context: typer.Context,
    event_id: Annotated[str, typer.Argument(metavar="ID", help="The event's id.")],
    as_json: AsJson = False,
) -> None:
    """One event with what was said of it, in each lane where it is dead. Works with the daemon down too."""
    target: Target = context.obj
    event_id = checked_id(event_id, "ID")
    with reading(target) as desk:
        letters = list(desk.dead(event_id=event_id))
    if not letters:
        raise Failure(Exit.NOTHING, f"{event_id} is no dead letter", "spoolctl dead list --json has the ids")
    for letter in letters:
        if as_json:
            print_json(dead_fields(letter))
        else:
            console.print(letter_view(letter))


def checked_id(text: str, option: str) -> str:
    """An event's id in its canonical form; what is none was typed wrongly."""
    try:
        return str(UUID(text))
    except ValueError:
        raise Failure(
            Exit.USAGE, f"{option}: {text!r} is no event id", "an id is a UUID, as the reply to TrackEvent says it"
        ) from None


def dead_fields(letter: admin_pb2.DeadLetter) -> dict[str, object]:
    """A dead letter as the JSON object that scripts rely on."""
    return {
        **dict.fromkeys(_EVENT_FIELDS),
        **json.loads(letter.event),
        "lane": letter.lane,
        "status": letter.status if letter.HasField("status") else None,
        "reason": letter.reason,
        "attempts": letter.attempts,
        "dead_at_ms": letter.dead_at_ms,
    }


def grouped(letters: Iterable[admin_pb2.DeadLetter]) -> dict[Key, Group]:
    """Dead letters by lane, status and reason; costs memory for the groups only."""
    groups: dict[Key, Group] = {}
    for letter in letters:
        key = (letter.lane, letter.status if letter.HasField("status") else None, letter.reason)
        at_ms = letter.dead_at_ms
        group = groups.get(key)
        if group is None:
            example = json.loads(letter.event).get("event_id") or f"seq {letter.seq}"
            groups[key] = Group(1, at_ms, at_ms, example)
        else:
            group.count += 1
            group.first_at_ms = min(group.first_at_ms, at_ms)
            group.last_at_ms = max(group.last_at_ms, at_ms)
    return groups


def dead_view(groups: dict[Key, Group]) -> RenderableType:
    """A reason a row, the most frequent first."""
    table = new_table("lane", "events", "status", right=("events", "status"))
    # An id must stay whole on a narrow screen, so it stands below the reason and not beside it.
    table.add_column("reason, when, an example", overflow="fold")
    for (lane, status, reason), group in sorted(groups.items(), key=lambda item: -item[1].count):
        first, last = format_time(group.first_at_ms), format_time(group.last_at_ms)
        when = first if first == last else f"{first} to {last}"
        what = Text(printable(reason)).append(f"\n{when}\n{group.example}", "dim")
        table.add_row(lane, str(group.count), "-" if status is None else str(status), what)
    return table


def letter_view(letter: admin_pb2.DeadLetter) -> RenderableType:
    """A dead letter, a field a line."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in dead_fields(letter).items():
        text = format_time(value) if name.endswith("_ms") and isinstance(value, int) else _shown(value)
        table.add_row(name.removesuffix("_ms").replace("_", " "), text)
    return table


def _shown(value: object) -> str:
    if value is None or value == "":
        return "-"
    return printable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
