"""The spool's directory: there, the service's own, on a file system that keeps what was synced, and with whose lock."""

import shlex
import stat
from collections.abc import Iterator
from pathlib import Path

from spoolctl.client import DEFAULT_TARGET
from spoolctl.doctor.findings import Finding, Level
from spoolctl.doctor.mounts import Mount, existing, read_mount
from spoolctl.doctor.service import describe_owner
from spoolctl.doctor.subject import Subject
from spoold.spool.lock import find_owner

_MOVE = "spool.url: name a directory on a local disk"
_NETWORK = ("nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "glusterfs", "fuse.sshfs", "fuse.glusterfs", "afs")
_MEMORY = ("tmpfs", "ramfs")
#: Files that the daemon opens to write at each start.
_OWN_FILES = ("spool.db", "spool.db-wal", "spool.db-shm", "lock", "id_namespace", "reserve")


def check_directory(subject: Subject) -> Iterator[Finding]:
    """Whether the service's user can use it, and nobody else can read it."""
    directory, user = subject.directory, subject.user
    name = shlex.quote(str(directory))
    if not directory.exists():
        above = existing(directory)
        is_made_by_unit = subject.words.is_unit and directory == DEFAULT_TARGET.spool
        if is_made_by_unit or user.may_write(above):
            yield Finding("directory", Level.NOTE, f"there is no {directory} yet: it is made at the first start")
        else:
            fix = f"install -d -o {user.name} -m 0750 {name}"
            text = f"there is no {directory}, and {user.name}, who runs spoold, can't make it in {above}"
            yield Finding("directory", Level.PROBLEM, text, fix)
        return
    if not directory.is_dir():
        yield Finding("directory", Level.PROBLEM, f"{directory} is no directory", "spool.url: name one")
        return
    barrier = user.barrier(directory)
    if barrier is not None:
        text = f"{barrier}, above {directory}, can't be entered by {user.name}, who runs spoold"
        yield Finding("directory", Level.PROBLEM, text, f"chmod o+x {shlex.quote(str(barrier))}")
    elif not user.may_write(directory):
        text = f"{directory} ({describe_owner(directory)}) can't be written by {user.name}, who runs spoold"
        is_own = directory.stat().st_uid == user.uid
        yield Finding(
            "directory", Level.PROBLEM, text, f"chmod u+rwx {name}" if is_own else f"chown {user.name} {name}"
        )
    elif others := _foreign_files(subject):
        text = (
            f"{', '.join(file.name for file in others)} in {directory} can't be written by {user.name}, who runs spoold"
        )
        yield Finding("directory", Level.PROBLEM, text, f"chown {user.name} {shlex.join(map(str, others))}")
    elif stat.S_IMODE(directory.stat().st_mode) & 0o007:
        text = f"{directory} ({describe_owner(directory)}) is open to every user, and so are its events"
        yield Finding("directory", Level.WARNING, text, f"chmod o-rwx {name}")
    else:
        yield Finding("directory", Level.OK, f"{directory} ({describe_owner(directory)})")


def check_file_system(subject: Subject) -> Iterator[Finding]:
    """Whether it is one that keeps what was synced."""
    mount = read_mount(existing(subject.directory))
    if mount is None:
        yield Finding("file system", Level.NOTE, f"which one {subject.directory} lies on can't be told")
    else:
        yield judge_mount(mount)


def judge_mount(mount: Mount) -> Finding:
    """What is known of a file system of this kind, mounted like this."""
    text = f"{mount.kind} on {mount.point}"
    if "ro" in mount.options:
        fix = f"mount -o remount,rw {shlex.quote(str(mount.point))}"
        return Finding("file system", Level.PROBLEM, f"{text} is mounted read-only; the kernel's log may say why", fix)
    if mount.kind in _MEMORY:
        return Finding("file system", Level.WARNING, f"{text} is memory: a reboot loses every event", _MOVE)
    if mount.kind in _NETWORK:
        why = "a network's: its locks and syncs are only as good as its server, and SQLite's log needs shared memory"
        return Finding("file system", Level.WARNING, f"{text} is {why}", _MOVE)
    if mount.kind == "overlay":
        why = "a container's own layer: the events go with the container"
        return Finding("file system", Level.WARNING, f"{text} is {why}", f"{_MOVE}, or a volume")
    if mount.options & {"nobarrier", "barrier=0"}:
        why = "mounted without barriers: a power cut can lose what was synced"
        point = shlex.quote(str(mount.point))
        return Finding("file system", Level.WARNING, f"{text} is {why}", f"mount -o remount,barrier=1 {point}")
    return Finding("file system", Level.OK, text)


def check_lock(subject: Subject) -> Iterator[Finding]:
    """Whose spool it is, held against who answers."""
    owner = find_owner(subject.directory)
    if subject.running is None:
        if owner is not None:
            text = f"{owner} owns {subject.directory}, and nobody answers on {subject.socket}"
            yield Finding("lock", Level.PROBLEM, text, "--socket: name the admin.socket of that process")
        else:
            yield Finding("lock", Level.OK, "nobody owns the spool")
        return
    pid = subject.running.daemon.pid
    if owner != f"process {pid}":
        text = f"{subject.directory} is owned by {owner or 'nobody'}, and it is process {pid} that answers"
        yield Finding("lock", Level.WARNING, text, "--config and --socket: name those of one daemon")
    else:
        yield Finding("lock", Level.OK, f"{owner} owns the spool")


def _foreign_files(subject: Subject) -> list[Path]:
    files = [file for name in _OWN_FILES if (file := subject.directory / name).exists()]
    return [file for file in files if not subject.user.may_write(file)]
