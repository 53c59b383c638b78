"""``make soak``: every proof of the promises, for a night or for so many rounds, on all processors.

Ends with one line that says what was tried; exit code 1 when a promise was broken.
"""

import argparse
import os
import random
import signal
import sys

from rich.console import Console

from spoold import __version__
from tests.soak.proofs import PROOFS
from tests.soak.running import Soak

_NIGHT_HOURS = 8.0
_SEEDS = 10**9


def main() -> int:
    options = _options()
    proofs = {name: proof for name, proof in PROOFS.items() if not options.proof or name in options.proof}
    first = random.SystemRandom().randrange(_SEEDS) if options.seed is None else options.seed
    soak = Soak(proofs, first, Console(stderr=True, highlight=False))
    signal.signal(signal.SIGINT, lambda *_: soak.request_stop())
    signal.signal(signal.SIGTERM, lambda *_: soak.request_stop())
    soak.run(rounds=options.rounds, seconds=options.hours * 3600, processes=options.processes)
    for failure in soak.failures:
        again = f"make soak PROOF={failure.proof} SEED={failure.seed} ROUNDS=1"
        print(f"BROKEN: {failure.proof}, again: {again}\n{failure.text}")
    print(f"spoold {__version__} soak, seed {first}: {soak.summary}")
    return 1 if soak.failures else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--proof", action="append", choices=PROOFS, help="only this one; may be repeated")
    parser.add_argument("--rounds", type=int, help="so many of each, instead of a time")
    parser.add_argument("--hours", type=float, default=_NIGHT_HOURS, help="for how long (default: %(default)s)")
    parser.add_argument("--seed", type=int, help="of the first round of each; the next ones follow (default: drawn)")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="rounds at a time (default: %(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
