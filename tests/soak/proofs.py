"""The proofs that a soak goes through, round after round."""

import importlib
from typing import NamedTuple


class Proof(NamedTuple):
    """One way to try to break a promise.

    Attributes:
        module: Where ``run_round(seed) -> figures`` is; it raises when a promise is broken.
        share: How much of the time it gets, against the others.
        about: What is done, for the one who looks on.
    """

    module: str
    share: int
    about: str

    def run_round(self, seed: int) -> dict[str, int]:
        """One round, a matter of seconds; the same seed draws the same."""
        figures: dict[str, int] = importlib.import_module(self.module).run_round(seed)
        return figures


PROOFS = {
    "flips": Proof("tests.damage.flips", 1, "single bits of a spool turn over"),
}
