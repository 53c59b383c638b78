"""A real spoold that kills itself at a point: ``python -m tests.crash.child POINT [spoold's arguments]``.

The product has no hooks for this. A point names a place in it, and the place is wrapped here before the daemon starts,
wherever the product refers to it. The last line on stdout says that the point was reached; what follows is SIGKILL.
"""

import functools
import importlib
import inspect
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from spoold.main import run
from tests.crash.points import POINTS, Point

#: The event of that last line, and of one that a process writes which should have died in the midst of a write.
REACHED = "crash point reached"
MISSED = "crash point survived"

#: The first page or frame passes, and a part of the second.
_LEAST_BYTES = 5000
_LOG_HEADER_BYTES = 32
_FRAME_BYTES = 24 + 4096

Function = Callable[..., Any]


class Trap:
    """Counts the passes at a point's place, and kills the process at the one that is meant."""

    def __init__(self, point: Point) -> None:
        self._point = point
        self._passes = 0
        self._is_armed = not point.since
        self._is_dying = False
        self._here = threading.local()

    def install(self) -> None:
        """Wrap the point's places; raises LookupError where the product has no such place."""
        point = self._point
        if point.since:
            replace(point.since, self._arming)
        if point.within:
            replace(point.within, self._entered)
        replace(point.place, self._deadly)
        if point.torn:
            # Python ignores it. The kernel sends it to who writes behind the limit that ``_die`` sets.
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)

    def _arming(self, function: Function) -> Function:
        @functools.wraps(function)
        def arming(*args: Any, **kwargs: Any) -> Any:
            result = function(*args, **kwargs)
            # Nothing was done where it says 0, or has an empty list.
            if result is None or result:
                self._passes += 1
                self._is_armed = self._is_armed or self._passes == self._point.nth
            return result

        return arming

    def _entered(self, function: Function) -> Function:
        @functools.wraps(function)
        def entered(*args: Any, **kwargs: Any) -> Any:
            self._here.is_inside = True
            try:
                return function(*args, **kwargs)
            finally:
                self._here.is_inside = False

        return entered

    def _deadly(self, function: Function) -> Function:
        @functools.wraps(function)
        def deadly(*args: Any, **kwargs: Any) -> Any:
            if self._point.when == "before":
                self._pass()
            result = function(*args, **kwargs)
            if self._is_dying:
                _tell(MISSED)
            if self._point.when == "after":
                self._pass()
            return self._between(result) if self._point.when == "between" else result

        return deadly

    def _between(self, items: Iterable[Any]) -> Iterator[Any]:
        for item in items:
            yield item
            # Whoever asks for the next one is done with this one.
            self._pass()

    def _pass(self) -> None:
        point = self._point
        if not self._is_armed or (point.within and not getattr(self._here, "is_inside", False)):
            return
        if not point.since:
            self._passes += 1
        if self._passes >= point.nth:
            self._die()

    def _die(self) -> None:
        _tell(REACHED)
        if not self._point.torn:
            os.kill(os.getpid(), signal.SIGKILL)
        self._is_armed, self._is_dying = False, True
        file = Path(os.environ["SPOOL_URL"].removeprefix("sqlite://")) / self._point.torn
        # In the midst of a page: what is written up to there stays, the next write is the last thing that is done.
        limit = max(_end_of(file) + self._point.room_bytes, _LEAST_BYTES)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))


def _end_of(file: Path) -> int:
    """Where a file is written on: a log is begun anew when all of it is in the database."""
    if not file.name.endswith("-wal"):
        return file.stat().st_size
    index = file.with_name(file.name.removesuffix("-wal") + "-shm")
    header = index.read_bytes() if index.exists() else b""
    # mxFrame and nBackfill (sqlite.org/walformat.html, section 2.1).
    frames, done = (int.from_bytes(header[at : at + 4], "little") for at in (16, 96))
    return 0 if frames == done else _LOG_HEADER_BYTES + frames * _FRAME_BYTES


def _tell(event: str) -> None:
    os.write(sys.stdout.fileno(), b'\n{"event": "%s"}\n' % event.encode())


def find(place: str) -> tuple[ModuleType | type, str, Function]:
    """The module or class that holds a place (``module:function``, ``module:Class.method``), its name there, and it.

    Raises:
        LookupError: The product has no such place.
    """
    module_name, _, path = place.partition(":")
    *classes, name = path.split(".")
    try:
        holder: Any = importlib.import_module(module_name)
        for part in classes:
            holder = vars(holder)[part]
        function = vars(holder)[name]
    except (ImportError, KeyError) as exc:
        raise LookupError(f"{place} is not in the product any more: {exc}") from exc
    if not isinstance(function, FunctionType):
        raise LookupError(f"{place} is no function")  # noqa: TRY004 - a place, whatever has become of it
    return holder, name, function


def replace(place: str, wrap: Callable[[Function], Function]) -> None:
    """Put a wrapper in a function's place, and in that of all names by which the product's modules know it."""
    holder, name, function = find(place)
    wrapper = wrap(function)
    setattr(holder, name, wrapper)
    for module_name, module in list(sys.modules.items()):
        if module_name.startswith("spoold."):
            _replace_in(module, function, wrapper)


def _replace_in(module: ModuleType, function: Function, wrapper: Function) -> None:
    for name, value in list(vars(module).items()):
        if value is function:
            setattr(module, name, wrapper)
        for method in vars(value).values() if inspect.isclass(value) else ():
            # An argument's default, such as the moment of commit.
            for key, default in (getattr(method, "__kwdefaults__", None) or {}).items():
                if default is function:
                    method.__kwdefaults__[key] = wrapper


def main() -> None:
    """See the module."""
    name, *arguments = sys.argv[1:]
    Trap(POINTS[name]).install()
    sys.exit(run(arguments))


if __name__ == "__main__":
    main()
