"""A user without any rights."""

import os
import traceback
from collections.abc import Callable

_NOBODY = 65534


def holds_for_nobody(claim: Callable[[], bool]) -> bool:
    """Whether ``claim`` holds in a child process without rights, which only root can make."""
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(_NOBODY)
            os.setuid(_NOBODY)
            os._exit(0 if claim() else 1)
        except BaseException:
            traceback.print_exc()
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
