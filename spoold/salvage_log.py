"""What the log says of a damaged spool whose events are brought over."""

from spoold.log import get_logger
from spoold.spool.salvaged import Salvage

_log = get_logger("spoold")


class SalvageLog:
    """Says in the log what became of a damaged spool."""

    def done(self, salvage: Salvage) -> None:
        """See ``salvage.Report``."""
        _log.warning("spool salvaged", **salvage._asdict())

    def unreadable(self, salvage: Salvage, reason: str) -> None:
        """See ``salvage.Report``."""
        _log.error("a damaged spool can't be read now, the next start tries again", path=salvage.source, error=reason)
