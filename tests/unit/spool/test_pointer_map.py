"""What tells a damaged spool's pages apart may be damaged itself."""

from pathlib import Path

from spoold.spool.quarantine import mark_damaged
from tests.support.events import make_drafts
from tests.support.spools import open_spool
from tests.unit.spool.salvaging import recover

_EVENTS = 500
_PAGE_BYTES = 4096
#: As the format has it: free, and a page that it hangs on, which what is free has not.
_NONSENSE = b"\x02\xaa\xaa\xaa\xaa"


def test_a_pointer_map_that_is_damaged_hides_no_event(state_dir: Path) -> None:
    with open_spool(state_dir) as opened:
        opened.spool.open_lane("a", "mixpanel", "earliest")
        opened.append(make_drafts(_EVENTS))
    content = bytearray((state_dir / "spool.db").read_bytes())
    content[_PAGE_BYTES : 2 * _PAGE_BYTES] = (_NONSENSE * _PAGE_BYTES)[:_PAGE_BYTES]
    (state_dir / "spool.db").write_bytes(content)
    mark_damaged(state_dir, "database disk image is malformed")

    later = recover(state_dir, lanes=("a",))
    [salvage] = later.salvage()

    assert (salvage.recovered, salvage.lost) == (_EVENTS, 0)
    later.spool.close()
