"""``make bench``: each figure a ratio of one run, alternating with what it is compared to; the median counts."""

import argparse
from collections.abc import Callable, Mapping

from rich.console import Console
from rich.table import Table

from tests.bench.backlog import backlog
from tests.bench.calls import lone, unary
from tests.bench.queues import queue
from tests.bench.rig import Figure

_BENCHMARKS: Mapping[str, Callable[[int], list[Figure]]] = {
    "unary": unary,
    "lone": lone,
    "queue": queue,
    "backlog": backlog,
}


def main() -> None:
    """Run the benchmarks that are named, or all."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(_BENCHMARKS)}")
    parser.add_argument("--pairs", type=int, default=5, help="how often each is alternated (default: %(default)s)")
    options = parser.parse_args()
    unknown = set(options.names) - _BENCHMARKS.keys()
    if unknown:
        parser.error(f"no benchmark is named {', '.join(sorted(unknown))}")
    console = Console(width=160, highlight=False)
    table = Table("what", "ratio", "target", "", "spread", "behind it", box=None, header_style="bold")
    for name in options.names or _BENCHMARKS:
        console.print(f"running {name} …")
        for figure in _BENCHMARKS[name](options.pairs):
            sign = "≥" if figure.is_at_least else "≤"
            verdict = "ok" if figure.is_met else "below" if figure.is_at_least else "above"
            table.add_row(
                figure.name, f"{figure.ratio:.2f}", f"{sign} {figure.target:g}", verdict, figure.noise, figure.detail
            )
    console.print(table)


if __name__ == "__main__":
    main()
