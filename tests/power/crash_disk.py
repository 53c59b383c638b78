"""A disk with a volatile cache: a FUSE file system of two files, without a library.

``disk``   holds the disk's bytes. A loop device makes a disk of it, with a real file system on top.
``marks``  takes lines. A line written there stands in the log between the writes and the flushes.

    python -m tests.power.crash_disk MOUNT_POINT SIZE_BYTES LOG

Everything goes to the log in the one order in which it happened: a write is in the cache only, a flush (the file's
fsync) makes all before it durable. A process of its own, because whoever waits for the disk can't serve it.
"""

import ctypes
import errno
import os
import struct
import sys
from collections.abc import Callable, Iterator
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

_NAMES = {b"disk": 2, b"marks": 3}
_ROOT, _DISK, _MARKS = 1, 2, 3
_MODES = {_ROOT: 0o40755, _DISK: 0o100600, _MARKS: 0o100622}


# linux/fuse.h
class _Opcode(IntEnum):
    LOOKUP, FORGET, GETATTR, SETATTR, OPEN, READ, WRITE = 1, 2, 3, 4, 14, 15, 16
    STATFS, RELEASE, FSYNC, FLUSH, INIT, OPENDIR, RELEASEDIR = 17, 18, 20, 25, 26, 27, 29
    INTERRUPT, DESTROY, BATCH_FORGET = 36, 38, 42


_NO_REPLY = (_Opcode.FORGET, _Opcode.BATCH_FORGET, _Opcode.INTERRUPT)
_VERSION = 7, 31
_ASYNC_READ, _BIG_WRITES, _MAX_PAGES = 1 << 0, 1 << 5, 1 << 22
_DIRECT_IO, _KEEP_CACHE = 1, 2
_HEADER_BYTES, _WRITE_HEADER_BYTES, _MAX_WRITE_BYTES = 40, 40, 1 << 20
_VALID_SECONDS = 3600

_LIBC = ctypes.CDLL(None, use_errno=True)
_NEW_MOUNTS, _DETACH = 0x20000, 2

#: Of an entry in the log: kind, offset, how many bytes follow.
_ENTRY = struct.Struct("<cQI")


class Wrote(NamedTuple):
    """Bytes went into the cache."""

    offset: int
    data: bytes


class Flushed(NamedTuple):
    """Everything before this is on the platter."""


class Marked(NamedTuple):
    """Somebody said something at this moment."""

    text: str


Entry = Wrote | Flushed | Marked


def read_log(file: Path) -> Iterator[Entry]:
    """What was logged, in order."""
    content = file.read_bytes()
    at = 0
    while at < len(content):
        kind, offset, size = _ENTRY.unpack_from(content, at)
        at += _ENTRY.size
        data = content[at : at + size]
        at += size
        yield Wrote(offset, data) if kind == b"w" else Marked(data.decode()) if kind == b"m" else Flushed()


class _Server:
    """Answers the kernel, one request at a time."""

    def __init__(self, size: int, log: int) -> None:
        self._content = bytearray(size)
        self._log = log

    def serve(self, device: int) -> None:
        """Until it is unmounted."""
        while True:
            try:
                request = os.read(device, _MAX_WRITE_BYTES + 4096)
            except OSError as exc:
                if exc.errno == errno.ENODEV:
                    return
                if exc.errno in (errno.ENOENT, errno.EINTR, errno.EAGAIN):
                    continue
                raise
            _, opcode, unique, node = struct.unpack_from("<IIQQ", request)
            if opcode in _NO_REPLY:
                continue
            error, reply = 0, b""
            try:
                reply = self._answer(opcode, node, request[_HEADER_BYTES:])
            except OSError as exc:
                error = exc.errno or errno.EIO
            try:
                os.write(device, struct.pack("<IiQ", 16 + len(reply), -error, unique) + reply)
            except OSError as exc:
                # Nobody waits for it any more.
                if exc.errno != errno.ENOENT:
                    raise

    def _answer(self, opcode: int, node: int, body: bytes) -> bytes:
        answers: dict[int, Callable[[int, bytes], bytes]] = {
            _Opcode.INIT: lambda _, body: _greeting(body),
            _Opcode.LOOKUP: lambda _, body: self._entry(body.rstrip(b"\0")),
            _Opcode.OPENDIR: lambda *_: struct.pack("<Q2I", 0, 0, 0),
            _Opcode.OPEN: lambda node, _: struct.pack("<Q2I", node, _DIRECT_IO if node == _MARKS else _KEEP_CACHE, 0),
            _Opcode.STATFS: lambda *_: struct.pack("<5Q3I7I", 0, 0, 0, 0, 0, 4096, 255, 4096, *[0] * 7),
            _Opcode.READ: self._read,
            _Opcode.WRITE: self._write,
            _Opcode.FSYNC: self._sync,
        }
        if opcode in (_Opcode.GETATTR, _Opcode.SETATTR):
            return struct.pack("<Q2I", _VALID_SECONDS, 0, 0) + self._attributes(node)
        if opcode in (_Opcode.FLUSH, _Opcode.RELEASE, _Opcode.RELEASEDIR, _Opcode.DESTROY):
            return b""
        if opcode not in answers:
            raise OSError(errno.ENOSYS, "not served")
        return answers[opcode](node, body)

    def _read(self, node: int, body: bytes) -> bytes:
        _, offset, size = struct.unpack_from("<2QI", body)
        return bytes(self._content[offset : offset + size]) if node == _DISK else b""

    def _sync(self, node: int, _body: bytes) -> bytes:
        if node == _DISK:
            self._note(b"f")
        return b""

    def _write(self, node: int, body: bytes) -> bytes:
        _, offset, size = struct.unpack_from("<2QI", body)
        data = body[_WRITE_HEADER_BYTES : _WRITE_HEADER_BYTES + size]
        if node == _DISK:
            self._content[offset : offset + size] = data
            self._note(b"w", offset, data)
        else:
            self._note(b"m", 0, data)
        return struct.pack("<2I", size, 0)

    def _note(self, kind: bytes, offset: int = 0, data: bytes = b"") -> None:
        os.write(self._log, _ENTRY.pack(kind, offset, len(data)) + data)

    def _entry(self, name: bytes) -> bytes:
        if name not in _NAMES:
            raise OSError(errno.ENOENT, "no such file")
        node = _NAMES[name]
        return struct.pack("<4Q2I", node, 0, _VALID_SECONDS, _VALID_SECONDS, 0, 0) + self._attributes(node)

    def _attributes(self, node: int) -> bytes:
        size = len(self._content) if node == _DISK else 0
        return struct.pack("<6Q10I", node, size, size // 512, 0, 0, 0, 0, 0, 0, _MODES[node], 1, 0, 0, 0, 4096, 0)


def _greeting(body: bytes) -> bytes:
    _, _, read_ahead, offered = struct.unpack_from("<4I", body)
    flags = offered & (_ASYNC_READ | _BIG_WRITES | _MAX_PAGES)
    pages = _MAX_WRITE_BYTES // 4096
    return struct.pack("<4I2H2I2H8I", *_VERSION, read_ahead, flags, 16, 12, _MAX_WRITE_BYTES, 1, pages, 0, *[0] * 8)


def _mount(device: int, point: str) -> None:
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
    _call("mount", b"crashdisk", os.fsencode(point), b"fuse.crashdisk", 0, options)
    # Out of whatever is mounted on top: were this process the last to leave, its end would unmount that, which waits
    # for this process.
    _call("unshare", _NEW_MOUNTS)
    _call("umount2", os.fsencode(point), _DETACH)


def _call(name: str, *arguments: object) -> None:
    if getattr(_LIBC, name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)


def main() -> None:
    """See the module. Prints a line when it is mounted."""
    point, size, log = sys.argv[1:]
    device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    _mount(device, point)
    print("mounted", flush=True)
    _Server(int(size), os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)).serve(device)


if __name__ == "__main__":
    main()
