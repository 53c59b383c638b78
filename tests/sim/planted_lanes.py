"""Planted bugs of the lanes: what is sent, what a reply leads to, how long to wait."""

from tests.sim.bug import Bug, Edit

_PASSED = "I4: a lane passes only what is taken or set aside"

LANES = (
    Bug(
        "a lane delivers what came while it was closed",
        "a closed lane accrues nothing",
        (Edit("spool/reader.py", "if gap.after <= start < gap.upto:", "if start < 0:"),),
        ("what came while a lane was closed is never sent", "I4: nothing settled is sent but by a replay"),
        seeds=60,
    ),
    Bug(
        "a lane that comes back has lost what it had pending",
        "I4",
        (
            Edit(
                "spool/lanes.py",
                "is_closed=0, opened_at=spool.accepted, gaps=gaps)",
                "is_closed=0, opened_at=spool.accepted, gaps=gaps, cursor=spool.last_seq)",
            ),
        ),
        (_PASSED, "I2"),
    ),
    Bug(
        "dead letters are not counted",
        "I2",
        (Edit("spool/lanes.py", "dead=lane.dead + moved.dead", "dead=lane.dead"),),
        ("I2", "pending up to", "pending events and account for"),
    ),
    Bug(
        "the event's time is that of the attempt",
        "I3",
        (
            Edit(
                "providers/mixpanel.py",
                'properties["time"] = event.timestamp_ms',
                'properties["time"] = __import__("time").time_ns()',
            ),
        ),
        ("I3: a repeat has the same bytes", "I3: what arrives is what was accepted"),
    ),
    Bug(
        "the properties have another order at each reading",
        "I3",
        (
            Edit(
                "record.py",
                "    for name in sorted(fields):\n",
                '    for name in __import__("random").sample(sorted(fields), len(fields)):\n',
            ),
            Edit("record.py", "orjson.dumps(value, option=orjson.OPT_SORT_KEYS)", "orjson.dumps(value)"),
        ),
        ("I3: a repeat has the same bytes",),
    ),
    Bug(
        "an event is dropped after so many tries",
        "I4",
        (
            Edit(
                "delivery/judge.py",
                """        failures = before.failures + 1
        wait = """,
                """        failures = before.failures + 1
        if failures > self._policy.max_attempts:
            for item in call.items:
                batch.resolve(item.seq, "delivered")
            batch.replace(call)
            return self._well(case, "partial")
        wait = """,
            ),
        ),
        (_PASSED,),
    ),
    Bug(
        "an event is set aside after so many tries",
        "I4",
        (
            Edit(
                "delivery/judge.py",
                """        failures = before.failures + 1
        wait = """,
                """        failures = before.failures + 1
        if failures > self._policy.max_attempts:
            for item in call.items:
                batch.resolve(item.seq, DeadLetter(item.seq, retry.reason, case.attempt.status, item.attempts))
            batch.replace(call)
            return self._well(case, "partial")
        wait = """,
            ),
        ),
        (
            "I4: nothing that a service would take is set aside",
            "a replay sends what the journal holds",
            "a wait is kept",
            "an outage is never blamed on an event",
        ),
    ),
    Bug(
        "a lane passes what is to be sent again",
        "I4",
        (
            Edit(
                "delivery/judge.py",
                """        failures = before.failures + 1
        wait = """,
                """        failures = before.failures + 1
        for item in call.items:
            batch.resolve(item.seq, "delivered")
        batch.replace(call)
        wait = """,
            ),
        ),
        (_PASSED,),
    ),
    Bug(
        "the cursor moves before the reply",
        "I4",
        (
            Edit(
                "delivery/lane.py",
                "        self._report.sending(len(call.items), call.route)\n",
                """        self._report.sending(len(call.items), call.route)
        for item in call.items:
            batch.resolve(item.seq, "delivered")
        self._settle("delivered", None, self._state.retry)
""",
            ),
        ),
        (_PASSED,),
    ),
    Bug(
        "the cursor jumps over what is not known yet",
        "I4",
        (
            Edit(
                "delivery/batch.py",
                """        head = list(takewhile(self._fates.__contains__, self._seqs))
        self._seqs = self._seqs[len(head) :]
""",
                """        head = [seq for seq in self._seqs if seq in self._fates]
        self._seqs = [seq for seq in self._seqs if seq not in self._fates]
""",
            ),
        ),
        (_PASSED, "pending up to", "pending events and account for"),
    ),
    Bug(
        "a batch is through when its first request is",
        "I4",
        (
            Edit(
                "delivery/judge.py",
                """        batch.replace(call, call.of(again), self._put_off(case, later, deferred))
""",
                """        batch.replace(call, call.of(again), self._put_off(case, later, deferred))
        for other in [other for other in batch.calls if not other.is_flying]:
            for item in other.items:
                batch.resolve(item.seq, "delivered")
            batch.replace(other)
""",
            ),
        ),
        (_PASSED,),
    ),
    Bug(
        "a refused event counts as delivered",
        "I4",
        (Edit("delivery/judge.py", "            if item.seq in dead:\n", "            if item.seq < 0:\n"),),
        (_PASSED,),
    ),
    Bug(
        "one refused event condemns its neighbours",
        "I4",
        (
            Edit(
                "delivery/judge.py",
                """            if item.seq in dead:
                batch.resolve(item.seq, DeadLetter(item.seq, dead[item.seq], status, item.attempts))
""",
                """            if dead:
                batch.resolve(item.seq, DeadLetter(item.seq, "refused", status, item.attempts))
""",
            ),
        ),
        (
            "I4: nothing that a service would take is set aside",
            "I4: no repeat after a known outcome",
            "a replay sends what the journal holds",
        ),
    ),
    Bug(
        "20 events that were refused alike are not taken back",
        "a bad key does not empty the spool into the dead letters",
        (Edit("delivery/judge.py", "deferred=tuple(self._take_back(row))", "deferred=()"),),
        ("I4: what was refused alike is pending again",),
    ),
    Bug(
        "20 events that were refused alike do not stop the lane",
        "a bad key does not empty the spool into the dead letters",
        (Edit("delivery/blame.py", "if len(self._alike) < limit:", "if len(self._alike) < 100 * limit:"),),
        ("so many refused alike stop the lane",),
    ),
    Bug(
        "any 200 counts as delivered",
        "I4",
        (
            Edit(
                "providers/mixpanel.py",
                '            if _is_number(fields.get("code"), _OK):\n',
                "            if reply.status == _OK:\n",
            ),
        ),
        ("I4: what counts as taken was taken",),
        seeds=90,
    ),
    Bug(
        "a request without an answer counts as delivered",
        "I4",
        (
            Edit(
                "delivery/sender.py",
                "            outcome = Retry(exc.reason, blames_content=exc.was_sent)\n",
                "            outcome = Delivered() if exc.was_sent else Retry(exc.reason)\n",
            ),
        ),
        ("I4: what counts as taken was taken",),
    ),
    Bug(
        "a failure forgets what its neighbours' replies said",
        "I4",
        (
            Edit(
                "delivery/lane.py",
                """            self._settle(effect.outcome, attempt, retry, effect.deferred)
""",
                """            self._settle(effect.outcome, attempt, retry, effect.deferred)
        if effect.outcome == "retry" and not any(self._window.flying()):
            self._supply.start(self._state)
""",
            ),
        ),
        ("I4: no repeat after a known outcome", "everything drains", "I5: the trouble of one lane is its own"),
    ),
    Bug(
        "a stop forgets what is known",
        "I4",
        (
            Edit(
                "delivery/lane.py",
                """                self._settle("delivered", None, self._state.retry)
                self._report.finished""",
                "                self._report.finished",
            ),
        ),
        ("I4: a stop settles what is known",),
        seeds=120,
    ),
    Bug(
        "the final flush has no end",
        "SIGTERM ends the daemon in time",
        (
            Edit("delivery/lane.py", "        if now >= deadline:\n", "        if now < 0:\n"),
            Edit("delivery/lane.py", "if now < self._wait_until or self._state.is_paused or", "if"),
        ),
        ("the final flush ends",),
        seeds=130,
    ),
    Bug(
        "one lane's trouble holds up the others",
        "I5",
        (
            Edit(
                "delivery/lane.py",
                "            if self._state.is_paused or now < self._wait_until or not self._has_slot():\n",
                """            others = [s for s in self._spool.lanes() if s.name != self.name and not s.is_closed]
            if any(other.retry.failures for other in others):
                return Wait(1.0, _NO_EVENTS)
            if self._state.is_paused or now < self._wait_until or not self._has_slot():
""",
            ),
        ),
        ("I5: the trouble of one lane is its own", "everything drains", "the final flush ends"),
    ),
    Bug(
        "a restart forgets the wait",
        "a wait is kept",
        (
            Edit(
                "delivery/lane.py",
                "        if not retry.failures or retry.is_stopped:\n",
                "        if retry.failures >= 0:\n",
            ),
        ),
        ("a wait is kept, over restarts too",),
    ),
    Bug(
        "a wait on the wall clock alone",
        "a clock that jumps delays nothing for long",
        (
            Edit(
                "delivery/lane.py",
                "left_ms = min(retry.wait_ms, retry.not_before_ms - self._clock.wall_ms())",
                "left_ms = retry.not_before_ms - self._clock.wall_ms()",
            ),
        ),
        ("a lane with pending events comes again", "I5: the trouble of one lane is its own"),
        seeds=180,
    ),
    Bug(
        "an interval on the wall clock alone",
        "a clock that jumps delays nothing for long",
        (
            Edit(
                "delivery/supply.py",
                "- min(max(age, 0.0), self._interval_seconds)",
                "- min(age, self._interval_seconds)",
            ),
        ),
        ("a lane with pending events comes again",),
        seeds=60,
    ),
    Bug(
        "Retry-After is not heard",
        "a wait is kept",
        (Edit("delivery/backoff.py", "if retry.after_seconds:", "if retry.min_seconds < 0:"),),
        ("a wait is kept",),
        seeds=60,
    ),
    Bug(
        "Retry-After has no bound",
        "a provider can't switch a lane off",
        (
            Edit(
                "delivery/backoff.py",
                "wait = min(retry.after_seconds, self.max_retry_after_seconds)",
                "wait = retry.after_seconds",
            ),
        ),
        ("a lane with pending events comes again",),
        seeds=90,
    ),
)
