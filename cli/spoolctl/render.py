"""How things look: tables for people, JSON for scripts."""

import json
import os
import sys
import time
from collections.abc import Iterable, Mapping

import typer
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from spoold.api.spoold.admin.v1 import admin_pb2
from spoold.spool.balance import Imbalance
from spoold.units import format_size

#: Wide enough for any table: what is piped must not be wrapped.
_PIPED_COLUMNS = 10_000
_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0
_STATE_STYLES: Mapping[str, str] = {
    "serving": "green", "idle": "green", "sending": "green", "backoff": "yellow", "full": "red", "down": "red",
    "stopped": "red", "draining": "yellow", "offline": "yellow", "paused": "yellow", "closed": "dim",
}  # fmt: skip

# "As many columns as none": rich would show nothing at all.
if not os.environ.get("COLUMNS", "1").strip("0"):
    del os.environ["COLUMNS"]
_is_terminal = sys.stdout is not None and sys.stdout.isatty()  # None: the output is closed

# No mark-up and no emoji: what is shown comes from elsewhere, and ``a:b:c`` is an address.
console = Console(width=None if _is_terminal else _PIPED_COLUMNS, highlight=False, markup=False, emoji=False)
errors = Console(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)


def print_json(value: object) -> None:
    """One JSON value on one line."""
    typer.echo(json.dumps(value, ensure_ascii=False))


def new_table(*titles: str, right: tuple[str, ...] = ()) -> Table:
    """A table without lines; the columns named in ``right`` hold numbers."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in titles:
        table.add_column(title, justify="right" if title in right else "left", no_wrap=True)
    return table


def format_time(at_ms: int) -> str:
    """Unix milliseconds as local time, as ``--since`` takes it."""
    # Not datetime's: that has no zone a day away from UTC, which a mistyped TZ names.
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at_ms / 1000))


def count_of(count: int, thing: str) -> str:
    """``1 event``, ``2 events``."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def printable(text: str) -> str:
    """Words of a caller or a provider, without what a terminal would take for a command."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def status_fields(reply: admin_pb2.GetStatusReply) -> dict[str, object]:
    """The status as the JSON object that scripts rely on."""
    is_offline = reply.daemon.state == "offline"
    return {
        "daemon": {
            "state": reply.daemon.state,
            "version": reply.daemon.version,
            "pid": None if is_offline else reply.daemon.pid,
            "uptime_seconds": None if is_offline else round(reply.daemon.uptime_seconds, 1),
            "address": reply.daemon.address or None,
            "test_mode": reply.daemon.test_mode,
        },
        "spool": {
            "accepted": reply.spool.accepted,
            "pending": reply.spool.pending,
            "retained": reply.spool.retained,
            "bytes": reply.spool.bytes,
            "max_bytes": reply.spool.max_bytes or None,
            "oldest_pending_seconds": _optional(reply.spool, "oldest_pending_seconds"),
            "duplicates": reply.spool.duplicates,
            "disk_free_bytes": reply.spool.disk_free_bytes or None,
            "wal_bytes": reply.spool.wal_bytes,
            "dead_bytes": reply.spool.dead_bytes,
            "damaged": reply.spool.damaged,
            "refusing": reply.spool.refusing or None,
            "ledger_imbalance": None if is_offline else sum(one.events for one in _imbalances(reply.spool)),
            "imbalances": [str(one) for one in _imbalances(reply.spool)],
            "salvages": [salvage_fields(one) for one in reply.spool.salvages],
        },
        "lanes": [lane_fields(lane) for lane in reply.lanes],
    }


def status_view(reply: admin_pb2.GetStatusReply) -> RenderableType:
    """The status for a person at 3 a.m.: what waits, and why."""
    lines: list[RenderableType] = [_daemon_line(reply.daemon), _spool_line(reply.spool)]
    if reply.spool.refusing:
        lines.append(Text(f"new events are refused: {reply.spool.refusing}", "bold red"))
    if reply.spool.damaged:
        lines.append(Text(f"damaged records found: {reply.spool.damaged}", "bold red"))
    lines += [Text(f"{one}; see spoolctl audit", "bold red") for one in _imbalances(reply.spool)]
    lines += map(salvage_line, reply.spool.salvages)
    lines += ["", lanes_view(reply.lanes)]
    lines += [Text(f"{lane.name}: {terms}") for lane in reply.lanes if (terms := _seldom(lane))]
    lines += [Text(f"{lane.name}: {lane.last_error}", "yellow") for lane in reply.lanes if lane.HasField("last_error")]
    return Group(*lines)


def salvage_fields(salvage: admin_pb2.Salvage) -> dict[str, object]:
    """A salvage as the JSON object that scripts rely on."""
    return {
        "source": salvage.source,
        "reason": salvage.reason,
        "found_at_ms": salvage.found_at_ms,
        "bytes": salvage.bytes,
        "state": salvage.state,
        "progress": round(salvage.progress, 3),
        "recovered": salvage.recovered,
        "known": salvage.known,
        "settled": salvage.settled,
        "dead": salvage.dead,
        "damaged": salvage.damaged,
        "lost": salvage.lost,
        "holes": salvage.holes,
        "finished_at_ms": salvage.finished_at_ms if salvage.HasField("finished_at_ms") else None,
    }


def salvage_line(salvage: admin_pb2.Salvage) -> Text:
    """What became of a damaged spool."""
    line = Text(f"damaged spool in {salvage.source} ({salvage.reason}): ")
    if salvage.state == "running":
        return line.append(f"{salvage.recovered} events brought over so far ({salvage.progress:.0%})", "yellow")
    dead = f" and {count_of(salvage.dead, 'dead letter')}" if salvage.dead else ""
    line.append(f"{count_of(salvage.recovered, 'event')}{dead} brought over")
    if salvage.lost:
        line.append(f", {salvage.lost} lost" + (f" (seqs {salvage.holes})" if salvage.holes else ""), "bold red")
    return line


def _seldom(lane: admin_pb2.LaneStatus) -> str:
    """The terms that most lanes never have, where they are not 0."""
    terms = {"deferred": lane.deferred, "filtered": lane.filtered, "purged": lane.purged}
    return ", ".join(f"{count} {name}" for name, count in terms.items() if count)


def lanes_view(lanes: Iterable[admin_pb2.LaneStatus]) -> Table:
    """A lane a line."""
    numbers = ("pending", "oldest", "delivered", "dead", "failures", "next try")
    table = new_table("lane", "state", *numbers, right=numbers)
    for lane in lanes:
        table.add_row(
            lane.name,
            Text(lane.state, _STATE_STYLES.get(lane.state, "")),
            str(lane.pending),
            age_of(_optional(lane, "oldest_pending_seconds")),
            str(lane.delivered),
            Text(str(lane.dead), "red" if lane.dead else ""),
            str(lane.failures),
            age_of(_optional(lane, "next_attempt_seconds")),
        )
    return table


def config_view(values: list[admin_pb2.ConfigValue]) -> RenderableType:
    """The configuration as a table."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    # A key is looked for, and copied, as a whole.
    table.add_column("key", no_wrap=True)
    for title in ("value", "from"):
        table.add_column(title, overflow="fold")
    for value in values:
        table.add_row(value.key, value.value, value.source)
    return table


def read_imbalance(message: admin_pb2.Imbalance) -> Imbalance:
    """An imbalance from the wire."""
    return Imbalance(message.lane, message.term, message.counter, message.counted, message.place)


def _imbalances(spool: admin_pb2.SpoolStatus) -> list[Imbalance]:
    return [read_imbalance(one) for one in spool.imbalances]


def _daemon_line(daemon: admin_pb2.DaemonStatus) -> Text:
    line = Text("spoold ").append(daemon.state, _STATE_STYLES.get(daemon.state, ""))
    if daemon.state != "offline":
        line.append(f" {daemon.version} on {daemon.address}, pid {daemon.pid}, up {age_of(daemon.uptime_seconds)}")
    return line.append(", TEST MODE: nothing is sent", "yellow") if daemon.test_mode else line


def _spool_line(spool: admin_pb2.SpoolStatus) -> Text:
    limit = f" of {format_size(spool.max_bytes)}" if spool.max_bytes else ""
    oldest = _optional(spool, "oldest_pending_seconds")
    waits = f"{spool.pending} pending" + (f" (oldest {age_of(oldest)})" if oldest is not None else "")
    return Text(f"spool  {spool.accepted} accepted, {waits}, {spool.retained} retained, {size_of(spool.bytes)}{limit}")


def lane_fields(lane: admin_pb2.LaneStatus) -> dict[str, object]:
    """A lane as the JSON object that scripts rely on."""
    return {
        "name": lane.name,
        "kind": lane.kind,
        "state": lane.state,
        "accepted": lane.accepted,
        "pending": lane.pending,
        "delivered": lane.delivered,
        "dead": lane.dead,
        "filtered": lane.filtered,
        "purged": lane.purged,
        "failures": lane.failures,
        "next_attempt_seconds": _optional(lane, "next_attempt_seconds"),
        "last_error": _optional(lane, "last_error"),
        "oldest_pending_seconds": _optional(lane, "oldest_pending_seconds"),
        "deferred": lane.deferred,
    }


def _optional(message: admin_pb2.LaneStatus | admin_pb2.SpoolStatus, field: str) -> object:
    if not message.HasField(field):
        return None
    value = getattr(message, field)
    return round(value, 3) if isinstance(value, float) else value


def age_of(seconds: object) -> str:
    """A time span in the unit in which one thinks of it."""
    if not isinstance(seconds, int | float):
        return "-"
    for unit, name in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "m")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.1f}{name}"
    return f"{seconds:.1f}s"


def size_of(count: int) -> str:
    """A number of bytes in the largest unit that it fills."""
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count} bytes"
