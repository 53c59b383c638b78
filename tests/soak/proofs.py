"""The proofs that a soak goes through, round after round.

A proof that can't be had without root, or without a program, raises PermissionError: it is left out, and the last line
says so.
"""

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


#: What the last line tells, of all that the proofs count.
TOLD = (
    "worlds", "simulated_seconds", "crashes", "kills", "crash_points", "power_cuts", "disk_faults", "full_disks",
    "clock_jumps", "migrations", "quarantines", "flipped_bits", "inputs", "planted_bugs", "acknowledged", "repeats",
)  # fmt: skip

PROOFS = {
    "worlds": Proof("tests.sim.run", 6, "simulated worlds: crashes, power cuts, full disks, every reply"),
    "cuts": Proof("tests.power.states", 5, "what a disk may hold after a power cut, state by state"),
    "kills": Proof("tests.crash.kills", 3, "daemons under load are killed"),
    "points": Proof("tests.crash.lives", 1, "a daemon is killed at each named point"),
    "faults": Proof("tests.disk_trouble.every_fault", 2, "the disk fails at the n-th write or sync"),
    "upgrades": Proof(
        "tests.upgrade.every_crash", 1, "spools of older formats, stopped at each operation of their opening"
    ),
    "machine": Proof("tests.power.machine", 1, "a daemon on a real disk loses its power"),
    "small_disks": Proof("tests.disk_trouble.small_disk", 1, "a small disk fills to its last byte"),
    "sieges": Proof("tests.abuse.siege", 1, "clients that are rude, and good ones among them"),
    "crowds": Proof("tests.abuse.crowd", 1, "the largest honest load, within 256 MiB"),
    "inputs": Proof("tests.abuse.fuzz", 1, "messages, replies and configurations of any bytes"),
    "operators": Proof("tests.abuse.operators", 1, "command lines of any kind, on streams of any kind"),
    "bugs": Proof("tests.sim.planting", 1, "a bug is planted, and the simulated worlds find it"),
    "drills": Proof("tests.acceptance.drill_rounds", 1, "spoolctl doctor --drill, as a user runs it"),
    "flips": Proof("tests.damage.flips", 1, "single bits of a spool turn over"),
}
