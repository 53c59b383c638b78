"""Puts Python between SQLite and the disk, through ctypes and nothing else.

SQLite reaches files through a table of functions, a VFS, and each open file through another. Here a copy of the
default VFS is registered once per process, in the very library that `sqlite3` uses, and is the default while any
`Recorder` is active: code under test opens its files as ever. Files below a recorder's directory get a copy of their
own table in which write, truncate, sync and close come here first; all else is SQLite's own code. What the program
does without SQLite is reported too (`notice.py`).
"""

import _sqlite3
import atexit
import ctypes
import functools
import os
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from tests.sim.notice import Heed, Notice

OK = 0
NAME = b"simdisk"

_IOERR = 10
_OPEN_DELETE_ON_CLOSE = 0x08

_OpenFunction = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int, ctypes.c_size_t
)
_DeleteFunction = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int)
_RandomnessFunction = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_size_t, ctypes.c_int, ctypes.c_size_t)
_CloseFunction = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_size_t)
_WriteFunction = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int, ctypes.c_int64)
_TruncateFunction = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_size_t, ctypes.c_int64)
_SyncFunction = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_size_t, ctypes.c_int)

_PathMethods = ("xOpen", "xDelete", "xAccess", "xFullPathname", "xDlOpen", "xDlError", "xDlSym", "xDlClose")
_OtherMethods = ("xRandomness", "xSleep", "xCurrentTime", "xGetLastError", "xCurrentTimeInt64")
_SystemCalls = ("xSetSystemCall", "xGetSystemCall", "xNextSystemCall")


class _Vfs(ctypes.Structure):
    """`sqlite3_vfs`. Pointers are plain integers: they are copied, compared and handed back, never followed."""

    _fields_ = (
        ("iVersion", ctypes.c_int),
        ("szOsFile", ctypes.c_int),
        ("mxPathname", ctypes.c_int),
        ("pNext", ctypes.c_size_t),
        ("zName", ctypes.c_size_t),
        ("pAppData", ctypes.c_size_t),
        *((name, ctypes.c_size_t) for name in _PathMethods + _OtherMethods + _SystemCalls),
    )


class _Methods(ctypes.Structure):
    """`sqlite3_io_methods`."""

    _fields_ = (
        ("iVersion", ctypes.c_int),
        *((name, ctypes.c_size_t) for name in ("xClose", "xRead", "xWrite", "xTruncate", "xSync", "xFileSize")),
        *((name, ctypes.c_size_t) for name in ("xLock", "xUnlock", "xCheckReservedLock", "xFileControl")),
        *((name, ctypes.c_size_t) for name in ("xSectorSize", "xDeviceCharacteristics")),
        *((name, ctypes.c_size_t) for name in ("xShmMap", "xShmLock", "xShmBarrier", "xShmUnmap")),
        *((name, ctypes.c_size_t) for name in ("xFetch", "xUnfetch")),
    )


class OpenFile(Protocol):
    """What a recorder does about one open file. A result other than OK is SQLite's, and the call is not made."""

    def write(self, offset: int, data: bytes) -> tuple[int, int]:
        """Returns how many bytes to write all the same, and the result."""

    def truncate(self, size: int) -> int: ...

    def sync(self) -> int: ...


class Recorder(Heed, Protocol):
    """What wants to know of changes to files below a directory."""

    @property
    def directory(self) -> Path: ...

    def opened(self, path: Path, flags: int, *, created: bool) -> OpenFile: ...

    def delete(self, path: Path, original: Callable[[], int], *, sync_directory: bool) -> int: ...

    def record(self, error: BaseException) -> None:
        """Keep an exception, as it cannot pass through SQLite."""


class _Original(NamedTuple):
    """One of SQLite's own tables, our copy of it, and the functions that the copy replaces."""

    address: int
    copy_address: int
    close: Callable[[int], int]
    write: Callable[[int, int, int, int], int]
    truncate: Callable[[int, int], int]
    sync: Callable[[int, int], int]


class _Handle(NamedTuple):
    recorder: Recorder
    file: OpenFile
    original: _Original


class Shim:
    """The VFS. There is one per process: use `shim()`."""

    def __init__(self) -> None:
        self._library = _library()
        self._active: list[Recorder] = []
        self._handles: dict[int, _Handle] = {}
        self._originals: dict[int, _Original] = {}
        self._random = random.Random()
        # Kept here for ever: C holds their addresses and no reference.
        self._x_open = _OpenFunction(self._open)
        self._x_delete = _DeleteFunction(self._delete)
        self._x_randomness = _RandomnessFunction(self._randomness)
        self._x_close = _CloseFunction(self._close)
        self._x_write = _WriteFunction(self._write)
        self._x_truncate = _TruncateFunction(self._truncate)
        self._x_sync = _SyncFunction(self._sync)
        self._base_address: int = self._library.sqlite3_vfs_find(None)
        self._base = _Vfs.from_address(self._base_address)
        self._base_open = _OpenFunction(self._base.xOpen)
        self._base_delete = _DeleteFunction(self._base.xDelete)
        self._base_randomness = _RandomnessFunction(self._base.xRandomness)
        self._vfs = self._lasting(_Vfs)
        ctypes.pointer(self._vfs)[0] = self._base
        name = self._lasting(ctypes.c_char * (len(NAME) + 1))
        name.value = NAME
        self._vfs.zName = ctypes.addressof(name)
        self._vfs.xOpen = _address(self._x_open)
        self._vfs.xDelete = _address(self._x_delete)
        self._vfs.xRandomness = _address(self._x_randomness)
        self._register(default=False)
        self._notice = Notice(self._recorder_of)
        atexit.register(self._retire)

    def activate(self, recorder: Recorder, seed: int) -> None:
        """Begin to record, and make SQLite's own random numbers (the WAL's salts) follow from the seed."""
        self._random.seed(seed)
        if not self._active:
            self._notice.start()
        self._active.append(recorder)
        self._register(default=True)
        self._reseed()

    def release(self, recorder: Recorder) -> None:
        """Stop recording. Files that are still open get SQLite's own tables back, so a late close does no harm."""
        self._active.remove(recorder)
        for address, handle in list(self._handles.items()):
            if handle.recorder is recorder:
                ctypes.c_size_t.from_address(address).value = handle.original.address
                del self._handles[address]
        if not self._active:
            self._notice.stop()
            self._library.sqlite3_vfs_register(self._base_address, 1)
            self._reseed()

    def _register(self, *, default: bool) -> None:
        self._library.sqlite3_vfs_register(ctypes.addressof(self._vfs), int(default))

    def _reseed(self) -> None:
        # A request for nothing makes the generator ask the default VFS for a new seed before its next number.
        self._library.sqlite3_randomness(0, None)

    def _lasting(self, kind: Any) -> Any:
        """Make a structure that outlives the interpreter: SQLite may follow a pointer to it after Python has gone."""
        return kind.from_address(self._library.sqlite3_malloc(ctypes.sizeof(kind)))

    def _retire(self) -> None:
        """Take Python out of the VFS: a connection may be closed when callbacks can no longer run."""
        for recorder in list(self._active):
            self.release(recorder)
        self._vfs.xOpen, self._vfs.xDelete = self._base.xOpen, self._base.xDelete
        self._vfs.xRandomness = self._base.xRandomness

    def _original(self, address: int) -> _Original:
        if address not in self._originals:
            methods = _Methods.from_address(address)
            ours = self._lasting(_Methods)
            ctypes.pointer(ours)[0] = methods
            # Version 3 adds xFetch, with which SQLite maps the file and changes could go by unseen.
            ours.iVersion = min(methods.iVersion, 2)
            ours.xClose, ours.xWrite = _address(self._x_close), _address(self._x_write)
            ours.xTruncate, ours.xSync = _address(self._x_truncate), _address(self._x_sync)
            self._originals[address] = _Original(
                address,
                ctypes.addressof(ours),
                _CloseFunction(methods.xClose),
                _WriteFunction(methods.xWrite),
                _TruncateFunction(methods.xTruncate),
                _SyncFunction(methods.xSync),
            )
        return self._originals[address]

    def _recorder_of(self, path: Path) -> Recorder | None:
        name = os.fspath(path)
        for recorder in self._active:
            directory = os.fspath(recorder.directory)
            if name.startswith(directory) and name[len(directory) : len(directory) + 1] in ("", "/"):
                return recorder
        return None

    def _recorder_of_name(self, name: int) -> tuple[Recorder, Path] | tuple[None, None]:
        # Temporary files have no name.
        if name and self._active:
            path = Path(os.fsdecode(ctypes.string_at(name)))
            recorder = self._recorder_of(path)
            if recorder is not None:
                return recorder, path
        return None, None

    def _open(self, _vfs: int, name: int, file: int, flags: int, out_flags: int) -> int:
        recorder, path = self._recorder_of_name(name)
        existed = path is not None and path.exists()
        # The name goes on as the pointer it is: SQLite keeps the URI's parameters behind its end.
        result: int = self._base_open(self._base_address, name, file, flags, out_flags)
        if recorder is None or path is None or result != OK or flags & _OPEN_DELETE_ON_CLOSE:
            return result
        table = ctypes.c_size_t.from_address(file)
        original = self._original(table.value)
        try:
            opened = recorder.opened(path, flags, created=not existed)
        except BaseException as error:  # see Recorder.record
            recorder.record(error)
            original.close(file)
            table.value = 0  # how SQLite knows that there is nothing to close
            return _IOERR
        self._handles[file] = _Handle(recorder, opened, original)
        table.value = original.copy_address
        return result

    def _delete(self, _vfs: int, name: int, sync_directory: int) -> int:
        recorder, path = self._recorder_of_name(name)
        call = functools.partial(self._base_delete, self._base_address, name, sync_directory)
        if recorder is None or path is None:
            return int(call())
        try:
            return recorder.delete(path, call, sync_directory=bool(sync_directory & 1))
        except BaseException as error:  # see Recorder.record
            recorder.record(error)
            return _IOERR

    def _randomness(self, vfs: int, size: int, out: int) -> int:
        if not self._active:
            return int(self._base_randomness(vfs, size, out))
        ctypes.memmove(out, self._random.randbytes(size), size)
        return size

    def _close(self, file: int) -> int:
        return self._handles.pop(file).original.close(file)

    def _write(self, file: int, data: int, size: int, offset: int) -> int:
        recorder, opened, original = self._handles[file]
        try:
            size, result = opened.write(offset, ctypes.string_at(data, size))
        except BaseException as error:  # see Recorder.record
            recorder.record(error)
            return _IOERR
        return (size and original.write(file, data, size, offset)) or result

    def _truncate(self, file: int, size: int) -> int:
        recorder, opened, original = self._handles[file]
        try:
            return opened.truncate(size) or original.truncate(file, size)
        except BaseException as error:  # see Recorder.record
            recorder.record(error)
            return _IOERR

    def _sync(self, file: int, flags: int) -> int:
        recorder, opened, original = self._handles[file]
        try:
            return opened.sync() or original.sync(file, flags)
        except BaseException as error:  # see Recorder.record
            recorder.record(error)
            return _IOERR


@functools.cache
def shim() -> Shim:
    """The process's one shim, registered at first use.

    Raises:
        RuntimeError: If the SQLite that `sqlite3` uses cannot be reached.
    """
    made = Shim()
    try:
        sqlite3.connect("file::memory:?vfs=" + NAME.decode(), uri=True).close()
    except sqlite3.OperationalError as error:
        raise RuntimeError(f"registered the simulated disk in another SQLite than Python's own: {error}") from error
    return made


def _library() -> Any:
    """Find the SQLite that `_sqlite3` calls.

    A symbol looked up in an extension is looked up in the libraries it was linked to as well, so this finds the right
    copy whatever else is loaded. Linked in statically, SQLite is found only where its symbols are exported.
    """
    library: Any = ctypes.CDLL(getattr(_sqlite3, "__file__", None))
    try:
        library.sqlite3_vfs_find.restype = ctypes.c_size_t
    except AttributeError as error:
        raise RuntimeError(
            "this Python hides its SQLite (linked statically?): the simulator needs one with a shared libsqlite3,"
            " such as Debian's python3"
        ) from error
    library.sqlite3_vfs_find.argtypes = (ctypes.c_char_p,)
    library.sqlite3_vfs_register.argtypes = (ctypes.c_size_t, ctypes.c_int)
    library.sqlite3_malloc.restype = ctypes.c_size_t
    library.sqlite3_malloc.argtypes = (ctypes.c_int,)
    library.sqlite3_randomness.restype = None
    library.sqlite3_randomness.argtypes = (ctypes.c_int, ctypes.c_void_p)
    return library


def _address(function: Any) -> int:
    address = ctypes.cast(function, ctypes.c_void_p).value
    if address is None:
        raise ValueError("a null function")
    return address
