"""How a command fails: an exit code, what is wrong, and what to try."""

from enum import IntEnum


class Exit(IntEnum):
    """The exit codes; a contract with scripts."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    NOTHING = 4
    REFUSED = 5


class Failure(Exception):  # noqa: N818 - not an error of the program: it is told and ends the command
    """Ends the command. Told as ``error:`` and ``try:`` lines, never as a traceback."""

    def __init__(self, code: Exit, error: str, advice: str = "") -> None:
        super().__init__(error)
        self.code = code
        self.error = error
        self.advice = advice
