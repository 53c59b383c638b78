"""The machine stops at any moment of a spool's migration, or its disk is full: the spool has everything afterwards.

python -m tests.upgrade.every_crash --seed 7      # one round, as `run_round` does it
"""

import argparse
import random
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from spoold.errors import SpoolError, SpoolFailedError
from spoold.spool.schema import shipped_migrations
from tests.sim.disk import SimDisk, StopKind
from tests.support.clock import FakeClock, FakeEntropy
from tests.support.spools import OpenSpool, open_spool
from tests.upgrade.fixtures import ALL, Fixture, check_everything, format_of, records

NEWEST = max(shipped_migrations())
_TMPFS = Path("/dev/shm")
#: More writes, syncs and deletions than an opening has.
_MANY = 1_000


def stop_everywhere(fixture: Fixture, how: StopKind, home: Path, seed: int, step: int = 1) -> int:
    """Stop at each ``step``-th write, sync and deletion of an opening, each on a spool of its own.

    Returns:
        How often it was stopped.

    Raises:
        AssertionError: Something was lost; the message says where it was stopped.
    """
    for count, operations in enumerate(range(seed % step, _MANY, step)):
        with tempfile.TemporaryDirectory(dir=home) as directory:
            if not _stop(fixture, how, operations, Path(directory), seed + operations):
                return count
    raise AssertionError(f"{fixture}: an opening of more than {_MANY} operations")


def _stop(fixture: Fixture, how: StopKind, operations: int, home: Path, seed: int) -> bool:
    """Stop an opening, and open what is left; False where all of it went by before."""
    spool = fixture.unpack(home)
    before = records(spool)
    with SimDisk(spool, random.Random(seed)) as disk:
        disk.stop_after(operations, how, home / "image")
        with suppress(SpoolError), _opened(spool):
            pass
    if disk.successor is None:
        return False
    try:
        _check(disk.successor.directory, fixture, before, formats=(fixture.version, NEWEST))
    except (AssertionError, SpoolError) as exc:
        raise AssertionError(f"{fixture}: {how} at operation {operations}, seed {seed}: {exc}") from exc
    return True


def fill_everywhere(fixture: Fixture, home: Path, seed: int, *, has_reserve: bool) -> int:
    """The disk is full from each write of an opening on.

    Args:
        has_reserve: The spool has one: what it held is enough to open. Else a start is refused, and nothing changes.

    Returns:
        How many writes there were.
    """
    for nth in range(_MANY):
        with tempfile.TemporaryDirectory(dir=home) as directory:
            try:
                is_met = _fill(fixture, nth, Path(directory), seed + nth, has_reserve=has_reserve)
            except (AssertionError, SpoolError) as exc:
                raise AssertionError(f"{fixture}: full at write {nth}, reserve: {has_reserve}: {exc}") from exc
            if not is_met:
                return nth
    raise AssertionError(f"{fixture}: an opening of more than {_MANY} writes")


def _fill(fixture: Fixture, nth: int, home: Path, seed: int, *, has_reserve: bool) -> bool:
    """Fill the disk; False where the opening was over before it was full."""
    spool = fixture.unpack(home)
    reserve = spool / "reserve"
    before = records(spool)
    if has_reserve:
        reserve.write_bytes(bytes(4096))
    with SimDisk(spool, random.Random(seed)) as disk:
        # Giving the reserve up makes room.
        disk.fail("write", "enospc", after=nth, times=1 if has_reserve else None)
        try:
            with _opened(spool):
                is_met = has_reserve and not reserve.exists()
            version = NEWEST
        except SpoolFailedError as exc:
            if has_reserve or "has no room to open the spool" not in str(exc):
                raise
            is_met, version = True, fixture.version
    _check(spool, fixture, before, formats=(version,))
    return is_met


def _check(spool: Path, fixture: Fixture, before: dict[int, bytes], *, formats: tuple[int, ...]) -> None:
    assert format_of(spool)[0] in formats
    with _opened(spool) as opened:
        check_everything(opened, fixture, before)


@contextmanager
def _opened(spool: Path) -> Iterator[OpenSpool]:
    with open_spool(spool, clock=FakeClock(), entropy=FakeEntropy()) as opened:
        yield opened


def run_round(seed: int) -> dict[str, int]:
    """One fixture, stopped at each operation of its opening, once by a crash and once by a power cut; and full disks.

    Raises:
        AssertionError: Something was lost; the message says where.
    """
    fixture = ALL[seed % len(ALL)]
    home = Path(tempfile.mkdtemp(prefix="spoold-upgrade-", dir=_TMPFS if _TMPFS.is_dir() else None))
    try:
        return {
            "crashes": stop_everywhere(fixture, "crash", home, seed),
            "power_cuts": stop_everywhere(fixture, "cut_power", home, seed),
            "full_disks": sum(fill_everywhere(fixture, home, seed, has_reserve=one) for one in (False, True)),
        }
    except AssertionError as exc:
        raise AssertionError(f"{exc} (again: python -m tests.upgrade.every_crash --seed {seed})") from exc
    finally:
        shutil.rmtree(home, ignore_errors=True)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seed", type=int, default=0)
    print(run_round(parser.parse_args().seed))


if __name__ == "__main__":
    main()
