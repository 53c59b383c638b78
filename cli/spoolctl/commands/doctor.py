"""``spoolctl doctor``: what is wrong on this machine, and what to do next; and the drill."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from spoolctl.client import DEFAULT_TARGET, Target
from spoolctl.doctor.disk import examine_disk
from spoolctl.doctor.drill import Outcome, run_drill
from spoolctl.doctor.examination import Asked, examine, find_subject, next_step
from spoolctl.doctor.findings import Finding, finding_fields, finding_view
from spoolctl.doctor.mounts import existing
from spoolctl.doctor.subject import Subject
from spoolctl.failure import Exit, Failure
from spoolctl.render import console, print_json

_KILLS, _EVENTS = 6, 5000
_SHOWN_IDS = 20


def doctor(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="The configuration; default: as spoold's.")
    ] = None,
    drill: Annotated[
        bool, typer.Option("--drill", help="Kill a scratch daemon under load on this disk, and look for each event.")
    ] = False,
    drill_dir: Annotated[
        Path | None, typer.Option("--drill-dir", metavar="DIR", help="Where the drill's folder goes.")
    ] = None,
    kills: Annotated[
        int | None, typer.Option("--kills", min=1, max=1000, help=f"Kills of the drill; default: {_KILLS}.")
    ] = None,
    events: Annotated[
        int | None, typer.Option("--events", min=1, max=10_000_000, help=f"Its events; default: {_EVENTS}.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON, for scripts.")] = False,
) -> None:
    """What is wrong on this machine, each thing with its fix, and what to do next.

    Exit code 1 where something is to be done. Works with the daemon down too, and changes nothing.
    """
    if not drill and (drill_dir, kills, events) != (None, None, None):
        raise Failure(Exit.USAGE, "--drill-dir, --kills and --events: need --drill")
    subject, reading = find_subject(_asked(context, config), DEFAULT_TARGET)
    if drill:
        _drill(subject, drill_dir, kills or _KILLS, events or _EVENTS, as_json=as_json)
        return
    findings: list[Finding] = []
    for finding in examine(subject, reading):
        findings.append(finding)
        if not as_json:
            console.print(finding_view(finding), soft_wrap=True)
    if as_json:
        print_json([finding_fields(finding) for finding in findings])
    else:
        console.print(f"\nnext: {next_step(findings, subject)}", soft_wrap=True)
    if any(finding.is_bad for finding in findings):
        raise typer.Exit(Exit.FAILED)


def drill_fields(outcome: Outcome, disk: Finding) -> dict[str, object]:
    """A drill as the JSON object that scripts rely on."""
    return {
        "ok": outcome.is_ok,
        "kills": outcome.kills,
        "acknowledged": outcome.acknowledged,
        "found": outcome.found,
        "lost": len(outcome.lost),
        "altered": len(outcome.altered),
        "doubled": outcome.doubled,
        "repeats": outcome.repeats,
        "lost_ids": list(outcome.lost),
        "altered_ids": list(outcome.altered),
        "imbalances": list(outcome.imbalances),
        "seconds": round(outcome.seconds, 1),
        "disk": finding_fields(disk),
    }


def drill_view(outcome: Outcome, disk: Finding) -> Text:
    """The figures, and what they prove."""
    rows = {
        "kills": f"{outcome.kills} (SIGKILL; all but the last with calls under way)",
        "acknowledged": f"{outcome.acknowledged}",
        "found": f"{outcome.found}, each as it was sent",
        "lost": f"{len(outcome.lost)}",
        "repeats": f"{outcome.repeats} (calls without an answer, made again with the same id)",
        "doubled": f"{outcome.doubled}",
        "time": f"{outcome.seconds:.1f} s",
    }
    text = Text("\n".join(f"{name:<13}{value}" for name, value in rows.items()))
    if outcome.is_ok:
        text.append("\n\nproved: a crash of the process loses no acknowledged event on this disk\n")
    text.append(f"not proved: a power cut, which is for the disk to survive. {disk.level}: {disk.found}")
    return text.append(f"\nfix: {disk.fix}" if disk.fix else "")


def _drill(subject: Subject, folder: Path | None, kills: int, events: int, *, as_json: bool) -> None:
    if subject.program is None:
        raise Failure(Exit.FAILED, "the program spoold is not beside spoolctl and not on PATH", "install both")
    outcome = run_drill(subject.program, subject, folder=folder, kills=kills, events=events)
    disk = examine_disk(existing(folder or subject.directory))
    if as_json:
        print_json(drill_fields(outcome, disk))
    else:
        console.print(drill_view(outcome, disk), soft_wrap=True)
    if not outcome.is_ok:
        raise Failure(
            Exit.FAILED,
            "\n".join(_complaints(outcome)),
            "report it, with the lines above and what spoolctl doctor says",
        )


def _complaints(outcome: Outcome) -> list[str]:
    """What is wrong, an event a line; of very many the first."""
    lines = [
        f"{event_id} was acknowledged before kill {life + 1}, and is lost" for event_id, life in outcome.lost.items()
    ]
    lines += [f"{event_id} is not as it was sent" for event_id in outcome.altered]
    more = [f"and {len(lines) - _SHOWN_IDS} more"] if len(lines) > _SHOWN_IDS else []
    doubled = [f"{outcome.doubled} are there more than once"] if outcome.doubled else []
    return [*lines[:_SHOWN_IDS], *more, *doubled, *outcome.imbalances]


def _asked(context: typer.Context, file: Path | None) -> Asked:
    """What was said, apart from what is taken when nothing is."""
    target: Target = context.obj
    options = context.parent or context
    is_said = {
        name: source is not None and source.name != "DEFAULT"
        for name in ("socket", "spool")
        for source in [options.get_parameter_source(name)]
    }
    return Asked(
        file=None if file is None else file.absolute(),
        socket=target.socket if is_said["socket"] else None,
        spool=target.spool if is_said["spool"] else None,
    )
