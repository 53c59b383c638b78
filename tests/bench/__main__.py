"""``make bench``: every figure a ratio of one run, what is measured alternating with what it is measured against.

The ratio is the median of the A B pairs, its range in brackets. Noise is the same thing measured again: the range of
each A against the A before it, so a ratio that misses its target by less says little.
"""

import argparse
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tests.bench.backlog import backlog
from tests.bench.calls import batch, unary
from tests.bench.catching_up import catching_up
from tests.bench.figures import Figure
from tests.bench.lone import lone
from tests.bench.queues import queue
from tests.bench.rig import busy_share

_BENCHMARKS: Mapping[str, Callable[[int], list[Figure]]] = {
    "unary": unary,
    "batch": batch,
    "lone": lone,
    "queue": queue,
    "backlog": backlog,
    "catching_up": catching_up,
}
_STYLES = {"ok": "green", "below": "red", "above": "red", "skipped": "yellow", "crashed": "bold red"}


def main() -> int:
    """Run the benchmarks that are named, or all; 1 when one crashed."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(_BENCHMARKS)} (default: all)")
    parser.add_argument("--pairs", type=int, default=5, help="A B pairs behind each ratio (default: %(default)s)")
    options = parser.parse_args()
    unknown = set(options.names) - _BENCHMARKS.keys()
    if unknown:
        parser.error(f"no benchmark is named {', '.join(sorted(unknown))}; there are {', '.join(_BENCHMARKS)}")
    if options.pairs < 1:
        parser.error("--pairs must be 1 or more")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 170)
    busy = busy_share()
    figures: list[Figure] = []
    for name in dict.fromkeys(options.names or _BENCHMARKS):
        console.print(f"running {name} …", style="dim")
        figures += _run(name, options.pairs)
    console.print(_table(figures))
    console.print(f"{os.cpu_count()} cores, {busy:.0%} busy before the start; {options.pairs} pairs", style="dim")
    return int(any(figure.verdict == "crashed" for figure in figures))


def _run(name: str, pairs: int) -> list[Figure]:
    try:
        return _BENCHMARKS[name](pairs)
    except Exception as error:
        traceback.print_exc()
        return [Figure(name, detail=f"{type(error).__name__}: {str(error)[:200]}", unmeasured="crashed")]


def _table(figures: list[Figure]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for header in ("what", "ratio", "target", "", "noise", "absolute"):
        table.add_column(header, overflow="fold")
    for figure in figures:
        verdict = f"[{_STYLES[figure.verdict]}]{figure.verdict}[/]"
        table.add_row(
            figure.name, figure.ratio_text, figure.target_text, verdict, figure.noise_text, escape(figure.detail)
        )
    return table


if __name__ == "__main__":
    sys.exit(main())
