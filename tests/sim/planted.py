"""A catalogue of planted bugs: how the tests are tested.

Each is a small edit of the program that breaks a promise. ``test_planted.py`` applies it to a copy, and the simulator
must find it there. An edit whose old text is gone fails the test: the catalogue goes with the code.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Planted:
    """One bug.

    Attributes:
        name: What is wrong.
        file: Below ``spoold/``.
        old: The text that is replaced; it stands there once.
        new: What replaces it.
        found_by: A part of what the simulator says.
    """

    name: str
    file: str
    old: str
    new: str
    found_by: str


CATALOGUE = (
    Planted(
        "acknowledges before the commit",
        "spool/local.py",
        "            append = self._prepare(drafts, received_at_ms, future)\n",
        """            append = self._prepare(drafts, received_at_ms, Future())
            first = self._store.state.spool.last_seq + 1 + self.commits.waiting_calls
            future.set_result([Receipt(first + n, i, duplicate=False) for n, i in enumerate(append.event_ids)])
""",
        "I1",
    ),
    Planted(
        "a commit that failed counts",
        "spool/store.py",
        """    connection.execute("COMMIT")
""",
        """    with suppress(sqlite3.Error):
        connection.execute("COMMIT")
""",
        "I4: a lane passes only what is taken or set aside",
    ),
    Planted(
        "no fsync",
        "spool/journal.py",
        '("FULL", 2) if durability',
        '("OFF", 0) if durability',
        "I1: an acknowledged event is on disk",
    ),
    Planted(
        "no fsync per commit",
        "spool/journal.py",
        '("FULL", 2) if durability',
        '("NORMAL", 1) if durability',
        "I1: an acknowledged event is on disk",
    ),
    Planted(
        "what a failed commit would have made true stays",
        "spool/store.py",
        """            self._commit(self.connection)
        except BaseException as exc:
""",
        """            self.state = State(tx.spool, tx.lanes)
            self._commit(self.connection)
        except BaseException as exc:
""",
        "I2: the ledger tells the counters",
    ),
    Planted(
        "a full disk is answered with success",
        "spool/store.py",
        "            return Results([exc for _ in appends], results)\n",
        """            seq = self.state.spool.last_seq
            told = [[Receipt(seq, i, duplicate=False) for i in append.event_ids] for append in appends]
            return Results(list(told), results)
""",
        "I3: it is the event that was accepted",
    ),
    Planted(
        "the log is trusted after a failed sync",
        "spool/store.py",
        '            rewrite(self._side_file("-wal"))\n',
        "            pass\n",
        "over restarts",
    ),
    Planted(
        "the last row of a large group is lost",
        "spool/appending.py",
        "chunk_bounds(len(rows) // 3)",
        "chunk_bounds(len(rows) // 3 - (len(rows) > 60))",
        "I2: the journal holds what was accepted",
    ),
    Planted(
        "an id twice in one group",
        "spool/appending.py",
        "known.get(event_id) or here.get(event_id)",
        "known.get(event_id)",
        "an id stands in the journal once",
    ),
    Planted(
        "a caller's repeat is not recognised",
        "spool/appending.py",
        "_known(tx, append, here) if append.has_caller_ids else {}",
        "{}",
        "an id stands in the journal once",
    ),
    Planted(
        "a restart forgets how far the ids' clock was",
        "spool/local.py",
        "last_ms=store.state.spool.last_id_ms",
        "last_ms=0",
        "rises with seq",
    ),
    Planted(
        "trimming forgets what a lane has pending",
        "spool/retention.py",
        "settled_seq = State(tx.spool, tx.lanes).settled_seq()",
        "settled_seq = tx.spool.last_seq",
        "it is not in the journal",
    ),
    Planted(
        "trimming forgets the ledger without adding it up",
        "spool/retention.py",
        "base_delivered=row.base_delivered + delivered",
        "base_delivered=row.base_delivered",
        "I2: the ledger tells the counters",
    ),
    Planted(
        "a lane delivers what came while it was closed",
        "spool/reader.py",
        "if gap.after <= start < gap.upto:",
        "if start < 0:",
        "pending up to",
    ),
    Planted(
        "dead letters are not counted",
        "spool/lanes.py",
        "dead=lane.dead + len(settlement.dead)",
        "dead=lane.dead",
        "I2",
    ),
    Planted("a checksum is not checked", "record.py", "    if stored != actual:\n", "    if stored < 0:\n", "I11"),
    Planted(
        "the event's time is that of the attempt",
        "providers/mixpanel.py",
        'properties["time"] = event.timestamp_ms',
        'properties["time"] = __import__("time").time_ns()',
        "I3: a repeat has the same bytes",
    ),
    Planted(
        "an event is dropped after so many tries",
        "delivery/lane.py",
        """        before = self._state.retry
        failures = before.failures + 1
""",
        """        before = self._state.retry
        failures = before.failures + 1
        if failures > self._settings.retry.max_attempts and self._batch is not None:
            for item in self._batch.calls.popleft().items:
                self._batch.resolve(item.seq, None)
            self._settle("delivered", attempt, RetryState())
            return
""",
        "I4: a lane passes only what is taken or set aside",
    ),
    Planted(
        "the cursor moves before the reply",
        "delivery/lane.py",
        "        self._report.sending(len(call.items), call.route)\n",
        """        self._report.sending(len(call.items), call.route)
        for item in call.items:
            batch.resolve(item.seq, None)
""",
        "I4",
    ),
    Planted(
        "a refused event counts as delivered",
        "delivery/lane.py",
        "            if item.seq in dead:\n",
        "            if item.seq < 0:\n",
        "I4",
    ),
    Planted(
        "a failure forgets what its neighbours' replies said",
        "delivery/lane.py",
        """        self._report.failed(self._state, wait_seconds=wait, status=attempt.status)
""",
        """        self._report.failed(self._state, wait_seconds=wait, status=attempt.status)
        self._batch = None
""",
        "I4: no repeat after a known outcome",
    ),
    Planted(
        "a restart forgets the wait",
        "delivery/lane.py",
        "        if not retry.failures or retry.is_stopped:\n",
        "        if retry.failures >= 0:\n",
        "a wait is kept, over restarts too",
    ),
    Planted(
        "a wait on the wall clock alone",
        "delivery/lane.py",
        "left_ms = min(retry.wait_ms, retry.not_before_ms - self._clock.wall_ms())",
        "left_ms = retry.not_before_ms - self._clock.wall_ms()",
        "a lane with pending events comes again",
    ),
    Planted(
        "Retry-After is not heard",
        "delivery/backoff.py",
        "if retry.after_seconds is not None:",
        "if retry.min_seconds < 0:",
        "a wait is kept",
    ),
    Planted(
        "the final flush has no end",
        "delivery/lane.py",
        "return self._state.pending == 0 or now < self._wait_until or is_late",
        "return self._state.pending == 0",
        "the final flush ends",
    ),
)
