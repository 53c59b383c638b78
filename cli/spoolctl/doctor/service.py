"""The installed programs, the user that runs spoold, and how one says ``start`` and ``reload`` on this machine."""

import os
import pwd
import shlex
import shutil
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

UNIT = "spoold"
_UNIT_FOLDERS = ("/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
_SYSTEMD = Path("/run/systemd/system")
_READ, _WRITE, _ENTER = 4, 2, 1


@dataclass(frozen=True, slots=True)
class User:
    """Who may do what with a file."""

    name: str
    uid: int
    gids: frozenset[int]

    def may(self, file: os.stat_result, bits: int) -> bool:
        """Whether the mode of ``file`` grants ``bits`` (4 read, 2 write, 1 enter)."""
        if self.uid == 0:
            return True
        shift = 6 if file.st_uid == self.uid else 3 if file.st_gid in self.gids else 0
        return (file.st_mode >> shift) & bits == bits

    def may_read(self, path: Path) -> bool:
        """Whether ``path`` can be read, the folders above it included. Raises OSError where it can't be told."""
        return self.barrier(path) is None and self.may(path.stat(), _READ)

    def may_write(self, path: Path) -> bool:
        """Whether a file can be written, or files be made in a folder; as ``may_read``."""
        found = path.stat()
        bits = _WRITE | _ENTER if stat.S_ISDIR(found.st_mode) else _WRITE
        return self.barrier(path) is None and self.may(found, bits)

    def barrier(self, path: Path) -> Path | None:
        """The first folder above ``path`` that can't be entered, or None."""
        folders = reversed(path.absolute().parents)
        return next((folder for folder in folders if not self.may(folder.stat(), _ENTER)), None)


def service_user(pid: int | None, *, is_unit_there: bool) -> User:
    """The user of the daemon ``pid``; without one that of the packaged unit, or whoever asks."""
    if pid is not None and (user := _user_of(pid)) is not None:
        return user
    if is_unit_there:
        try:
            entry = pwd.getpwnam(UNIT)
        except KeyError:
            pass
        else:
            return User(UNIT, entry.pw_uid, frozenset(os.getgrouplist(UNIT, entry.pw_gid)))
    return User(_name_of(os.geteuid()), os.geteuid(), frozenset([os.getegid(), *os.getgroups()]))


def _user_of(pid: int) -> User | None:
    """Who runs a process; None where it has ended, or is not of this machine."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    words = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
    uid = int(words["Uid"][1])
    return User(_name_of(uid), uid, frozenset(map(int, [words["Gid"][1], *words["Groups"]])))


def describe_owner(path: Path) -> str:
    """Whose it is, and its mode."""
    found = path.stat()
    return f"{_name_of(found.st_uid)}, mode {stat.S_IMODE(found.st_mode):04o}"


def is_unit_there() -> bool:
    """Whether systemd runs this machine and knows spoold."""
    return _SYSTEMD.is_dir() and any(Path(folder, f"{UNIT}.service").exists() for folder in _UNIT_FOLDERS)


def find_spoold() -> Path | None:
    """The daemon's program that was installed with this one; else the first on PATH."""
    programs = [folder / "spoold" for folder in _own_folders()]
    found = (program for program in programs if program.is_file() and os.access(program, os.X_OK))
    on_path = shutil.which("spoold")
    return next(found, None) or (Path(on_path) if on_path else None)


def is_beside(program: Path) -> bool:
    """Whether ``program`` was installed with this one, and so is of its version."""
    return program.parent in _own_folders()


def _own_folders() -> list[Path]:
    # A name without a folder says nothing: that of ``python -c`` is one.
    called = [Path(sys.argv[0])] if os.sep in sys.argv[0] else []
    return [path.parent for path in (*called, *(path.resolve() for path in called), Path(sys.executable))]


@dataclass(frozen=True, slots=True)
class Words:
    """Commands as an operator types them here.

    Attributes:
        file: The configuration that was named, if one was.
        said: The global options that were said; the doctor finds the rest by itself.
        options: With which the other commands find the daemon and its spool, where they would not by themselves.
    """

    file: Path | None
    said: tuple[str, ...]
    options: tuple[str, ...]
    pid: int | None
    is_unit: bool

    def spoold(self, *arguments: str) -> str:
        """Run the daemon's program."""
        return shlex.join(["spoold", *(["--config", str(self.file)] if self.file else []), *arguments])

    def spoolctl(self, *arguments: str) -> str:
        """Ask the daemon."""
        return shlex.join(["spoolctl", *self.options, *arguments])

    def doctor(self, *arguments: str) -> str:
        """Look again."""
        config = ["--config", str(self.file)] if self.file else []
        return shlex.join(["spoolctl", *self.said, "doctor", *config, *arguments])

    def start(self) -> str:
        """Start the daemon."""
        return f"systemctl start {UNIT}" if self.is_unit else self.spoold()

    def restart(self) -> str:
        """Stop it in order and start it."""
        if self.is_unit:
            return f"systemctl restart {UNIT}"
        return f"kill -TERM {self.pid}, then: {self.spoold()}" if self.pid else self.spoold()

    def reload(self) -> str:
        """Have it read its configuration again."""
        return f"systemctl reload {UNIT}" if self.is_unit or self.pid is None else f"kill -HUP {self.pid}"


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user id {uid}"
