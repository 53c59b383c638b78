"""Planted bugs of what does not go straight on: several requests at once, events that stand aside, blame."""

from tests.sim.bug import Bug, Edit

_PASSED = "I4: a lane passes only what is taken or set aside"
_NO_REPEAT = "I4: no repeat after a known outcome"
_DRAINS = "everything drains"
_COMES = "a lane with pending events comes again"

ASIDE = (
    Bug(
        "answers are settled in the order in which they come",
        "I4",
        (
            Edit("delivery/window.py", "        while self.ahead:\n", "        while self._sorted():\n"),
            Edit(
                "delivery/window.py",
                "            _, outcomes.upto, fates = self.ahead[0].take_settleable()\n",
                """            _, upto, fates = self.ahead[0].take_settleable()
            outcomes.upto = max(upto, outcomes.upto)
""",
            ),
            Edit(
                "delivery/window.py",
                "    def flying(self)",
                """    def _sorted(self) -> list[Batch]:
        self.ahead.sort(key=lambda batch: not batch.is_resolved)
        return self.ahead

    def flying(self)""",
            ),
        ),
        (_PASSED,),
        seeds=60,
    ),
    Bug(
        "a batch is forgotten although something of it is not known",
        "I4",
        (Edit("delivery/window.py", "            if len(self.ahead[0]):\n                break\n", ""),),
        (_DRAINS, _PASSED, "the journal has none behind", "pending up to"),
    ),
    Bug(
        "a restart forgets who stands aside",
        "I2",
        (Edit("delivery/standby.py", "        for one in deferred:\n", "        for one in list(deferred)[:0]:\n"),),
        (_DRAINS, _COMES),
        seeds=75,
    ),
    Bug(
        "who comes back from aside is counted twice",
        "I2",
        (
            Edit(
                "delivery/window.py",
                "                self.released.append(seq)\n",
                """                self.released.append(seq)
                self.delivered += 1
""",
            ),
        ),
        ("I2", "pending up to", "pending events and account for", "can't settle"),
    ),
    Bug(
        "who comes back from aside stays there too",
        "I2",
        (
            Edit(
                "spool/aside.py",
                '        tx.connection.execute(SQL["release_deferred"], (lane, seq))\n',
                "        pass\n",
            ),
        ),
        ("I2", _NO_REPEAT),
    ),
    Bug(
        "who dies aside still counts as waiting",
        "I2",
        (Edit("spool/aside.py", "return Moved(dead=1, deferred=0 if is_ahead else -1)", "return Moved(dead=1)"),),
        ("I2", _COMES, "pending events and account for", "can't settle"),
    ),
    Bug(
        "a dead letter that is pending again still counts as dead",
        "I2",
        (Edit("spool/aside.py", "Moved(dead=-1, deferred=1) if was_dead", "Moved(deferred=1) if was_dead"),),
        ("I2", "can't settle", "pending events and account for"),
    ),
    Bug(
        "where nobody else can stand aside they are forgotten",
        "I2",
        (
            Edit("delivery/standby.py", "MAX_DEFERRED = 10_000", "MAX_DEFERRED = 0"),
            Edit(
                "delivery/judge.py", "            return case.call.of(items)\n", "            return case.call.of(())\n"
            ),
        ),
        (_DRAINS, _COMES, "I5: the trouble of one lane is its own", "a replay comes to its end"),
    ),
    Bug(
        "of 20 that were refused alike those that were settled stay dead",
        "a bad key does not empty the spool into the dead letters",
        (
            Edit(
                "delivery/judge.py",
                "            elif not is_replay and letter",
                "            elif letter.seq < 0 and letter",
            ),
        ),
        ("I4: what was refused alike is pending again",),
    ),
    Bug(
        "what Amplitude did not list counts as delivered",
        "I4",
        (
            Edit(
                "providers/amplitude.py",
                "            if not is_success:\n",
                "            if not fields:\n",
            ),
        ),
        ("I4: what counts as taken was taken",),
    ),
)
