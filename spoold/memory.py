"""Giving memory back to the system: glibc keeps what a burst of calls took, in the arenas of the threads that took it.

After a storm of connections that was 150 MiB, and the next burst of another kind came on top.
"""

import ctypes
import os
from pathlib import Path

#: A daemon that holds no more than this has nothing to give back that would be worth the milliseconds.
_TRIM_ABOVE_BYTES = 112 * 1024 * 1024

_STATM = Path("/proc/self/statm")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def give_back_memory() -> None:
    """Give back what is free, if the process holds much. Any thread; does nothing where the C library can't."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None and _resident_bytes() > _TRIM_ABOVE_BYTES:
        trim(0)


def _resident_bytes() -> int:
    try:
        return int(_STATM.read_text().split()[1]) * _PAGE_BYTES
    except OSError:
        # Not Linux, or no descriptor is left.
        return 0
