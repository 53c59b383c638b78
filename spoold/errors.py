"""Every error that spoold raises on purpose, in one tree.

The gRPC status of each is decided in ``ingest/status.py``; the process exit code in ``main.py``.
"""


class SpooldError(Exception):
    """Root of all errors that spoold raises on purpose."""


class ConfigError(SpooldError):
    """The configuration can't be used. The message names the key, the value, the reason and the fix."""

    def __init__(self, message: str, *, key: str = "") -> None:
        super().__init__(message)
        self.key = key


class InvalidEventError(SpooldError):
    """A caller's event breaks a rule at the door (design: rules at the door).

    Attributes:
        violations: (field path, reason with the fix) pairs, at least one.
    """

    def __init__(self, violations: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{field}: {reason}" for field, reason in violations))
        self.violations = violations


class ListenError(SpooldError):
    """A listener can't be opened. The message names the address, the reason and the fix.

    Attributes:
        address: ``host:port`` or ``unix:path``.
    """

    def __init__(self, message: str, *, address: str) -> None:
        super().__init__(message)
        self.address = address


class SpoolError(SpooldError):
    """Root of what can go wrong in the spool."""


class SpoolFullError(SpoolError):
    """The append was refused for lack of room; surely nothing was stored.

    Attributes:
        reason: ``max_bytes``, ``min_free_bytes``, ``disk`` (the kernel said ENOSPC), ``wal`` (a foreign reader pins it)
            or ``queue`` (too much waits for one commit).
        retry_after_seconds: When a repeat may succeed.
    """

    def __init__(self, message: str, *, reason: str, retry_after_seconds: float = 5.0) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after_seconds = retry_after_seconds


class SpoolClosedError(SpoolError):
    """The spool is draining or closed; surely nothing was stored."""


class SpoolFailedError(SpoolError):
    """The disk failed in a commit. The outcome is unknown until the next start; the process must end."""


class SpoolLockedError(SpoolError):
    """Another process owns the spool directory.

    Attributes:
        pid: The owner's process id, or None when it could not be read.
    """

    def __init__(self, message: str, *, pid: int | None) -> None:
        super().__init__(message)
        self.pid = pid


class SpoolVersionError(SpoolError):
    """The spool was written by a version whose format this one can't read."""


class SpoolCorruptError(SpoolError):
    """SQLite calls the file damaged or no database. Never raised for a full disk, a permission or an I/O error."""


class SpoolUnreadableError(SpoolError):
    """A spool can't be opened for reading; the message names the path and the reason."""


class SpoolMissingError(SpoolUnreadableError):
    """There is no spool where one is said to be."""


class RecordDamagedError(SpoolError):
    """A record fails its checksum or can't be decoded; it must not be delivered (I11)."""


class UnknownLaneError(SpoolError):
    """No lane has this name."""


class LaneClosedError(SpoolError):
    """The lane is not in the configuration: nothing can be sent through it."""


class UnknownReplayError(SpoolError):
    """No replay has this number."""


class ImpossibleSettlementError(SpoolError, ValueError):
    """A settlement that would lose events or count them twice: a mistake of the program. Nothing of it is stored.

    The lane that made it is started anew from what is on disk; nobody else's commit suffers.
    """


class LeaseLostError(SpoolError):
    """The lane moved or changed hands since this lease was taken; the work in hand must be dropped."""
