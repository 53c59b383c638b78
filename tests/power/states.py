"""Power cuts by the thousand: the real spool on a tape, and what a disk may hold after each write and each sync.

    run_round(seed)   # one recorded spool, its lives and its damage; raises where a promise is broken

Each state is laid out in memory and opened by the product's own code. What is found must hold all that was promised by
the moment of the cut: events and dead letters byte for byte, the lanes' places, I2. A cut is chosen for the next life
to begin with.
"""

import hashlib
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.power.book import Book
from tests.power.old_spool import write_old_spool
from tests.power.opening import opened_spool
from tests.power.platter import Image, Platter
from tests.power.promises import BrokenPromiseError, check_kept, check_spool
from tests.power.recovery import break_header, check_recovery, covers_header
from tests.power.script import Damage, Script
from tests.power.tape import Tape
from tests.support.clock import FakeClock, FakeEntropy

#: Looks at one state: the directory it lies in, the image, and the number of operations before the cut.
Check = Callable[[Path, Image, int], None]

_SHARED_MEMORY = Path("/dev/shm")
#: How many states are looked at in a round, about; some turn out to be equal.
_STATES = 1500
#: Of these: in each of two lives, and in a recovery from damage, which takes longer.
_LIFE_SHARE, _RECOVERY_SHARE = 0.43, 0.14
_STEPS = 18


class Explorer:
    """One round: a spool, life after life, each from a cut of the one before."""

    def __init__(self, seed: int, home: Path, *, durability: str, states: int) -> None:
        self._rng = random.Random(f"power {seed}")
        self._home = home
        self._durability = durability
        self._states = states
        self._clock = FakeClock()
        self._entropy = FakeEntropy(seed)
        self._book = Book()
        self._image = Image()
        self.figures: Counter[str] = Counter()

    def explore(self) -> None:
        """All lives, and each state on the way."""
        if self._rng.random() < 0.3:
            self._image, self._book = self._old_spool()
        for _ in range(2):
            self._live(lambda script: script.live(_STEPS, durability=self._durability), self._check_life, _LIFE_SHARE)
        self._recover()

    def begin(self) -> None:
        """A first start alone, and each state on the way of it."""
        self._live(lambda script: script.live(0, durability=self._durability), self._check_beginning, 1.0)

    def _recover(self) -> None:
        damages: list[Damage] = ["mark", "mid-run"]
        damage = self._rng.choice(damages if covers_header(self._image) else [*damages, "header"])
        if damage == "header":
            self._image = break_header(self._image)
        before, book = None if damage == "mid-run" else self._image, self._book

        def check(directory: Path, image: Image, at: int) -> None:
            check_recovery(directory, image, at, before=before, book=book, now=self._book, clock=self._clock)

        self._book = Book(kept=book.kept)
        self._live(lambda script: script.recover(damage), check, _RECOVERY_SHARE)

    def _live(self, life: Callable[[Script], None], check: Check, share: float) -> None:
        with self._directory() as directory:
            self._image.write(directory)
            with Tape(directory, self._image, self._rng.getrandbits(32)) as tape:
                life(Script(tape, self._book, self._rng, self._clock, self._entropy))
        self.figures["acknowledged"] += sum(owed.at > 0 for owed in self._book.owed)
        seen: set[bytes] = set()
        chosen: tuple[Image, int] = self._image, 0
        platter = Platter(self._image)
        for at, image in self._cuts(tape, platter, share):
            key = self._fingerprint(image, at)
            if key in seen:
                continue
            seen.add(key)
            with self._directory() as directory:
                image.write(directory)
                check(directory, image, at)
            # The n-th replaces the one before with a chance of 1 to n: each is as likely in the end.
            if self._rng.random() * len(seen) < 1:
                chosen = image, at
        self.figures["power_cuts"] += len(seen)
        if self._rng.random() < 0.4:
            platter.sync()
            chosen = platter.cut(self._rng), tape.now
        self._image, self._book = chosen[0], self._book.as_of(chosen[1])

    def _cuts(self, tape: Tape, platter: Platter, share: float) -> Iterator[tuple[int, Image]]:
        density = share * self._states / max(1, len(tape.operations))
        for at, operation in enumerate(tape.operations, 1):
            platter.apply(operation)
            draws = 1 if platter.is_clean else int(density + self._rng.random())
            for _ in range(draws):
                yield at, platter.cut(self._rng)

    def _fingerprint(self, image: Image, at: int) -> bytes:
        """Equal where the files and what is owed are."""
        digest = hashlib.blake2b(digest_size=16)
        owed = sum(owed.at <= at for owed in self._book.owed), sum(one.at <= at for one in self._book.passed)
        digest.update(repr((owed, [*image.directories], sorted(image.files.items()))).encode())
        for content in image.contents.values():
            digest.update(hashlib.blake2b(content, digest_size=16).digest())
        return digest.digest()

    def _check_beginning(self, directory: Path, image: Image, at: int) -> None:
        self._check_life(directory, image, at)
        with opened_spool(directory, self._clock, FakeEntropy(at)) as opened:
            if (last := opened.store.state.spool.last_seq) != 1:
                raise BrokenPromiseError(f"the first event of all is number {last}")

    def _check_life(self, directory: Path, image: Image, at: int) -> None:
        del image
        check_kept(directory, self._book, at)
        with opened_spool(directory, self._clock, FakeEntropy(at), durability=self._durability) as opened:
            if opened.quarantined is not None:
                raise BrokenPromiseError(f"a healthy spool was moved aside: {opened.quarantined.reason}")
            check_spool(opened, self._book, at)

    def _old_spool(self) -> tuple[Image, Book]:
        with self._directory() as directory:
            owed = write_old_spool(directory, self._rng)
            return Image({}, {"spool.db": 1}, {1: (directory / "spool.db").read_bytes()}), Book(owed=owed)

    @contextmanager
    def _directory(self) -> Iterator[Path]:
        directory = self._home / "spool"
        directory.mkdir()
        try:
            yield directory
        finally:
            shutil.rmtree(directory)


def run_beginning(seed: int, *, states: int = _STATES) -> dict[str, int]:
    """Explore about so many states of a first start: whatever a cut leaves of it, the next one begins anew.

    Raises:
        AssertionError: A promise is broken.
    """
    return _run(seed, Explorer.begin, "fsync", states)


def run_round(seed: int, *, durability: str = "fsync", states: int = _STATES) -> dict[str, int]:
    """Explore about so many states of one recorded spool.

    Raises:
        AssertionError: A promise is broken; the message says where, and how to see it again.
    """
    return _run(seed, Explorer.explore, durability, states)


def _run(seed: int, explore: Callable[[Explorer], None], durability: str, states: int) -> dict[str, int]:
    memory = _SHARED_MEMORY if _SHARED_MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="spoold-power-", dir=memory) as home:
        explorer = Explorer(seed, Path(home), durability=durability, states=states)
        try:
            explore(explorer)
        except Exception as exc:
            raise AssertionError(f"{exc} (again: python -m tests.power --seed {seed})") from exc
        return dict(explorer.figures)
