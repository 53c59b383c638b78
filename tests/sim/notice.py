"""Lets recorders see what the program does to files without SQLite: the calls of ``os`` that it uses for that."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol
from unittest import mock


class Heed(Protocol):
    """Who is told. An exception raised here is the program's."""

    def synced(self, path: Path) -> None:
        """A file or a directory is about to be synced."""

    def wrote(self, path: Path, offset: int, data: bytes) -> None:
        """Bytes are about to be written."""

    def made(self, path: Path, flags: int) -> None:
        """A file was opened with the flag to make it; it was not there before, or is emptied."""

    def linked(self, path: Path, target: Path) -> None:
        """A file is about to get a second name."""

    def renamed(self, path: Path, target: Path) -> None:
        """A file or a folder is about to get another name."""

    def unlinked(self, path: Path) -> None:
        """A name is about to go."""

    def made_folder(self, path: Path) -> None:
        """A folder is about to be made."""


class Notice:
    """Stands between the program and ``os`` while it is started."""

    def __init__(self, heed_of: Callable[[Path], Heed | None]) -> None:
        self._heed_of = heed_of
        makers: dict[str, Callable[[Any], Callable[..., Any]]] = {
            "fsync": self._sync,
            "fdatasync": self._sync,
            "pwrite": self._pwrite,
            "write": self._write,
        }
        makers |= {"open": self._open, "unlink": self._unlink, "mkdir": self._mkdir}
        makers |= {"link": self._move("linked"), "rename": self._move("renamed")}
        self._patches: list[Any] = [
            mock.patch.object(os, name, make(getattr(os, name))) for name, make in makers.items()
        ]

    def start(self) -> None:
        for patch in self._patches:
            patch.start()

    def stop(self) -> None:
        for patch in self._patches:
            patch.stop()

    def _sync(self, original: Callable[[int], None]) -> Callable[[Any], None]:
        def sync(file: Any) -> None:
            number = file if isinstance(file, int) else file.fileno()
            path = _path_of(number)
            if heed := self._heed_of(path):
                heed.synced(path)
            original(number)

        return sync

    def _pwrite(self, original: Callable[[int, bytes, int], int]) -> Callable[[int, bytes, int], int]:
        def pwrite(number: int, data: bytes, offset: int) -> int:
            path = _path_of(number)
            if heed := self._heed_of(path):
                heed.wrote(path, offset, data)
            return original(number, data, offset)

        return pwrite

    def _write(self, original: Callable[[int, bytes], int]) -> Callable[[int, bytes], int]:
        def write(number: int, data: bytes) -> int:
            path = _path_of(number)
            if heed := self._heed_of(path):
                heed.wrote(path, os.lseek(number, 0, os.SEEK_CUR), data)
            return original(number, data)

        return write

    def _open(self, original: Callable[..., int]) -> Callable[..., int]:
        def open_(path: Any, flags: int, *rest: Any, **options: Any) -> int:
            heed = self._heed_of(Path(path)) if flags & os.O_CREAT and not options else None
            is_new = heed is not None and (bool(flags & os.O_TRUNC) or not Path(path).exists())
            number = original(path, flags, *rest, **options)
            if heed is not None and is_new:
                try:
                    heed.made(Path(path), flags)
                except OSError:
                    os.close(number)
                    raise
            return number

        return open_

    def _unlink(self, original: Callable[..., None]) -> Callable[..., None]:
        def unlink(path: Any, **options: Any) -> None:
            heed = None if options else self._heed_of(Path(path))
            if heed is not None and Path(path).exists():
                heed.unlinked(Path(path))
            original(path, **options)

        return unlink

    def _mkdir(self, original: Callable[..., None]) -> Callable[..., None]:
        def mkdir(path: Any, *mode: Any, **options: Any) -> None:
            heed = None if options else self._heed_of(Path(path))
            if heed is not None and not Path(path).exists():
                heed.made_folder(Path(path))
            original(path, *mode, **options)

        return mkdir

    def _move(self, told: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
        def make(original: Callable[..., None]) -> Callable[..., None]:
            def move(path: Any, target: Any, **options: Any) -> None:
                if heed := self._heed_of(Path(path)):
                    getattr(heed, told)(Path(path), Path(target))
                original(path, target, **options)

            return move

        return make


def _path_of(number: int) -> Path:
    return Path(f"/proc/self/fd/{number}").readlink()
