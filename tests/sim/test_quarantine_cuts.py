"""A disk that fails in the midst of a quarantine, a restart, and then the power goes."""

import random
from contextlib import suppress
from pathlib import Path

import pytest

from spoold.errors import SpooldError
from spoold.spool.damage import open_store
from spoold.spool.quarantine import mark_damaged, quarantines
from spoold.spool.space import Space, SpaceLimits
from tests.sim.disk import SimDisk
from tests.support.clock import FakeClock, FakeEntropy
from tests.support.events import make_drafts
from tests.support.spools import MIB, open_spool

_CUTS = 20


def start(directory: Path) -> None:
    space = Space(directory, SpaceLimits(max_bytes=1024 * MIB, min_free_bytes=MIB))
    open_store(directory, space, FakeClock(), FakeEntropy(3)).store.close()


@pytest.mark.parametrize("syncs", range(10))
def test_neither_the_old_spool_nor_its_quarantine_is_lost(tmp_path: Path, syncs: int) -> None:
    live = tmp_path / "live"
    live.mkdir()
    with open_spool(live) as opened:
        opened.append(make_drafts(10))
    content = (live / "spool.db").read_bytes()
    mark_damaged(live, "database disk image is malformed")

    with SimDisk(live, random.Random(syncs)) as disk:
        disk.fail("sync", "eio", after=syncs)
        with pytest.raises((SpooldError, OSError)):
            start(live)
        crashed = [disk.crash(tmp_path / f"crashed{cut}") for cut in range(_CUTS)]
    for cut, disk in enumerate(crashed):
        with disk:
            # The next start gets so far.
            disk.stop_after(cut, "cut_power", tmp_path / f"cut{cut}")
            with suppress(SpooldError, OSError):
                start(disk.directory)
    for image in tmp_path.glob("cut*"):
        files = [image / "spool.db", *(one.folder / "spool.db" for one in quarantines(image))]
        assert content in [file.read_bytes() for file in files if file.exists()], f"lost in {image.name}"
