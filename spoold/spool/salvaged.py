"""What is told of a salvage."""

from typing import NamedTuple


class Salvage(NamedTuple):
    """How much of a damaged spool has been brought over into this one.

    Attributes:
        source: Its folder: below this spool's, or an absolute path.
        reason: What is wrong with it.
        found_at_ms: Wall clock.
        bytes: Size of its files.
        state: ``running`` or ``done``.
        position: Pieces done, of ``pieces`` (0 until they are counted).
        recovered: Events that are in this journal now.
        known: Whose id was here already.
        settled: That no lane had pending; they stay where they are.
        dead: Dead letters brought over.
        damaged: Rows that can't be read, or whose checksum is wrong.
        lost: Events that were not found, and that stood aside and were not found there.
        holes: Seqs of which nothing is left, as ``40-51,77-77``.
        finished_at_ms: Wall clock; None while it runs.
    """

    source: str
    reason: str
    found_at_ms: int
    bytes: int
    state: str = "running"
    position: int = 0
    pieces: int = 0
    recovered: int = 0
    known: int = 0
    settled: int = 0
    dead: int = 0
    damaged: int = 0
    lost: int = 0
    holes: str = ""
    finished_at_ms: int | None = None

    @property
    def is_running(self) -> bool:
        """Whether something is still to be brought over."""
        return self.state == "running"

    @property
    def progress(self) -> float:
        """0 to 1."""
        if not self.is_running:
            return 1.0
        return self.position / self.pieces if self.pieces else 0.0
