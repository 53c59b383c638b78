"""``spoolctl audit --by``: what was accepted, by hour and event name, for callers who count too."""

from collections import Counter
from collections.abc import Set as AbstractSet
from enum import StrEnum
from typing import TypeAlias

from rich.console import RenderableType
from rich.progress import Progress

from spoolctl.client import Target
from spoolctl.failure import Exit, Failure
from spoolctl.moments import parse_moment
from spoolctl.reading import Desk, reading
from spoolctl.render import console, errors, format_time, new_table, print_json, printable
from spoold.api.spoold.admin.v1 import admin_pb2
from spoold.clock import SystemClock

#: (hour, type, event name), each as far as it is counted by.
Key: TypeAlias = tuple[int | None, str, str]
Hours: TypeAlias = dict[int, admin_pb2.DoorHour]


class By(StrEnum):
    """What to count by."""

    HOUR = "hour"
    NAME = "name"


def tell_tally(target: Target, by: AbstractSet[By], since: str | None, until: str | None, *, as_json: bool) -> None:
    """Count, and print a group a row.

    Raises:
        Failure: A time is none, nothing is there, or it can't be read.
    """
    since_ms, until_ms = _moment("--since", since), _moment("--until", until)
    with reading(target) as desk:
        accepted, hours = _counted(desk, by, since_ms, until_ms)
    rows = tally_rows(by, accepted, hours)
    if not rows:
        raise Failure(Exit.NOTHING, "nothing was accepted in that time, or it is forgotten by now")
    if as_json:
        for row in rows:
            print_json(row)
    else:
        console.print(tally_view(rows))


def tally_rows(by: AbstractSet[By], accepted: Counter[Key], hours: Hours) -> list[dict[str, object]]:
    """A group a row, as scripts rely on it. Duplicates and refusals have an hour, and no name that could be trusted."""
    rows: list[dict[str, object]] = []
    for hour_ms, kind, name in sorted(accepted, key=lambda key: (key[0] or 0, key[1:])):
        row: dict[str, object] = {"hour_ms": hour_ms} if By.HOUR in by else {}
        if By.NAME in by:
            row |= {"type": kind, "event_name": name or None}
        row["accepted"] = accepted[hour_ms, kind, name]
        if By.NAME not in by:
            hour = hours.get(hour_ms or 0)
            row |= {"duplicates": hour and hour.duplicates, "refused": hour and hour.refused}
        rows.append(row)
    return rows


def tally_view(rows: list[dict[str, object]]) -> RenderableType:
    """A group a line."""
    titles = list(rows[0])
    names = [title.removesuffix("_ms").replace("_", " ") for title in titles]
    table = new_table(*names, right=("accepted", "duplicates", "refused"))
    for row in rows:
        table.add_row(*(_cell(title, row[title]) for title in titles))
    return table


def _cell(title: str, value: object) -> str:
    if isinstance(value, int):
        return format_time(value) if title == "hour_ms" else str(value)
    return printable(value) if isinstance(value, str) else "-"


def _counted(desk: Desk, by: AbstractSet[By], since_ms: int | None, until_ms: int | None) -> tuple[Counter[Key], Hours]:
    accepted = Counter[Key]()
    hours: Hours = {}
    with Progress(console=errors, transient=True, disable=not errors.is_terminal) as progress:
        task = progress.add_task("counting", total=1.0)
        for reply in desk.tally(since_ms, until_ms):
            for group in reply.groups:
                named = (group.type, group.event_name) if By.NAME in by else ("", "")
                accepted[(group.hour_ms if By.HOUR in by else None, *named)] += group.accepted
            hours |= {hour.hour_ms: hour for hour in reply.hours}
            progress.update(task, completed=reply.progress)
    if By.NAME not in by:
        # An hour in which everything was refused is worth a row.
        for hour_ms, hour in hours.items():
            if (hour.duplicates or hour.refused) and (since_ms or 0) <= hour_ms < (until_ms or hour_ms + 1):
                accepted[hour_ms, "", ""] += 0
    return accepted, hours


def _moment(option: str, text: str | None) -> int | None:
    try:
        return None if text is None else parse_moment(text, SystemClock().wall_ms())
    except ValueError as exc:
        raise Failure(Exit.USAGE, f"{option}: {exc}") from exc
