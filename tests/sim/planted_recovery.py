"""Planted bugs of quarantine, salvage and migration."""

from tests.sim.bug import Bug, Edit

_NEVER_MOVED = "a healthy spool is never moved"
_ON_DISK = "I1: an acknowledged event is on disk"
_READABLE = "what was readable is salvaged"
_ARRIVES = "I2: every acknowledged event arrives"
_ITS_OWN = "only a disk that fails ends the process"
_PENDING = "what is salvaged is pending where it was"
_TOLD = "what was lost is told"
_BEGUN = "what is moved aside is to be salvaged"

RECOVERY = (
    Bug(
        "what is moved aside is not salvaged",
        "an acknowledged event is delivered or set aside",
        (Edit("spool/damage.py", "    if not fresh:\n", "    if fresh:\n"),),
        (_BEGUN,),
    ),
    Bug(
        "the old names go before the quarantine is complete",
        "a crash in a quarantine loses nothing",
        (Edit("spool/quarantine.py", "        _sync(directory / QUARANTINE_NAME)\n", ""),),
        (_ON_DISK, _ARRIVES, _ITS_OWN, _READABLE),
        seeds=400,
    ),
    Bug(
        "a quarantine's note is not synced",
        "a crash in a quarantine loses nothing",
        (
            Edit(
                "spool/quarantine.py",
                "        os.write(fd, content)\n        os.fsync(fd)\n",
                "        os.write(fd, content)\n",
            ),
        ),
        (_ON_DISK, _ARRIVES, _BEGUN),
        seeds=400,
    ),
    Bug(
        "a mark of damage is not heeded",
        "damage leads to quarantine",
        (
            Edit(
                "spool/quarantine.py",
                "        return (directory / MARK_NAME)",
                "        return None and (directory / MARK_NAME)",
            ),
        ),
        (
            "a spool that is known to be damaged is moved aside",
            "DatabaseError",
            _ITS_OWN,
            "malformed",
            "what was damaged is set aside wherever it was pending, and no more",
        ),
    ),
    Bug(
        "a mark of damage outlives the quarantine",
        "a healthy spool is never moved",
        (Edit("spool/quarantine.py", "    (directory / MARK_NAME).unlink(missing_ok=True)\n", ""),),
        (_NEVER_MOVED,),
    ),
    Bug(
        "a disk that fails is taken for damage",
        "a healthy spool is never moved",
        (
            Edit(
                "spool/store.py",
                "if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):",
                "if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR):",
            ),
        ),
        (_NEVER_MOVED, _ITS_OWN),
        seeds=100,
    ),
    Bug(
        "a log is taken as far as it goes",
        "damage is noticed",
        (Edit("spool/leftover.py", "    if is_synced and hides", "    if not is_synced and hides"),),
        ("a log that is damaged in its midst is noticed",),
        seeds=500,
    ),
    Bug(
        "a log that was torn is taken for damage",
        "a healthy spool is never moved",
        (
            Edit(
                "spool/wal.py",
                "        end = frame if frame.is_commit else None\n    return False",
                "        end = frame\n    return end is not None",
            ),
        ),
        (_NEVER_MOVED,),
    ),
    Bug(
        "a salvage forgets what it has brought over",
        "brought over once",
        (
            Edit(
                "spool/salvage.py",
                "        portion = take_portion(remains, salvage.position)\n",
                "        salvage = salvage._replace(recovered=0)\n"
                "        portion = take_portion(remains, salvage.position)\n",
            ),
        ),
        ("only what the damage touched is lost",),
        seeds=300,
    ),
    Bug(
        "a salvage skips a page",
        "what was readable is brought over",
        (
            Edit(
                "spool/salvage.py",
                "    return Portion(pieces, position, size)",
                "    return Portion(pieces, min(position + 1, remains.count), size)",
            ),
        ),
        (_READABLE, _ARRIVES, _TOLD),
    ),
    Bug(
        "a salvage forgets what stood aside",
        "what was readable is brought over",
        (
            Edit(
                "spool/remains.py",
                "                self._asides.append(number)\n                self._note_deferred(number)\n",
                "",
            ),
        ),
        (_READABLE, _ARRIVES, _PENDING),
        seeds=300,
    ),
    Bug(
        "what is salvaged goes to every lane",
        "I4",
        (Edit("spool/salvage.py", "    return lane.name in wanted.lanes or (", "    return bool(lane.name) or ("),),
        ("I4: what is salvaged goes to nobody who was done with it",),
        seeds=300,
    ),
    Bug(
        "a lane that is closed loses what it had pending to a salvage",
        "I4",
        (
            Edit(
                "spool/salvage.py",
                "if lane.is_closed and lane.name in names]",
                "if lane.is_closed and lane.name in names[:0]]",
            ),
        ),
        (_PENDING,),
        seeds=150,
    ),
    Bug(
        "a salvage passes records on unread",
        "I11",
        (
            Edit(
                "spool/facts.py",
                "    except RecordDamagedError:\n        return False\n",
                "    except RecordDamagedError:\n        return isinstance(data, bytes) and len(data) > 20\n",
            ),
        ),
        ("I3", "I11", "Wire format", "only what the damage touched"),
        seeds=200,
    ),
    Bug(
        "a salvage tells of no loss",
        "what was lost is told",
        (
            Edit(
                "spool/salvage.py",
                'salvage._replace(state="done", lost=lost,',
                'salvage._replace(state="done", lost=0,',
            ),
        ),
        (_TOLD,),
        seeds=300,
    ),
    Bug(
        "a salvage tells of more than was lost",
        "only what the damage touched is lost",
        (
            Edit(
                "spool/salvage.py",
                'salvage._replace(state="done", lost=lost,',
                'salvage._replace(state="done", lost=lost + 1,',
            ),
        ),
        ("only what the damage touched is lost",),
        seeds=300,
    ),
    Bug(
        "a quarantine forgets who was paused",
        "an operator's word",
        (
            Edit(
                "spool/salvage.py",
                "                is_closed=1,\n",
                "                is_closed=1,\n                is_paused=0,\n",
            ),
        ),
        ("an operator's pause outlives the damage",),
        seeds=300,
    ),
    Bug(
        "the newest quarantine is told by the clock",
        "an operator's word",
        (Edit("spool/quarantine.py", "(one.beginning, one.folder)", "(one.found_at_ms, one.folder)"),),
        ("an operator's pause outlives the damage", "I4: what is salvaged goes to nobody who was done with it"),
        seeds=900,
    ),
    Bug(
        "a migration commits each of its statements",
        "a crash in a migration",
        (
            Edit(
                "spool/schema.py",
                "                connection.execute(statement)\n",
                '                connection.execute(statement)\n                connection.execute("COMMIT")\n'
                '                connection.execute("BEGIN IMMEDIATE")\n',
            ),
        ),
        (_ITS_OWN,),
        seeds=300,
    ),
    Bug(
        "a migration is noted before it is done",
        "a crash in a migration",
        (
            Edit(
                "spool/schema.py",
                "        for number in pending:\n",
                "        if pending:\n"
                '            connection.execute("DELETE FROM schema")\n'
                '            connection.execute("INSERT INTO schema VALUES (?, ?)", (newest, 2))\n'
                '            connection.execute("COMMIT")\n'
                '            connection.execute("BEGIN IMMEDIATE")\n'
                "        for number in pending:\n",
            ),
        ),
        (_ITS_OWN, "no such table"),
        seeds=300,
    ),
    Bug(
        "a migration fills in what was never counted",
        "I2",
        (
            Edit(
                "spool/migrations/0002_aside.sql",
                "ADD COLUMN base_purged INTEGER NOT NULL DEFAULT 0;",
                "ADD COLUMN base_purged INTEGER NOT NULL DEFAULT 1;",
            ),
        ),
        ("I2: the ledger tells the counters",),
        seeds=100,
    ),
)
