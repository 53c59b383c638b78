"""Planted bugs of what somebody at the desk asks for: pauses, replays, filters, purges."""

from tests.sim.bug import Bug, Edit

_NO_REPEAT = "I4: no repeat after a known outcome"
_DRAINS = "everything drains"
_COMES = "a lane with pending events comes again"
_REPLAY_ENDS = "a replay comes to its end"

DESK = (
    Bug(
        "a paused lane goes on",
        "an operator's word",
        (Edit("delivery/lane.py", "            if self._state.is_paused or now <", "            if now <"),),
        ("a paused lane sends nothing",),
    ),
    Bug(
        "what a replay made pending again waits for a restart",
        "a replay",
        (
            Edit(
                "delivery/supply.py",
                "if settlement.replay is not None and settlement.replay.revived:",
                "if settlement.replay is not None and settlement.replay.sent < 0:",
            ),
        ),
        (_DRAINS, _COMES, _REPLAY_ENDS),
    ),
    Bug(
        "a replay stays where it is",
        "a replay ends",
        (
            Edit(
                "spool/replays.py",
                "            cursor=step.upto,\n",
                "            cursor=replay.cursor if step.sent else step.upto,\n",
            ),
            Edit("delivery/supply.py", "_REPLAY_EVENTS = 500", "_REPLAY_EVENTS = 5"),
        ),
        (_REPLAY_ENDS, "I5: the trouble of one lane is its own"),
    ),
    Bug(
        "a replay counts as the lane's own deliveries",
        "I2",
        (
            Edit(
                "delivery/window.py",
                "            outcomes.replay = self._collect_replay(self.replay)\n",
                """            outcomes.replay = self._collect_replay(self.replay)
            outcomes.delivered += outcomes.replay.sent if outcomes.replay is not None else 0
""",
            ),
        ),
        ("I2", "can't settle", "pending events and account for"),
    ),
    Bug(
        "a lane gives up events though nobody told it to",
        "I4",
        (Edit("delivery/lane.py", 'may_purge = self._settings.when_full == "purge" and', "may_purge ="),),
        ("only a lane that is told to gives events up",),
    ),
    Bug(
        "a lane gives up what is under way",
        "I4",
        (Edit("delivery/lane.py", ' == "purge" and not any(self._window.flying())', ' == "purge"'),),
        ("there is no such call under way", _NO_REPEAT),
        seeds=90,
    ),
    Bug(
        "what is given up is not counted",
        "I2",
        (Edit("spool/lanes.py", "purged=lane.purged + settlement.purged", "purged=lane.purged"),),
        ("I2", "pending events and account for"),
        seeds=120,
    ),
    Bug(
        "what a filter keeps back is not counted",
        "I2",
        (Edit("spool/lanes.py", "filtered=lane.filtered + filtered", "filtered=lane.filtered"),),
        ("I2",),
    ),
    Bug(
        "a filter keeps nothing back",
        "what a filter keeps back never arrives",
        (Edit("delivery/filter.py", "        if not self._passes(event):\n", "        if False:\n"),),
        ("what a filter keeps back never arrives", "I2: delivered is what the world saw"),
    ),
)
