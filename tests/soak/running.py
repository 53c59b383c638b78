"""Runs rounds of many proofs at the same time, each in a process, and adds up what they report."""

import logging
import os
import time
import traceback
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from datetime import timedelta
from multiprocessing import get_context
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from tests.soak.proofs import TOLD, Proof

#: A line of a broken promise's story that is worth printing; the whole is a repeat away.
_TOLD_LINES = 25


class Report(NamedTuple):
    """What came of one round: its figures, the text of what broke, or why it can't be had on this machine."""

    proof: str
    seed: int
    seconds: float
    figures: Mapping[str, int]
    text: str = ""
    missing: str = ""


@dataclass
class _Course:
    """How far one proof is."""

    proof: Proof
    task: TaskID
    missing: str = ""
    started: int = 0
    done: int = 0
    seconds: float = 0.0
    figures: Counter[str] = field(default_factory=Counter)

    @property
    def is_due_by(self) -> tuple[float, int]:
        """The least is next: time in proportion to the shares, a round that runs counted as an average one."""
        average = self.seconds / self.done if self.done else 1.0
        return (self.seconds + (self.started - self.done) * average) / self.proof.share, self.started


class Soak:
    """One soak.

    Attributes:
        failures: The rounds in which a promise was broken.
    """

    def __init__(self, proofs: Mapping[str, Proof], first_seed: int, console: Console) -> None:
        self.failures: list[Report] = []
        self._first_seed = first_seed
        self._is_stopping = False
        self._seconds = 0.0
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[said]}"),
            TimeElapsedColumn(),
        )
        self._progress = Progress(*columns, console=console)
        self._courses = {
            name: _Course(proof, self._progress.add_task(name, said=proof.about)) for name, proof in proofs.items()
        }

    def request_stop(self) -> None:
        """End when the rounds under way have."""
        self._is_stopping = True
        self._progress.console.print("ending with the rounds under way …")

    def run(self, *, rounds: int | None, seconds: float, processes: int) -> None:
        """Go through ``rounds`` of each proof, or for ``seconds`` through them all; ends early at a broken promise."""
        start = time.monotonic()
        running: set[Future[Report]] = set()
        pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_settle_in)
        with self._progress, pool:
            while True:
                while len(running) < processes and not self._is_over(start, rounds, seconds):
                    running.add(self._submit(pool, rounds))
                if not running:
                    break
                ended, running = wait(running, return_when=FIRST_COMPLETED)
                for future in ended:
                    self._take(future)
                self._show(time.monotonic() - start, rounds, seconds)
        self._seconds = time.monotonic() - start

    @property
    def summary(self) -> str:
        """What was tried, in one line."""
        total = sum((course.figures for course in self._courses.values()), Counter[str]())
        rounds = sum(course.done for course in self._courses.values())
        tried = ", ".join(_told(name, total[name]) for name in TOLD if name in total)
        took = timedelta(seconds=round(self._seconds))
        verdict = f"{len(self.failures)} BROKEN PROMISES" if self.failures else "0 lost, 0 altered, 0 unnoticed"
        left_out = [f"; without {name}: {course.missing}" for name, course in self._courses.items() if course.missing]
        proofs = len(self._courses) - len(left_out)
        return f"{verdict} in {took}, {rounds} rounds of {proofs} proofs: {tried}{''.join(left_out)}"

    def _is_over(self, start: float, rounds: int | None, seconds: float) -> bool:
        if self._is_stopping or self.failures:
            return True
        if rounds is None and time.monotonic() - start >= seconds:
            return True
        return not self._due(rounds)

    def _submit(self, pool: ProcessPoolExecutor, rounds: int | None) -> Future[Report]:
        name, course = min(self._due(rounds), key=lambda one: one[1].is_due_by)
        seed = self._first_seed + course.started
        course.started += 1
        return pool.submit(_run, name, course.proof, seed)

    def _due(self, rounds: int | None) -> list[tuple[str, _Course]]:
        possible = [(name, course) for name, course in self._courses.items() if not course.missing]
        return [(name, course) for name, course in possible if rounds is None or course.started < rounds]

    def _take(self, future: Future[Report]) -> None:
        try:
            report = future.result()
        except BrokenProcessPool as exc:
            report = Report("a proof", 0, 0.0, {}, f"a process of the soak died: {exc}")
        if report.text:
            self.failures.append(report)
            return
        course = self._courses[report.proof]
        if report.missing:
            course.missing = report.missing
            return
        course.done += 1
        course.seconds += report.seconds
        course.figures.update(report.figures)

    def _show(self, elapsed: float, rounds: int | None, seconds: float) -> None:
        for course in self._courses.values():
            said = ", ".join(_told(name, course.figures[name]) for name in TOLD if name in course.figures)
            total, done = (rounds, course.done) if rounds is not None else (seconds, min(elapsed, seconds))
            said = course.missing or said or course.proof.about
            self._progress.update(course.task, total=total, completed=done, said=said)


def _told(name: str, count: int) -> str:
    if name == "simulated_seconds":
        return f"{count // 3600} simulated hours"
    return f"{count} {name.replace('_', ' ')}"


def _settle_in() -> None:
    # Ctrl-C at a terminal reaches the whole group: only the one who counts the rounds is to hear it.
    os.setpgrp()
    logging.disable(logging.CRITICAL)


def _run(name: str, proof: Proof, seed: int) -> Report:
    start = time.monotonic()
    try:
        figures = proof.run_round(seed)
    except PermissionError as exc:
        return Report(name, seed, 0.0, {}, missing=str(exc))
    except BaseException:
        # Whatever it is, it is told, with the seed that repeats it.
        lines = traceback.format_exc().splitlines()
        return Report(name, seed, 0.0, {}, "\n".join(lines[-_TOLD_LINES:]))
    return Report(name, seed, time.monotonic() - start, figures)
