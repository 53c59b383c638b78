"""The writer's open transaction: what a function needs when it changes the spool."""

import sqlite3
from dataclasses import dataclass, field

from spoold.spool.rows import LaneRow, ReplayRow, SpoolRow
from spoold.spool.statements import SQL
from spoold.spool.trail import AsideChange, Trail
from spoold.spool.values import LaneState


@dataclass(slots=True)
class Transaction:
    """One commit in the making.

    ``spool``, ``lanes`` and ``replays`` are what the commit will make true; they replace the store's state when it has
    committed and are dropped when it has not. So is ``aside``: what it does to the table ``set_aside``. A function that
    takes a transaction must check everything before it writes: raising a SpooldError afterwards would leave its half in
    the commit.
    """

    connection: sqlite3.Connection
    spool: SpoolRow
    lanes: dict[str, LaneRow]
    replays: dict[int, ReplayRow]
    trail: Trail
    aside: list[AsideChange] = field(default_factory=list)

    def save_lane(self, lane: LaneRow) -> LaneState:
        """Write the row and answer with what it says."""
        self.connection.execute(SQL["save_lane"], lane.columns())
        self.lanes[lane.name] = lane
        return lane.state(self.spool)

    def save_replay(self, replay: ReplayRow) -> None:
        """Write the row."""
        self.connection.execute(SQL["save_replay"], replay)
        self.replays[replay.id] = replay
