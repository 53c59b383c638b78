"""Damage: what a run met, what lies in quarantine, what was brought over of it, and whether the counters add up."""

from collections.abc import Iterator

from spoolctl.doctor.findings import Finding, Level
from spoolctl.doctor.subject import Subject
from spoolctl.render import count_of, read_imbalance, salvage_line
from spoold.api.spoold.admin.v1 import admin_pb2
from spoold.spool.quarantine import quarantines, read_mark

_DAMAGE, _LEDGER = "damage", "ledger"
_LOOK_AFTER = "look after the disk (dmesg, smartctl -a)"


def check_damage(subject: Subject) -> Iterator[Finding]:
    """What was found damaged, and what became of it. Nothing in quarantine is ever to be deleted."""
    words = subject.words
    mark = read_mark(subject.directory)
    if mark is not None:
        text = f"a run met damage ({mark}); the next start moves the spool aside whole, and brings over what it holds"
        yield Finding(_DAMAGE, Level.PROBLEM, text, words.restart())
    salvages = [] if subject.status is None else list(subject.status.spool.salvages)
    yield from (_judge(one, subject) for one in salvages)
    known = {one.source for one in salvages}
    unknown = [one for one in quarantines(subject.directory) if _name(one.folder, subject) not in known]
    for one in unknown:
        text = f"{one.folder} ({one.reason}) is in quarantine, and nothing says that it was brought over"
        yield Finding(_DAMAGE, Level.WARNING, text, words.spoolctl("salvage", str(one.folder)))
    damaged = 0 if subject.status is None else subject.status.spool.damaged
    if damaged:
        text = f"{count_of(damaged, 'damaged record')} met so far: dead letters with the reason damaged, never sent"
        yield Finding(_DAMAGE, Level.WARNING, text, f"{words.spoolctl('dead', 'list')}; {_LOOK_AFTER}")
    if mark is None and not damaged and not salvages and not unknown:
        yield Finding(_DAMAGE, Level.OK, "none was found")


def check_ledger(subject: Subject) -> Iterator[Finding]:
    """Whether accepted = delivered + dead + filtered + purged + pending, as the daemon's own audit found it."""
    audit = subject.words.spoolctl("audit")
    if subject.running is None:
        if subject.resting is not None:
            yield Finding(
                _LEDGER, Level.NOTE, "the daemon counts while it runs; at rest it is counted on request", audit
            )
        return
    imbalances = [str(read_imbalance(one)) for one in subject.running.spool.imbalances]
    if imbalances:
        yield Finding(_LEDGER, Level.PROBLEM, "; ".join(imbalances), audit)
    else:
        yield Finding(_LEDGER, Level.OK, "what was counted so far adds up")


def _judge(salvage: admin_pb2.Salvage, subject: Subject) -> Finding:
    text = salvage_line(salvage).plain
    if salvage.state == "running":
        return Finding(_DAMAGE, Level.NOTE, text, subject.words.spoolctl("status", "--watch"))
    if salvage.lost or salvage.damaged:
        again = "send again from their source what was accepted in that time"
        counts = subject.words.spoolctl("audit", "--by", "hour")
        return Finding(_DAMAGE, Level.WARNING, text, f"{counts} (what is there); {again}; {_LOOK_AFTER}")
    return Finding(_DAMAGE, Level.NOTE, text, _LOOK_AFTER)


def _name(folder: object, subject: Subject) -> str:
    return str(folder).removeprefix(f"{subject.directory}/")
