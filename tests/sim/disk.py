"""A simulated disk under real SQLite: it can crash, lose power, fill up and fail.

`vfs.py` sees every change that SQLite makes to a file. `SimDisk` keeps, per file, what its last sync made durable and
each write since, and can say at any moment what a disk might hold had the power gone. Everything is drawn from the
caller's `random.Random`, SQLite's own salts included: the same seed and the same calls give the same bytes.

It is meant for one thread, and for a tmpfs. What the program does without SQLite is heeded as far as it uses the calls
of `notice.py`; a file that nobody has touched since the disk was made counts as synced. Copying a file drops the POSIX
locks that this process has on it; within one process SQLite does not need them.
"""

import copy
import errno
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from tests.sim.inode import SECTOR_BYTES, Inode, survivors
from tests.sim.names import Names, parent_of
from tests.sim.vfs import OK, shim

Operation = Literal["write", "sync"]
ErrorKind = Literal["enospc", "eio"]
StopKind = Literal["crash", "cut_power"]

#: SQLite's results.
_FULL, _IOERR_WRITE, _IOERR_FSYNC, _IOERR_TRUNCATE, _IOERR_DELETE = 13, 778, 1034, 1546, 2570
_OPEN_CREATE = 0x04
BLOCK_BYTES = 4096
#: WAL, main journal, super-journal: the unix VFS syncs the directory with the first sync of these, and of no others.
_OPEN_WITH_DIRECTORY_SYNC = 0x80000 | 0x800 | 0x4000


@dataclass(slots=True)
class _Fault:
    error: ErrorKind
    after: int
    times: int | None

    def strikes(self) -> bool:
        if self.after:
            self.after -= 1
            return False
        if self.times is None:
            return True
        self.times -= 1
        return self.times >= 0


@dataclass(slots=True)
class _Stop:
    how: StopKind
    into: Path
    after: int


class SimDisk:
    """A directory whose SQLite files live on a simulated disk, while the context lasts.

    Inside `with`, every connection that any code opens below `directory` is recorded. One disk is for one directory:
    after a crash or a cut, go on with the disk that the call returned. Leaving the context hands connections that are
    still open back to SQLite, so an abandoned one may be closed whenever the collector finds it.

    Attributes:
        writes: Writes and truncations that succeeded.
        syncs: Syncs that succeeded.
        room: Bytes by which files may still grow, None: any number. What is beyond meets a full disk.
        is_contested: What is given back is another program's at once.
        successor: The disk left by `stop_after` once it has struck, else None.
    """

    def __init__(self, directory: Path, rng: random.Random) -> None:
        # SQLite resolves links before it opens, so paths are compared as it sees them.
        self.directory = Path(os.path.realpath(directory))
        self.writes = 0
        self.syncs = 0
        self.room: int | None = None
        self.is_contested = False
        self.successor: SimDisk | None = None
        self._rng = rng
        self._inodes: dict[int, Inode] = {}
        self._names: Names[Inode] = Names()
        self._faults: dict[Operation, _Fault] = {}
        self._stop: _Stop | None = None
        self._error: BaseException | None = None

    def __enter__(self) -> Self:
        shim().activate(self, self._rng.getrandbits(64))
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        shim().release(self)
        if error is None:
            self._raise_recorded()

    def crash(self, into: Path) -> "SimDisk":
        """Copy the directory as a killed process leaves it: all that was written is there.

        The disk returned still knows what has not been synced, so a power cut can follow the crash.
        """
        self._raise_recorded()
        into.mkdir(parents=True, exist_ok=True)
        copied: dict[str, Inode] = {}
        placed: dict[int, Path] = {}
        for path in _regular_files(self.directory):
            relative = self._relative(path)
            _copy(path, into / relative, placed)
            if (inode := self._inodes.get(path.lstat().st_ino)) is not None:
                copied[relative] = inode
        following = SimDisk(into, self._rng)
        # One deep copy for both: a name and its file stay the same object.
        following._names, copied = copy.deepcopy((self._names, copied))
        following._inodes = {(into / relative).stat().st_ino: inode for relative, inode in copied.items()}
        return following

    def cut_power(self, into: Path) -> "SimDisk":
        """Make, in `into`, what the disk may hold if the power goes now.

        Each file keeps what it held at its last sync, plus none, all, a prefix or a random part of the writes
        since, some torn between sectors. Names made or deleted since the directory's last sync may be either way.
        """
        self._raise_recorded()
        into.mkdir(parents=True, exist_ok=True)
        present = {self._relative(path): path for path in _regular_files(self.directory)}
        followed = {relative: self._inodes.get(path.lstat().st_ino) for relative, path in present.items()}
        copied: dict[int, Path] = {}
        written: dict[int, Path] = {}
        for now, then, inode in self._names.survivors(followed, self._rng):
            path, target = present.get(now), into / then
            if path is not None and inode is None:
                _copy(path, target, copied)
            if inode is not None and _is_first(target, id(inode), written):
                target.write_bytes(inode.image(self._rng))
                if path is not None:
                    shutil.copymode(path, target)
        return SimDisk(into, self._rng)

    def stop_after(self, operations: int, how: StopKind, into: Path) -> None:
        """Crash or cut in the midst of things: let so many writes, syncs and deletions pass, then stop.

        From then on every operation fails, so nothing is acknowledged that the image cannot hold, and `successor` is
        the disk to go on with. Between two commits all is synced: it is here that a wrong order of writes shows.
        """
        self._raise_recorded()
        self._stop = _Stop(how, into, operations)

    def fail(self, op: Operation, error: ErrorKind, *, after: int = 0, times: int | None = 1) -> None:
        """Let `after` operations of this kind pass, then fail `times` of them, or all until `heal()` if None.

        As in the kernel, a full disk takes part of the write first, and a failed sync drops what it could not write:
        a later sync succeeds without it. SQLite reports any failed sync as an I/O error, ENOSPC too.
        """
        self._raise_recorded()
        self._faults[op] = _Fault(error, after, times)

    def heal(self) -> None:
        """End all faults asked for by `fail`."""
        self._raise_recorded()
        self._faults.clear()

    def damage(self, path: Path, offset: int, data: bytes) -> None:
        """Change what is on the platter and what is read from now on, behind everybody's back."""
        with path.open("r+b") as file:
            file.seek(offset)
            file.write(data)
        if (inode := self._inodes.get(path.lstat().st_ino)) is not None:
            inode.spoil(offset, data)

    def opened(self, path: Path, flags: int, *, created: bool) -> "_OpenFile":
        """Note that SQLite has opened a file, and begin to follow it if it is new to us."""
        number = path.lstat().st_ino
        relative = self._relative(path)
        if created:
            self._inodes[number] = inode = Inode()
            self._names.put(relative, inode)
        inode = self._follow(path)
        sync_directory = bool(flags & _OPEN_CREATE and flags & _OPEN_WITH_DIRECTORY_SYNC)
        return _OpenFile(self, inode, parent_of(relative), sync_directory=sync_directory)

    def delete(self, path: Path, original: Callable[[], int], *, sync_directory: bool) -> int:
        """Delete a file. Its name may come back until the directory is synced."""
        if self._is_off():
            return _IOERR_DELETE
        stat = path.lstat() if path.exists() else None
        result = original()
        if result == OK and stat is not None:
            relative = self._relative(path)
            if relative in self._names:
                self._names.put(relative, None)
            if stat.st_nlink == 1:
                # The number is free for any other file now.
                self._inodes.pop(stat.st_ino, None)
                self.give_back(stat.st_size)
            if sync_directory:
                self._names.sync(parent_of(relative))
        return result

    def synced(self, path: Path) -> None:
        """Heed the program's own sync of a file or directory."""
        self._end_if_off(path)
        if self._fault("sync") is not None:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        self.syncs += 1
        if path.is_dir():
            self._names.sync(parent_of(self._relative(path / "any")))
        elif (inode := self._inodes.get(path.lstat().st_ino)) is not None:
            inode.flush(inode.pending)

    def wrote(self, path: Path, offset: int, data: bytes) -> None:
        """Heed what the program itself writes into a file that the disk follows."""
        self._end_if_off(path)
        if (inode := self._inodes.get(path.lstat().st_ino)) is not None:
            inode.change((offset, data))

    def made(self, path: Path, flags: int) -> None:
        """Heed a file that the program itself has made, or emptied."""
        del flags
        self._end_if_off(path)
        number = path.lstat().st_ino
        if (inode := self._inodes.get(number)) is not None:
            inode.change((0, None))
        else:
            self._inodes[number] = inode = Inode()
            self._names.put(self._relative(path), inode)

    def linked(self, path: Path, target: Path) -> None:
        """Heed a second name of a file."""
        self._end_if_off(path)
        self._names.put(self._relative(target), self._follow(path))

    def renamed(self, path: Path, target: Path) -> None:
        """Heed another name of a file or folder."""
        self._end_if_off(path)
        if path.is_dir():
            self._names.move_folder(self._relative(path), self._relative(target))
            return
        if target.exists():
            self._follow(target)
        self._names.put(self._relative(target), self._follow(path))
        self._names.put(self._relative(path), None)

    def unlinked(self, path: Path) -> None:
        """Heed a name that goes; it may come back until its folder is synced."""
        self._end_if_off(path)
        self._follow(path)
        self._names.put(self._relative(path), None)
        if (stat := path.lstat()).st_nlink == 1:
            self._inodes.pop(stat.st_ino, None)
            self.give_back(stat.st_size)

    def made_folder(self, path: Path) -> None:
        """Heed a folder, which is there for sure when the one that it is in is synced."""
        if path != self.directory:
            self._end_if_off(path)
            self._names.make_folder(self._relative(path))

    def give_back(self, size: int) -> None:
        """A file is gone, or shorter than it was."""
        if self.room is not None and not self.is_contested:
            self.room += size

    def record(self, error: BaseException) -> None:
        """Keep an exception that cannot pass through C, for the next call on this disk."""
        self._error = self._error or error

    def _raise_recorded(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _relative(self, path: Path) -> str:
        return str(path.relative_to(self.directory))

    def _is_off(self) -> bool:
        """Whether the process is no more. Every operation asks first, so this is also where it ends."""
        if self._stop is None:
            return False
        if self._stop.after:
            self._stop.after -= 1
            return False
        if self.successor is None:
            end = self.crash if self._stop.how == "crash" else self.cut_power
            self.successor = end(self._stop.into)
        return True

    def _fault(self, op: Operation) -> _Fault | None:
        fault = self._faults.get(op)
        return fault if fault is not None and fault.strikes() else None

    def _part_of(self, offset: int, size: int, unit: int | None = None) -> int:
        """How much of a write a full disk takes that has room for ``size`` bytes of it.

        Most file systems end with a whole block or sector of the file, some at any byte.
        """
        unit = unit or self._rng.choice((BLOCK_BYTES, SECTOR_BYTES, 1))
        return max(0, (offset + size) // unit * unit - offset)

    def _end_if_off(self, path: Path) -> None:
        if self._is_off():
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    def _follow(self, path: Path) -> Inode:
        """What stands in a file now that was not followed counts as synced, and so does its name."""
        number = path.lstat().st_ino
        if number not in self._inodes:
            self._inodes[number] = Inode(bytearray(path.read_bytes()))
        self._names.found(self._relative(path), self._inodes[number])
        return self._inodes[number]


@dataclass(slots=True)
class _OpenFile:
    """One connection's file: what may still be lost is the disk's matter, when to sync the directory is its own."""

    disk: SimDisk
    inode: Inode
    directory: str
    sync_directory: bool

    def write(self, offset: int, data: bytes) -> tuple[int, int]:
        disk = self.disk
        if disk._is_off():
            return 0, _IOERR_WRITE
        fault, size, result = disk._fault("write"), len(data), OK
        growth = offset + size - self.inode.size
        if fault is None and disk.room is not None and growth > disk.room:
            size, result = disk._part_of(offset, max(0, size - growth + disk.room)), _FULL
            disk.room -= max(0, offset + size - self.inode.size)
        elif fault is None:
            disk.writes += 1
            if disk.room is not None and growth > 0:
                disk.room -= growth
        elif fault.error == "enospc":
            room = disk._rng.randint(0, size - 1)
            # What is written over takes no room, but where each block gets a new place: then whole blocks.
            size, result = disk._part_of(offset, room, BLOCK_BYTES if growth <= 0 else None), _FULL
        else:
            size, result = 0, _IOERR_WRITE
        if size:
            self.inode.change((offset, data[:size]))
        return size, result

    def truncate(self, size: int) -> int:
        if self.disk._is_off():
            return _IOERR_TRUNCATE
        self.disk.writes += 1
        self.disk.give_back(max(0, self.inode.size - size))
        self.inode.change((size, None))
        return OK

    def sync(self) -> int:
        disk, inode = self.disk, self.inode
        if disk._is_off():
            return _IOERR_FSYNC
        if disk._fault("sync") is not None:
            inode.flush(survivors(inode.pending, disk._rng))
            return _IOERR_FSYNC
        disk.syncs += 1
        inode.flush(inode.pending)
        if self.sync_directory:
            disk._names.sync(self.directory)
            self.sync_directory = False
        return OK


def flip_bit(directory: Path, rng: random.Random) -> Path:
    """Flip one bit in a database or WAL of a directory in which nothing is open, and say in which file."""
    suffixes = (".db", "-wal")
    path = rng.choice([p for p in _regular_files(directory) if p.name.endswith(suffixes) and p.stat().st_size])
    content = bytearray(path.read_bytes())
    bit = rng.randrange(len(content) * 8)
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    return path


def _is_first(target: Path, number: int, placed: dict[int, Path]) -> bool:
    """Prepare a place for a file, or make it a link to its twin: what were two names of one file remain so."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if number in placed:
        target.hardlink_to(placed[number])
        return False
    placed[number] = target
    return True


def _copy(path: Path, target: Path, placed: dict[int, Path]) -> None:
    if _is_first(target, path.lstat().st_ino, placed):
        shutil.copy2(path, target, follow_symlinks=False)


def _regular_files(directory: Path) -> list[Path]:
    """All files to copy, in an order that does not depend on the file system. A -shm never outlives its process."""
    return sorted(p for p in directory.rglob("*") if (p.is_file() or p.is_symlink()) and not p.name.endswith("-shm"))
