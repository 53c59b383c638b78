"""The catalogue of crash points: where in the product a process is killed, family by family.

A point is a name and a place in the product; the product knows nothing of it. ``child`` kills itself there, ``lives``
brings it there and looks at what the next start makes of it.
"""

from typing import Literal, NamedTuple

Life = Literal["start", "load", "replay", "stop", "old", "damaged", "flipped", "broken", "full"]


class Point(NamedTuple):
    """Where a process dies.

    Attributes:
        family: What is under way.
        about: Where in it.
        place: ``module:function`` or ``module:Class.method``.
        when: Before the function, after it, or between two items that it yields.
        nth: At which pass; of ``since``, where there is one, else of ``place``.
        since: Passes of ``place`` count from when this function has done something (returned no 0 and no empty list).
        within: Passes of ``place`` count only inside this function.
        life: What brings the process there; see ``lives``.
        torn: A file of the spool: the process does not die at once but inside ``place``, in the midst of a write that
            goes further than ``room_bytes`` behind this file's end (before it, where that is negative).
    """

    family: str
    about: str
    place: str
    when: Literal["before", "after", "between"] = "before"
    nth: int = 1
    since: str = ""
    within: str = ""
    life: Life = "load"
    torn: str = ""
    room_bytes: int = 0

    @property
    def name(self) -> str:
        """As people and ``child`` know it."""
        return f"{self.family}: {self.about}"


_STORE = "spoold.spool.store:Store."
_LOCAL = "spoold.spool.local:LocalSpool."
_COMMITS = "spoold.spool.group_commit:"
_COMMIT = "spoold.spool.store:commit"
_INSERT = "spoold.spool.appending:insert"
_SETTLE = "spoold.spool.lanes:settle"
_SEND = "spoold.delivery.sender:HttpSender.send"
_BURY = "spoold.spool.aside:_bury"
_DEFER = "spoold.spool.aside:_defer"
_TRIM = "spoold.spool.retention:trim"
_START_REPLAY = "spoold.spool.replays:start_replay"
_ADVANCE = "spoold.spool.replays:advance_replay"
_CANCEL = "spoold.spool.replays:cancel_replay"
_REVIVE = "spoold.spool.aside:revive"
_OPEN = "spoold.spool.journal:JournalQueue.__init__"
_CREATE = "spoold.spool.creation:"
_MIGRATE = "spoold.spool.schema:migrate"
_STATEMENTS = "spoold.spool.schema:statements_in"
_MOVE = "spoold.spool.quarantine:"
_QUARANTINE = f"{_MOVE}quarantine"
_FINISH = f"{_MOVE}finish_quarantine"
_TAKE_OVER = "spoold.spool.salvage:take_over"
_RESTORE = "spoold.spool.salvage:restore"
_SALVAGER = "spoold.spool.salvage:Salvager."
_MARK = f"{_MOVE}mark_damaged"
_PURGE = "spoold.delivery.lane:Lane._purge"
_GIVE_UP = "spoold.delivery.batch:Batch.give_up"
_FLUSH = "spoold.delivery.fleet:Fleet.request_stop"
_LOCK = "spoold.spool.lock:DirectoryLock."

_DATABASE = "spool.db"
_LOG = "spool.db-wal"
_NEW, _NEW_LOG = "spool.db.new", "spool.db.new-wal"
_PAGE_BYTES = 4096

_START = (
    Point("start", "the directory is there, not locked", "spoold.spool.directory:prepare_directory", "after"),
    Point("start", "locked", f"{_LOCK}__init__", "after"),
    Point("start", "the namespace of ids has no name yet", "spoold.spool.directory:_make_namespace"),
    Point("start", "the namespace of ids is there", "spoold.spool.directory:load_namespace", "after"),
    Point("start", "a database without tables", _OPEN, "after"),
    Point("start", "between the statements of the schema", _STATEMENTS, "between", 5),
    Point("start", "in the midst of the schema's commit", _MIGRATE, torn=_NEW_LOG, room_bytes=3 * _PAGE_BYTES + 100),
    Point("start", "tables, and nothing in them", _MIGRATE, "after"),
    Point("start", "in the midst of the schema's checkpoint", _MIGRATE, "after", torn=_NEW, room_bytes=2 * _PAGE_BYTES),
    Point("start", "whole, without its name", f"{_CREATE}_name"),
    Point("start", "it has its name", f"{_CREATE}_name", "after"),
    Point("start", "the spool's own row is there", "spoold.spool.rows:load_state"),
    Point("start", "open, without lanes", f"{_STORE}_open", "after"),
    Point("start", "a lane in its commit", _COMMIT, since="spoold.spool.lanes:open_lane"),
    Point("start", "a lane is open, the next one not", "spoold.delivery.fleet:Fleet._start_lane"),
    Point("start", "lanes run, the door is closed", "spoold.ingest.server:IngestServer.start"),
)

_APPEND = (
    Point("append", "before its id", f"{_LOCAL}append", nth=25),
    Point("append", "queued", f"{_COMMITS}GroupCommit.submit_append", "after", 25),
    Point("append", "taken by the writer", f"{_STORE}apply", since=f"{_COMMITS}GroupCommit.submit_append", nth=25),
    Point("append", "repeats recognised, before the rows", "spoold.spool.appending:_insert_rows", nth=12),
    Point("append", "the rows are in, the index of ids too", "spoold.spool.appending:_insert_rows", "after", 12),
)

_COMMITTING = (
    Point("commit", "before the transaction", f"{_STORE}_transact", nth=30),
    Point("commit", "between the rows and COMMIT", _COMMIT, since=_INSERT, nth=12),
    Point("commit", "in the midst of it", _COMMIT, since=_INSERT, nth=3, torn=_LOG, room_bytes=700),
    Point("commit", "after COMMIT, nobody knows", _COMMIT, "after", since=_INSERT, nth=12),
    Point("commit", "after COMMIT, before the waiters wake", f"{_COMMITS}_answer", since=_INSERT, nth=12),
    Point("commit", "some waiters know", f"{_COMMITS}_answer", "after", since=_INSERT, nth=15),
    Point("commit", "before the loop hears of it", "spoold.ingest.bridge:LoopBridge._drain", nth=12),
    Point("commit", "before the reply leaves", "spoold.ingest.replies:accepted", "after", 12),
    Point("commit", "before a batch's reply leaves", "spoold.ingest.replies:accepted_batch", "after", 4),
)

_CHECKPOINT = (
    Point("checkpoint", "before it", f"{_STORE}checkpoint", nth=3),
    Point(
        "checkpoint", "in its midst", f"{_STORE}checkpoint", nth=3, torn=_DATABASE, room_bytes=100 - 16 * _PAGE_BYTES
    ),
    Point("checkpoint", "after it", f"{_STORE}checkpoint", "after", 3),
    Point("checkpoint", "the log begun anew", _COMMIT, "after", since=f"{_STORE}checkpoint", nth=3),
)

_SETTLING = (
    Point("settle", "before the request", _SEND, nth=3),
    Point("settle", "the provider said yes", _SEND, "after", 3),
    Point("settle", "the lane is to hear of it", "spoold.delivery.lane:Lane.on_reply", nth=3),
    Point("settle", "in its transaction", _SETTLE, "after", 4),
    Point("settle", "before its COMMIT", _COMMIT, since=_SETTLE, nth=4),
    Point("settle", "after its COMMIT", _COMMIT, "after", since=_SETTLE, nth=4),
    Point("settle", "the lane does not know", f"{_LOCAL}settle", "after", 4),
    Point(
        "settle", "a batch is decided, not sent", f"{_LOCAL}settle", "after", within="spoold.delivery.lane:Lane._decide"
    ),
)

_ASIDE = (
    Point("set aside", "before a dead letter", _BURY, nth=2),
    Point("set aside", "a dead letter, before the cursor", _BURY, "after", 2),
    Point("set aside", "a dead letter, before COMMIT", _COMMIT, since=_BURY),
    Point("set aside", "a dead letter, after COMMIT", _COMMIT, "after", since=_BURY),
    Point("set aside", "one put off, before COMMIT", _COMMIT, since=_DEFER),
    Point("set aside", "one put off, after COMMIT", _COMMIT, "after", since=_DEFER),
)

_TRIMMING = (
    Point("trim", "before it", _TRIM, nth=2),
    Point(
        "trim",
        "rows are gone, the ledger is being folded",
        "spoold.spool.transaction:Transaction.save_lane",
        within=_TRIM,
    ),
    Point(
        "trim", "one lane's ledger is folded", "spoold.spool.transaction:Transaction.save_lane", "after", within=_TRIM
    ),
    Point("trim", "before its COMMIT", _COMMIT, since=_TRIM),
    Point("trim", "after its COMMIT", _COMMIT, "after", since=_TRIM),
    Point("trim", "before room is given back", f"{_STORE}vacuum", since=_TRIM),
    Point("trim", "room is given back", f"{_STORE}vacuum", "after", since=_TRIM),
)

_REPLAY = (
    Point("replay", "before it is written down", _START_REPLAY),
    Point("replay", "written down, before COMMIT", _COMMIT, since=_START_REPLAY),
    Point("replay", "begun, the operator does not know", f"{_LOCAL}start_replay", "after"),
    Point("replay", "a dead letter revived, before COMMIT", _COMMIT, since=_REVIVE),
    Point("replay", "a dead letter revived", _COMMIT, "after", since=_REVIVE),
    Point("replay", "sent again, not settled", _SEND, "after", since=_START_REPLAY, nth=2),
    Point("replay", "a step in its transaction", _ADVANCE, nth=2),
    Point("replay", "a step, before COMMIT", _COMMIT, since=_ADVANCE, nth=2),
    Point("replay", "a step, after COMMIT", _COMMIT, "after", since=_ADVANCE, nth=2),
    Point("replay", "the end, before COMMIT", _COMMIT, since=_ADVANCE, nth=4),
    Point("replay", "the end, after COMMIT", _COMMIT, "after", since=_ADVANCE, nth=4),
    Point("replay", "cancelled, before COMMIT", _COMMIT, since=_CANCEL),
    Point("replay", "cancelled, after COMMIT", _COMMIT, "after", since=_CANCEL),
)

_MIGRATION = (
    Point("migrate", "its log is written anew", "spoold.spool.store:rewrite", "after"),
    Point("migrate", "open, before anything", _MIGRATE),
    Point("migrate", "after the first statement", _STATEMENTS, "between", 1),
    Point("migrate", "between the statements", _STATEMENTS, "between", 6),
    Point("migrate", "between two migrations", _STATEMENTS, nth=2),
    Point("migrate", "the last statement is done", _STATEMENTS, "between", 13),
    Point("migrate", "in the midst of its COMMIT", _MIGRATE, torn=_LOG, room_bytes=3 * _PAGE_BYTES + 100),
    Point("migrate", "after its COMMIT", _MIGRATE, "after"),
    Point("migrate", "a new lane in its COMMIT", _COMMIT, since="spoold.spool.lanes:open_lane"),
    Point("migrate", "the first settlement, before COMMIT", _COMMIT, since=_SETTLE),
)

_QUARANTINING = (
    Point("quarantine", "before anything", _QUARANTINE),
    Point("quarantine", "a folder", f"{_MOVE}_empty_part", "after"),
    Point("quarantine", "the database has a second name", f"{_MOVE}_sync"),
    Point("quarantine", "the log has one too", f"{_MOVE}_sync", "after", 2),
    Point("quarantine", "before the note", f"{_MOVE}_write_note"),
    Point("quarantine", "the note is written", f"{_MOVE}_write", "after"),
    Point("quarantine", "before the final name", f"{_MOVE}_free_name"),
    Point("quarantine", "the final name, not synced", f"{_MOVE}_sync", nth=4),
    Point("quarantine", "complete, the old names are there", _FINISH, nth=2),
    Point("quarantine", "the database's old name is gone", f"{_MOVE}_sync", within=_FINISH),
    Point("quarantine", "the log's old name is gone", f"{_MOVE}_sync", "after", 2, within=_FINISH),
    Point("quarantine", "the mark is gone", f"{_MOVE}_sync", nth=8),
    Point("quarantine", "before the new journal", _QUARANTINE, "after"),
    Point("quarantine", "a new journal without tables", _OPEN, "after", since=_QUARANTINE),
    Point("quarantine", "a new journal without its name", f"{_CREATE}_name", since=_QUARANTINE),
    Point("quarantine", "its beginning is found", f"{_MOVE}find_beginning", "after", within=f"{_STORE}_open"),
    Point("quarantine", "before the salvage is written down", _TAKE_OVER),
    Point("quarantine", "the salvage is written down, before COMMIT", _COMMIT, since=_TAKE_OVER),
    Point("quarantine", "the salvage is written down", _COMMIT, "after", since=_TAKE_OVER),
)

_SALVAGE = (
    Point("salvage", "before it", f"{_SALVAGER}_begin"),
    Point("salvage", "the old files are open", "spoold.spool.remains:Remains.__init__", "after"),
    Point("salvage", "before the first step", _RESTORE),
    Point("salvage", "a step in its transaction", _RESTORE, "after", 2),
    Point("salvage", "a step, before COMMIT", _COMMIT, since=_RESTORE, nth=2),
    Point("salvage", "a step, after COMMIT", _COMMIT, "after", since=_RESTORE, nth=2),
    Point("salvage", "done, nobody is told", "spoold.daemon:SalvageLog.done"),
)

_SHUTDOWN = (
    Point("shutdown", "asked to", "spoold.daemon:Daemon.request_stop"),
    Point("shutdown", "before the door closes", f"{_LOCAL}stop_accepting"),
    Point("shutdown", "the door is closed", f"{_LOCAL}stop_accepting", "after"),
    Point("shutdown", "before the final flush", _FLUSH),
    Point("shutdown", "in the final flush, before a request", _SEND, since=_FLUSH),
    Point("shutdown", "in the final flush, the provider said yes", _SEND, "after", since=_FLUSH),
    Point("shutdown", "in the final flush, settled", f"{_LOCAL}settle", "after", since=_FLUSH),
    Point("shutdown", "flushed", "spoold.delivery.fleet:Fleet.abort"),
    Point("shutdown", "before the listener ends", "spoold.ingest.server:IngestServer.stop"),
    Point("shutdown", "before the store closes", f"{_STORE}close"),
    Point("shutdown", "in the last checkpoint", f"{_STORE}close", torn=_DATABASE, room_bytes=3 * _PAGE_BYTES + 100),
    Point("shutdown", "the store is closed", f"{_STORE}close", "after"),
    Point("shutdown", "before the lock goes", f"{_LOCK}close"),
    Point("shutdown", "the lock is gone", f"{_LOCK}close", "after"),
)

_PURGING = (
    Point("purge", "before it", _PURGE),
    Point("purge", "given up, not settled", _GIVE_UP, "after"),
    Point("purge", "in its transaction", _SETTLE, "after", since=_GIVE_UP),
    Point("purge", "before its COMMIT", _COMMIT, since=_GIVE_UP),
    Point("purge", "in the midst of it", _COMMIT, since=_GIVE_UP, torn=_LOG, room_bytes=700),
    Point("purge", "after its COMMIT", _COMMIT, "after", since=_GIVE_UP),
    Point("purge", "some are settled, others not", f"{_LOCAL}settle", "after", 3, within=_PURGE),
    Point("purge", "settled, nobody is told", "spoold.delivery.report:LaneReport.purged"),
    Point("purge", "told, the room is still to come", _PURGE, "after"),
    Point("purge", "trimmed, before COMMIT", _COMMIT, since=_PURGE),
)

_DAMAGED = (
    Point("damaged record", "before it is set aside", _BURY),
    Point("damaged record", "set aside, before the cursor", _BURY, "after"),
    Point("damaged record", "before its COMMIT", _COMMIT, since=_BURY),
    Point("damaged record", "after its COMMIT", _COMMIT, "after", since=_BURY),
    Point("damaged record", "the lane does not know", f"{_LOCAL}settle", "after", since=_BURY),
    Point("damaged record", "before it is told", "spoold.delivery.report:LaneReport._died"),
    Point("damaged record", "counted, the next lane finds it too", _BURY, nth=2),
    Point("damaged record", "the next lane's COMMIT", _COMMIT, "after", since=_BURY, nth=2),
)

_MARKING = (
    Point("mark", "damage is met, nobody is told", _MARK),
    Point("mark", "before its text", f"{_MOVE}_write", within=_MARK),
    Point("mark", "written, without its name", f"{_MOVE}_write", "after", within=_MARK),
    Point("mark", "it has its name, not synced", f"{_MOVE}_sync", within=_MARK),
    Point("mark", "it is there", _MARK, "after"),
    Point("mark", "the spool closes as it lies", "spoold.spool.leftover:kept_log", since=_MARK),
)

_READING = (
    Point("tally", "before a page", "spoold.spool.tallying:tally_page"),
    Point("tally", "after a page", "spoold.spool.tallying:tally_page", "after"),
    Point("tally", "an audit is pinned", f"{_STORE}pin", "after"),
)

_LIVES: dict[str, Life] = {
    "start": "start", "replay": "replay", "migrate": "old", "quarantine": "damaged", "salvage": "damaged",
    "shutdown": "stop", "purge": "full", "damaged record": "flipped", "mark": "broken",
}  # fmt: skip
_ALL = (
    *_START, *_APPEND, *_COMMITTING, *_CHECKPOINT, *_SETTLING, *_ASIDE, *_TRIMMING, *_REPLAY, *_MIGRATION,
    *_QUARANTINING, *_SALVAGE, *_SHUTDOWN, *_PURGING, *_DAMAGED, *_MARKING, *_READING,
)  # fmt: skip

#: All of them by name.
POINTS = {point.name: point._replace(life=_LIVES.get(point.family, "load")) for point in _ALL}


def sample() -> list[Point]:
    """The middle one of each family."""
    families: dict[str, list[Point]] = {}
    for point in POINTS.values():
        families.setdefault(point.family, []).append(point)
    return [family[len(family) // 2] for family in families.values()]
