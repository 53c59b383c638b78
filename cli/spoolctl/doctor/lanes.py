"""The lanes: which of them holds events back, why, and what ends that."""

from collections.abc import Iterator

from spoolctl.doctor.findings import Finding, Level
from spoolctl.doctor.subject import Subject
from spoolctl.render import age_of, count_of
from spoold.api.spoold.admin.v1 import admin_pb2

#: Who has waited for longer is late, whatever the lane says of itself.
_LATE_SECONDS = 600.0


def check_lanes(subject: Subject) -> Iterator[Finding]:
    """How each stands: in the daemon's words where it runs, else in its tables'."""
    if subject.status is None:
        return
    for lane in subject.status.lanes:
        yield from _judge(lane, subject)
    if not subject.status.lanes:
        yield Finding("lanes", Level.NOTE, "there are none: events wait for a provider", "[providers.NAME] in the file")


def _judge(lane: admin_pb2.LaneStatus, subject: Subject) -> Iterator[Finding]:
    check = f"lane {lane.name}"
    waits = f"{lane.state}, {count_of(lane.pending, 'event')} pending"
    if lane.HasField("oldest_pending_seconds"):
        waits += f", the oldest for {age_of(lane.oldest_pending_seconds)}"
    if lane.HasField("last_error"):
        waits += f"; last error: {lane.last_error}"
    yield Finding(check, *(_held_back(lane, waits, subject) or _at_work(lane, waits, subject)))
    if lane.dead:
        listing = subject.words.spoolctl("dead", "list", "--lane", lane.name)
        again = subject.words.spoolctl("replay", "--lane", lane.name, "--dead")
        text = f"{count_of(lane.dead, 'dead letter')}: refused for good, kept to be sent again"
        yield Finding(check, Level.WARNING, text, f"{listing}, then: {again}")


def _held_back(lane: admin_pb2.LaneStatus, waits: str, subject: Subject) -> tuple[Level, str, str] | None:
    """Level, text and fix of a lane that does not send; None for any other."""
    words = subject.words
    level = Level.WARNING if lane.pending else Level.NOTE
    resume = words.spoolctl("lanes", "resume", lane.name)
    match lane.state:
        case "stopped":
            fix = f"providers.{lane.name}: mend its key or endpoint, {words.reload()}, {resume}"
            return Level.PROBLEM, f"{waits}: the provider refuses everything", fix
        case "down":
            fix = f"{words.spoolctl('lanes', 'flush', lane.name)} when the provider is back; it goes on by itself too"
            return Level.WARNING, waits, fix
        case "paused":
            return level, f"{waits}: an operator paused it", resume
        case "closed":
            fix = f"[providers.{lane.name}] in the file, {words.reload()}" if lane.pending else ""
            return level, f"{waits}: it is not in the configuration", fix
    return None


def _at_work(lane: admin_pb2.LaneStatus, waits: str, subject: Subject) -> tuple[Level, str, str]:
    if subject.running is None:
        return Level.NOTE, waits, subject.words.start() if lane.pending else ""
    if lane.HasField("oldest_pending_seconds") and lane.oldest_pending_seconds > _LATE_SECONDS:
        return Level.WARNING, waits, subject.words.spoolctl("lanes", "flush", lane.name)
    if lane.state == "backoff":
        return Level.NOTE, f"{waits}; next attempt in {age_of(lane.next_attempt_seconds)}", ""
    return Level.OK, waits, ""
