"""Planted bugs of the commit, the disk and the journal."""

from tests.sim.bug import Bug, Edit

STORAGE = (
    Bug(
        "acknowledges before the commit",
        "I1",
        (
            Edit(
                "spool/local.py",
                "            append = self._prepare(drafts, received_at_ms, future)\n",
                """            append = self._prepare(drafts, received_at_ms, Future())
            first = self._store.state.spool.last_seq + 1 + self.commits.waiting_calls
            future.set_result([Receipt(first + n, i, duplicate=False) for n, i in enumerate(append.event_ids)])
""",
            ),
        ),
        (
            "I1",
            "I3: it is the event that was accepted",
            "an id stands in the journal once",
            "I7: where there is no room nothing is taken",
        ),
    ),
    Bug(
        "a commit that failed is answered with success",
        "I1",
        (
            Edit(
                "spool/group_commit.py",
                """            for append in appends:
                append.future.set_exception(answer)
""",
                """            from spoold.spool.values import Receipt
            seq = self._store.state.spool.last_seq
            for append in appends:
                made = [Receipt(seq + 1 + n, i, duplicate=False) for n, i in enumerate(append.event_ids)]
                append.future.set_result(made)
""",
            ),
        ),
        (
            "I1: an acknowledged event is on disk",
            "I3: it is the event that was accepted",
            "I7: where there is no room nothing is taken",
        ),
    ),
    Bug(
        "a commit that failed counts",
        "I1, I2",
        (
            Edit(
                "spool/store.py",
                """    connection.execute("COMMIT")
""",
                """    with suppress(sqlite3.Error):
        connection.execute("COMMIT")
""",
            ),
        ),
        ("I1", "I2", "I4"),
    ),
    Bug(
        "no fsync",
        "I1",
        (Edit("spool/journal.py", '("FULL", 2) if durability', '("OFF", 0) if durability'),),
        ("I1", "a cursor never goes back", "database disk image is malformed", "a healthy spool is never moved"),
    ),
    Bug(
        "no fsync per commit",
        "I1",
        (Edit("spool/journal.py", '("FULL", 2) if durability', '("NORMAL", 1) if durability'),),
        ("I1", "a cursor never goes back", "an operator's word outlives a restart", "a healthy spool is never moved"),
    ),
    Bug(
        "the log is trusted after a failed sync",
        "I1",
        (Edit("spool/store.py", '            rewrite(self._side_file("-wal"))\n', "            pass\n"),),
        (
            "I1",
            "a cursor never goes back",
            "over restarts",
            "only a disk that fails ends the process",
            "a healthy spool is never moved",
        ),
        seeds=210,
    ),
    Bug(
        "what a failed commit would have made true stays",
        "I2",
        (
            Edit(
                "spool/store.py",
                """            self._commit(self.connection)
        except BaseException as exc:
""",
                """            self.state = State(tx.spool, tx.lanes, tx.replays)
            self._commit(self.connection)
        except BaseException as exc:
""",
            ),
        ),
        ("I2", "I4", "a cursor never goes back"),
    ),
    Bug(
        "a settle is not in the transaction",
        "I2",
        (
            Edit(
                "spool/store.py",
                """            self.connection.execute("BEGIN IMMEDIATE")
            results = [_run(write, tx) for write in writes]
""",
                """            results = [_run(write, tx) for write in writes]
            self.connection.execute("BEGIN IMMEDIATE")
""",
            ),
        ),
        ("I2", "I4"),
    ),
    Bug(
        "the counters are saved after the commit",
        "I2",
        (
            Edit(
                "spool/store.py",
                """            if tx.spool is not self.state.spool:
                self.connection.execute(SQL["save_spool"], tx.spool)
            self._commit(self.connection)
""",
                """            self._commit(self.connection)
            if tx.spool is not self.state.spool:
                self.connection.execute(SQL["save_spool"], tx.spool)
""",
            ),
        ),
        ("I2", "a refused event was not stored", "UNIQUE constraint failed"),
    ),
    Bug(
        "a full disk is answered with success",
        "I1, I7",
        (
            Edit(
                "spool/store.py",
                "            return Results([exc for _ in appends], results)\n",
                """            seq = self.state.spool.last_seq
            told = [[Receipt(seq, i, duplicate=False) for i in append.event_ids] for append in appends]
            return Results(list(told), results)
""",
            ),
        ),
        (
            "I1: an acknowledged event is on disk",
            "I3: it is the event that was accepted",
            "I2: every acknowledged event arrives",
        ),
    ),
    Bug(
        "a disk without any room ends the process",
        "I7: a full disk ends nothing",
        (
            Edit(
                "spool/group_commit.py",
                "            self._hold(appends, writes, exc, now)\n            return\n",
                """            for append in appends:
                append.future.set_exception(exc)
            for pending in writes:
                pending.future.set_exception(SpoolFailedError(str(exc)))
            raise SpoolFailedError(str(exc)) from exc
""",
            ),
        ),
        ("I7: a full disk ends nothing",),
        seeds=60,
    ),
    Bug(
        "a settlement is refused for want of room",
        "I7: on a full disk settlements wait",
        (
            Edit(
                "spool/group_commit.py",
                "            if pending.is_patient and self.waits_for_room:\n",
                "            if False:\n",
            ),
        ),
        ("I7: a full disk ends nothing",),
        seeds=60,
    ),
    Bug(
        "a part of a refused call is stored",
        "a refusal means that nothing was stored",
        (
            Edit(
                "spool/store.py",
                "            _, results = self._transact([], writes)\n",
                """            from dataclasses import replace
            with suppress(SpoolFullError):
                self._transact([replace(a, records=a.records[:1], event_ids=a.event_ids[:1],
                    stamps_ms=a.stamps_ms[:1], caller_chose=a.caller_chose[:1]) for a in admitted], [])
            _, results = self._transact([], writes)
""",
            ),
        ),
        ("a refused event was not stored",),
        seeds=60,
    ),
    Bug(
        "a call is cut over two commits",
        "a call is all there or not at all",
        (
            Edit(
                "spool/store.py",
                """            receipts = insert(tx, appends)
""",
                """            from dataclasses import replace
            receipts = insert(tx, [replace(a, records=a.records[:1], event_ids=a.event_ids[:1],
                stamps_ms=a.stamps_ms[:1], caller_chose=a.caller_chose[:1]) for a in appends])
            self.connection.execute(SQL["save_spool"], tx.spool)
            self._commit(self.connection)
            self.connection.execute("BEGIN IMMEDIATE")
            rest = insert(tx, [replace(a, records=a.records[1:], event_ids=a.event_ids[1:],
                stamps_ms=a.stamps_ms[1:], caller_chose=a.caller_chose[1:]) for a in appends])
            receipts = [one + two for one, two in zip(receipts, rest)]
""",
            ),
        ),
        (
            "a call is all there or not at all",
            "rises with seq",
            "an id stands in the journal once",
            "a refused event was not stored",
        ),
    ),
    Bug(
        "the free room that the owner wants is not kept",
        "I7",
        (
            Edit(
                "spool/space.py",
                "        return self.disk_free_bytes() - size < self.limits.min_free_bytes\n",
                "        return False\n",
            ),
        ),
        ("I7: where there is no room nothing is taken",),
    ),
    Bug(
        "a checkpoint on a full disk ends the process",
        "I7",
        (
            Edit(
                "spool/store.py",
                """            if not isinstance(error, SpoolFullError):
                raise error from exc
            # The database can't grow.""",
                """            raise error from exc
            # The database can't grow.""",
            ),
        ),
        ("I7: a full disk ends nothing",),
    ),
    Bug(
        "the last row of a large group is lost",
        "I1, I2",
        (
            Edit(
                "spool/appending.py", "chunk_bounds(len(rows) // 3)", "chunk_bounds(len(rows) // 3 - (len(rows) > 60))"
            ),
        ),
        ("I2: the journal holds what was accepted", "I1", "pending up to", "the journal has none behind"),
    ),
    Bug(
        "an id twice in one group",
        "an id stands in the journal once",
        (Edit("spool/appending.py", "known.get(event_id) or here.get(event_id)", "known.get(event_id)"),),
        ("an id stands in the journal once",),
    ),
    Bug(
        "a caller's repeat is not recognised",
        "an id stands in the journal once",
        (Edit("spool/appending.py", "_known(tx, append, here) if append.has_caller_ids else {}", "{}"),),
        ("an id stands in the journal once",),
    ),
    Bug(
        "a restart forgets the callers' ids",
        "an id stands in the journal once",
        (
            Edit(
                "spool/store.py",
                "            self.state: State = load_state(self.connection)\n",
                """            self.state: State = load_state(self.connection)
            self.connection.execute("DELETE FROM caller_id")
""",
            ),
        ),
        ("an id stands in the journal once",),
    ),
    Bug(
        "an id that was made here is not found again",
        "an id stands in the journal once",
        (Edit("spool/lookup.py", "if stamp > time_ms / 1000:", "if stamp >= time_ms / 1000:"),),
        ("an id stands in the journal once",),
    ),
    Bug(
        "a restart forgets how far the ids' clock was",
        "ids and times rise with seq",
        (Edit("spool/local.py", "last_ms=store.state.spool.last_id_ms", "last_ms=0"),),
        ("rises with seq", "an id stands in the journal once"),
    ),
    Bug(
        "trimming forgets what a lane has pending",
        "I2",
        (
            Edit(
                "spool/retention.py",
                "settled_seq = State(tx.spool, tx.lanes, tx.replays).settled_seq()",
                "settled_seq = tx.spool.last_seq",
            ),
        ),
        ("I1", "I2", "it is not in the journal", "the journal has none behind"),
    ),
    Bug(
        "trimming asks the fastest lane",
        "I2, I5",
        (
            Edit(
                "spool/rows.py",
                "return min(fronts, default=self.spool.last_seq)",
                "return max(fronts, default=self.spool.last_seq)",
            ),
        ),
        ("I1", "I2", "it is not in the journal", "the journal has none behind"),
    ),
    Bug(
        "trimming forgets what a closed lane has pending",
        "I2",
        (
            Edit(
                "spool/rows.py",
                "for lane in self.lanes.values() if lane.ahead(self.spool)]",
                "for lane in self.lanes.values() if lane.ahead(self.spool) and not lane.is_closed]",
            ),
        ),
        ("I1", "I2"),
        seeds=75,
    ),
    Bug(
        "trimming forgets what is still to be kept",
        "delivered events stay for their retention",
        (
            Edit(
                "spool/local.py",
                "older_than_ms = None if is_pressed else self._clock.wall_ms() - self._retention_ms",
                "older_than_ms = None",
            ),
        ),
        ("what is delivered is kept for its retention",),
    ),
    Bug(
        "trimming forgets the ledger without adding it up",
        "I2",
        (
            Edit(
                "spool/retention.py",
                "base_delivered=row.base_delivered + delivered",
                "base_delivered=row.base_delivered",
            ),
        ),
        ("I2: the ledger tells the counters",),
    ),
    Bug(
        "a checksum is not checked",
        "I11",
        (Edit("record.py", "    if stored != actual:\n", "    if stored < 0:\n"),),
        ("I11: what is damaged is never sent",),
        seeds=120,
    ),
    Bug(
        "a damaged record is passed in silence",
        "I4, I11",
        (
            Edit(
                "delivery/feed.py",
                'yield Encoded(event.seq, "", None, DeadLetter(event.seq, DAMAGED, status=None, attempts=0))',
                'yield Encoded(event.seq, "", None, None)',
            ),
        ),
        ("I4: a lane passes only what is taken or set aside", "DecodeError"),
        seeds=120,
    ),
)
