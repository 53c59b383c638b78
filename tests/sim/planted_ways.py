"""Planted bugs of the order and company in which events go out, of waits, words, counters and what the desk is told."""

from tests.sim.bug import Bug, Edit

_PLACE = "a profile keeps its place on its route"
_COMPANY = "a kept batch is the same on every attempt"
_WORDS = "an operator's word outlives a restart"
_BLAME = "an outage is never blamed on an event"

WAYS = (
    Bug(
        "a profile does not wait for what is before it",
        "order on a route",
        (Edit("delivery/batch.py", "not (ahead or call.is_ordered)", "not ahead"),),
        (_PLACE,),
    ),
    Bug(
        "what is behind a profile does not wait for it",
        "order on a route",
        (Edit("delivery/batch.py", "not (ahead or call.is_ordered)", "not call.is_ordered"),),
        (_PLACE,),
    ),
    Bug(
        "which events share a batch is not written down",
        "kept batches",
        (
            Edit(
                "delivery/lane.py",
                "        if self._supply.keeps_batches and (decided",
                "        if not self._supply.keeps_batches and (decided",
            ),
        ),
        (_COMPANY,),
        seeds=60,
    ),
    Bug(
        "a batch that was decided is filled up after a restart",
        "kept batches",
        (
            Edit(
                "delivery/feed.py",
                "            if upto is not None and first.seq > upto:\n",
                "            if upto is not None and first.seq > upto + 1:\n",
            ),
        ),
        (_COMPANY, "can't settle", "I4"),
        seeds=60,
    ),
    Bug(
        "who stands aside is due at once after a restart",
        "a wait is kept",
        (
            Edit(
                "delivery/standby.py",
                "            self.add(one, now + max(0, min(",
                "            self.add(one, now + min(0, min(",
            ),
        ),
        ("what stands aside is not sent before its time",),
        seeds=100,
    ),
    Bug(
        "who is put off stands aside for half the time",
        "a wait is kept",
        (Edit("delivery/supply.py", "now + deferred.wait_ms / 1000)", "now + deferred.wait_ms / 2000)"),),
        ("what stands aside is not sent before its time",),
        seeds=300,
    ),
    Bug(
        "an event that fails alone is blamed without another's success",
        "whom to blame",
        (
            Edit(
                "delivery/blame.py",
                "call.failed_at is not None and self._delivered > call.failed_at",
                "call.failed_at is not None",
            ),
        ),
        (_BLAME, _COMPANY, "I4"),
        seeds=200,
    ),
    Bug(
        "an event that fails alone is given up too soon",
        "whom to blame",
        (Edit("delivery/blame.py", "MAX_LONE_FAILURES = 5", "MAX_LONE_FAILURES = 2"),),
        (_BLAME,),
        seeds=600,
    ),
    Bug(
        "a pause is not stored",
        "an operator's word",
        (
            Edit(
                "spool/lanes.py",
                "            lane = replace(lane, is_paused=1)\n",
                "            lane = replace(lane, is_paused=0)\n",
            ),
        ),
        ("a paused lane sends nothing", _WORDS),
    ),
    Bug(
        "a restart ends a pause",
        "an operator's word",
        (
            Edit(
                "spool/rows.py",
                "replace(LaneRow(*row), gaps=tuple(gaps.get(row[0], ())))",
                "replace(LaneRow(*row), is_paused=0, gaps=tuple(gaps.get(row[0], ())))",
            ),
        ),
        (_WORDS,),
    ),
    Bug(
        "a resume is not counted",
        "an operator's word",
        (Edit("spool/lanes.py", "replace(lane, is_paused=0, flushes=lane.flushes + 1)", "replace(lane, is_paused=0)"),),
        (_WORDS, "a lane with pending events comes again"),
    ),
    Bug(
        "what is filtered counts as delivered",
        "I2",
        (
            Edit(
                "delivery/window.py",
                '            if fate == "delivered":\n                self.delivered += 1\n'
                '            elif fate == "filtered":\n'
                "                self.filtered += 1\n",
                '            if fate in ("delivered", "filtered"):\n                self.delivered += 1\n',
            ),
        ),
        ("I2: delivered is what the world saw",),
    ),
    Bug(
        "what is given up counts as delivered",
        "I2",
        (
            Edit(
                "delivery/window.py",
                '            elif fate == "purged":\n                self.purged += 1\n',
                '            elif fate == "purged":\n                self.delivered += 1\n',
            ),
        ),
        ("I2: delivered is what the world saw", "I4"),
        seeds=100,
    ),
    Bug(
        "who dies counts as delivered too",
        "I2",
        (
            Edit(
                "delivery/window.py",
                "            self.dead.append(fate)\n",
                "            self.dead.append(fate)\n            self.delivered += 0 if self.returned else 1\n",
            ),
        ),
        ("I2", "can't settle", "pending events and account for"),
    ),
    Bug(
        "status counts twice what is aside here and ahead there",
        "status tells the truth",
        (
            Edit(
                "spool/rows.py",
                "    aside = (connection.execute",
                "    return state.ahead() + sum(lane.deferred for lane in state.lanes.values())\n"
                "    aside = (connection.execute",
            ),
        ),
        ("status says what can be counted",),
        seeds=400,
    ),
    Bug(
        "status takes what is aside for dead",
        "status tells the truth",
        (
            Edit(
                "spool/aside.py",
                "    if dead:\n        dead_bytes = dead *",
                "    if dead or deferred:\n        dead_bytes = (dead or deferred) *",
            ),
        ),
        ("status says what can be counted", "an audit of a sound spool finds nothing"),
        seeds=100,
    ),
    Bug(
        "more is taken than the owner allows",
        "I7",
        (
            Edit(
                "spool/space.py",
                "        if used_bytes + size * _OVERHEAD > limits.max_bytes:\n",
                "        if used_bytes < 0:\n",
            ),
        ),
        ("I7: where there is no room nothing is taken",),
        seeds=100,
    ),
    Bug(
        "a success does not end the wait that an answer from before had asked for",
        "a lane with pending events comes again",
        (
            Edit(
                "delivery/lane.py",
                "        elif effect.retry is not None:\n",
                "        elif effect.retry is None and now < 0:\n",
            ),
        ),
        ("a lane with pending events comes again",),
        seeds=900,
    ),
    Bug(
        "a pointer map that is damaged hides events",
        "what was readable is brought over",
        (
            Edit(
                "spool/pages.py",
                "        return 0 if entry[0] == FREE_PAGE and any(entry[1:]) else entry[0]\n",
                "        return entry[0]\n",
            ),
        ),
        ("what was readable is salvaged", "I2: every acknowledged event arrives", "what was lost is told"),
        seeds=900,
    ),
)
