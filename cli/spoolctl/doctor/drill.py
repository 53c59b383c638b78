"""The drill: kill a daemon under load on this disk, again and again, and look for every event that it acknowledged."""

import signal
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from uuid import UUID

from rich.progress import BarColumn, Progress, TextColumn

from spoolctl.doctor.drill_load import EVENT_NAME, Load
from spoolctl.doctor.scratch import PREFIX, ScratchDaemon, scratch_folder
from spoolctl.doctor.subject import Subject
from spoolctl.failure import Exit, Failure
from spoolctl.render import errors
from spoold.clock import SystemEntropy
from spoold.errors import SpoolError
from spoold.record import Event
from spoold.spool.balance import Audit
from spoold.spool.offline import OfflineSpool, open_offline

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: A kill comes up to so much later than its turn: anywhere in a commit.
_JITTER_SECONDS = 0.02

Show = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a drill found.

    Attributes:
        acknowledged: Events that were answered with success.
        found: Those of them that are in the journal as they were sent.
        lost: Ids of acknowledged events that are not there, each with the number of kills before its answer.
        altered: Ids of those that are there otherwise than they were sent.
        doubled: Events that are there more than once.
        repeats: Calls that had no answer and were made again, with the same id.
        imbalances: Where the audit found that the counters and the journal differ.
    """

    kills: int
    acknowledged: int
    found: int
    lost: dict[str, int]
    altered: tuple[str, ...]
    doubled: int
    repeats: int
    imbalances: tuple[str, ...]
    seconds: float

    @property
    def is_ok(self) -> bool:
        """Whether every promise was kept."""
        return not (self.lost or self.altered or self.doubled or self.imbalances)


def run_drill(program: Path, subject: Subject, *, folder: Path | None, kills: int, events: int) -> Outcome:
    """Run it, with a bar where somebody looks. Its folder and its daemon are gone at the end, also after Ctrl-C.

    Args:
        folder: Where the scratch folder goes; None for beside the spool.

    Raises:
        Failure: It could not be run to its end.
    """
    begin = time.monotonic()
    with (
        _interruptible(),
        scratch_folder(subject, folder, events) as scratch,
        # A socket's path is short; that of a spool may not be.
        tempfile.TemporaryDirectory(prefix=PREFIX) as sockets,
        _progress(events, kills) as show,
    ):
        daemon = ScratchDaemon(program, scratch, Path(sockets), subject.settings.durability)
        load = Load(events)
        try:
            _endure(daemon, load, kills, events, show)
            # Whole again after the last kill, and at rest to be read.
            daemon.start()
            daemon.stop()
        finally:
            daemon.kill()
        return _judge(daemon.directory, load, kills, begin)


def _endure(daemon: ScratchDaemon, load: Load, kills: int, events: int, show: Show) -> None:
    """The load, and the kills in its midst; the last is when everything is acknowledged."""
    entropy = SystemEntropy()
    with load:
        for kill in range(kills):
            with load.door(daemon.start(), kill):
                wanted = events * (kill + 1) // kills
                load.wait_for(wanted, partial(_look, daemon, show, kill))
                if wanted < events:
                    time.sleep(entropy.uniform(0, _JITTER_SECONDS))
                daemon.kill()
            if load.refusal:
                raise Failure(Exit.FAILED, f"the scratch daemon refused an event: {load.refusal}")


def _look(daemon: ScratchDaemon, show: Show, done: int, acknowledged: int) -> None:
    daemon.check()
    show(acknowledged, done)


def _judge(directory: Path, load: Load, kills: int, begin: float) -> Outcome:
    lost: dict[str, int] = {}
    altered: list[str] = []
    try:
        with open_offline(directory) as spool:
            for event_id, life in load.acknowledged.items():
                story = spool.find(UUID(event_id).bytes)
                if story is None:
                    lost[event_id] = life
                elif not _is_as_sent(story.event, event_id):
                    altered.append(event_id)
            stored = sum(sum(page.counts.values()) for page in spool.tally(None, None))
            imbalances = tuple(str(one) for one in _audit(spool).imbalances)
    except SpoolError as exc:
        raise Failure(Exit.FAILED, f"the drill's spool can't be read after the last start: {exc}") from exc
    acknowledged = len(load.acknowledged)
    return Outcome(
        kills=kills,
        acknowledged=acknowledged,
        found=acknowledged - len(lost) - len(altered),
        lost=lost,
        altered=tuple(altered),
        doubled=max(0, stored - acknowledged + len(lost)),
        repeats=load.repeats,
        imbalances=imbalances,
        seconds=time.monotonic() - begin,
    )


def _is_as_sent(event: object, event_id: str) -> bool:
    if not isinstance(event, Event):
        return False
    return (event.event_name, event.properties) == (EVENT_NAME, {"id": event_id})


def _audit(spool: OfflineSpool) -> Audit:
    outcomes: Iterable[Audit] = (audit for _progress, audit in spool.audit() if audit is not None)
    return next(iter(outcomes))


@contextmanager
def _progress(events: int, kills: int) -> Iterator[Show]:
    """A bar of what is acknowledged, on the error stream."""
    count = TextColumn("{task.completed} of {task.total} acknowledged")
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        count,
        console=errors,
        transient=True,
        disable=not errors.is_terminal,
    ) as progress:
        task = progress.add_task("starting", total=events)
        yield lambda count, done: progress.update(task, completed=count, description=f"kill {done} of {kills}")


@contextmanager
def _interruptible() -> Iterator[None]:
    """The first signal ends the drill in order; no further one keeps it from clearing up."""

    def end(_number: int, _frame: FrameType | None) -> None:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, end) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
