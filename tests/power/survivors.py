"""What a disk may keep of the writes that were not synced when the power went: the draw that all of this rests on.

A cache goes to the platter in any order, and a sector at a time: each sector holds what it held at some moment since
the last sync, whatever the moments of the others.
"""

import random
from collections.abc import Sequence

from tests.sim.inode import SECTOR_BYTES, Change, apply_changes


def keep_some(content: bytearray, pending: Sequence[Change], rng: random.Random) -> None:
    """Apply to ``content`` what the disk kept of the pending changes: nothing, all, a prefix, or any sectors."""
    match rng.choice(("nothing", "all", "prefix", "sectors", "sectors", "some", "all but one", "one")):
        case "nothing":
            kept: Sequence[Change] = []
        case "prefix":
            kept = pending[: rng.randint(0, len(pending))]
        case "some":
            kept = [change for change in pending if rng.random() < 0.5]
        case "all but one":
            lost = rng.randrange(len(pending)) if pending else 0
            kept = [*pending[:lost], *pending[lost + 1 :]]
        case "one":
            kept = [rng.choice(pending)] if pending else []
        case "sectors":
            _keep_sectors(content, pending, rng)
            return
        case _:
            kept = pending
    apply_changes(content, kept)
    if len(kept) < len(pending) and rng.random() < 0.5:
        # The one that was on its way.
        _keep_sectors(content, [pending[len(kept)]], rng)


def _keep_sectors(content: bytearray, pending: Sequence[Change], rng: random.Random) -> None:
    """Each sector stops at a moment of its own. A new size is a matter of its own too, and is kept or not."""
    moments: dict[int, int] = {}
    for moment, (start, data) in enumerate(pending):
        if data is None:
            if rng.random() < 0.5:
                apply_changes(content, [(start, None)])
            continue
        offset, end = start, start + len(data)
        while offset < end:
            sector = offset // SECTOR_BYTES
            following = min(end, (sector + 1) * SECTOR_BYTES)
            if sector not in moments:
                moments[sector] = rng.randint(0, len(pending))
            if moment < moments[sector]:
                apply_changes(content, [(offset, data[offset - start : following - start])])
            offset = following
