"""What the last audit said, and a word in the log when it says something else than the one before."""

from spoold.log import get_logger
from spoold.spool.balance import Audit

_log = get_logger("spoold")


class LedgerWatch:
    """Takes the audits of one daemon. ``take`` belongs to one thread, the rest may be read from any."""

    def __init__(self) -> None:
        #: None until the first audit has come to its end.
        self.audit: Audit | None = None

    @property
    def is_ok(self) -> bool:
        """Whether nothing is known to be wrong."""
        return self.audit is None or self.audit.is_ok

    def take(self, audit: Audit) -> None:
        """An audit has come to its end."""
        was, self.audit = self.audit, audit
        if not audit.differs_from(was):
            return
        if audit.is_ok:
            _log.info("ledger balances again")
        else:
            _log.error("ledger out of balance", events=audit.events, imbalances=[str(one) for one in audit.imbalances])
