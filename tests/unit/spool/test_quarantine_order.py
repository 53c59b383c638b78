"""Which of several damaged spools is the newest, whatever the clock says."""

from pathlib import Path

import orjson

from spoold.spool.quarantine import mark_damaged, quarantines
from tests.support.events import make_drafts
from tests.support.spools import open_spool
from tests.unit.spool.salvaging import recover

_DAY_MS = 86_400_000


def test_a_clock_that_went_back_does_not_make_an_older_spool_the_newest(state_dir: Path) -> None:
    with open_spool(state_dir) as opened:
        opened.spool.open_lane("a", "mixpanel", "earliest")
        opened.append(make_drafts(10))
    mark_damaged(state_dir, "database disk image is malformed")
    again = recover(state_dir, lanes=("a",))
    again.salvage()
    again.spool.command("a", "pause")
    again.spool.close()
    # The first one was found when the clock was a day ahead.
    note = next(state_dir.glob("quarantine/*/quarantine.json"))
    content = orjson.loads(note.read_bytes())
    content["found_at_ms"] += _DAY_MS
    note.write_bytes(orjson.dumps(content))
    mark_damaged(state_dir, "database disk image is malformed")

    last = recover(state_dir, lanes=("a",))
    last.salvage()

    assert next(one.folder for one in quarantines(state_dir)) == note.parent
    assert last.lane("a").is_paused
    assert sum(salvage.recovered for salvage in last.spool.salvages()) == 20
    last.spool.close()
