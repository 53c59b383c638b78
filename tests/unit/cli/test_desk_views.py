"""What an operator sees of dead letters and replays, on a narrow screen too."""

import json

from rich.console import Console, RenderableType
from spoolctl.commands.dead import dead_fields, dead_view, grouped, letter_view
from spoolctl.commands.replays import described, replays_view

from spoold.api.spoold.admin.v1 import admin_pb2
from spoold.record import event_fields
from tests.support.clock import START_MS
from tests.support.events import EVENT_ID, make_event

REASON = "properties.time: must be specified as seconds since epoch, and not be older than five years"


def letter(**overrides: object) -> admin_pb2.DeadLetter:
    fields = {
        "lane": "mixpanel", "seq": 42, "event": json.dumps(event_fields(make_event())), "status": 400,
        "reason": REASON, "attempts": 3, "dead_at_ms": START_MS,
    }  # fmt: skip
    return admin_pb2.DeadLetter(**{**fields, **overrides})  # type: ignore[arg-type]


def shown(view: RenderableType, columns: int = 80) -> list[list[str]]:
    """The words of each line."""
    console = Console(width=columns, highlight=False, markup=False, emoji=False, color_system=None)
    with console.capture() as capture:
        console.print(view)
    return [line.split() for line in capture.get().splitlines()]


def test_letters_with_lane_status_and_reason_in_common_are_one_row() -> None:
    letters = [letter(), letter(dead_at_ms=START_MS + 60_000), letter(status=None), letter(lane="crm"), letter()]

    groups = grouped(letters)

    assert [group.count for group in groups.values()] == [3, 1, 1]
    first = groups["mixpanel", 400, REASON]
    assert (first.first_at_ms, first.last_at_ms, first.example) == (START_MS, START_MS + 60_000, EVENT_ID)


def test_the_most_frequent_reason_comes_first() -> None:
    rows = shown(dead_view(grouped([letter(reason="rare"), letter(reason="often"), letter(reason="often")])))

    assert [row[3] for row in rows if "mixpanel" in row] == ["often", "rare"]


def test_reason_and_id_stay_whole_on_a_narrow_screen() -> None:
    words = [word for line in shown(dead_view(grouped([letter()]))) for word in line]

    assert EVENT_ID in words
    assert " ".join(REASON.split()) in " ".join(words)


def test_a_damaged_record_is_known_by_its_seq_alone() -> None:
    damaged = letter(event='{"seq":42}', reason="damaged", status=None)

    fields = dead_fields(damaged)

    assert fields.keys() == dead_fields(letter()).keys()
    assert (fields["seq"], fields["event_id"], fields["properties"], fields["status"]) == (42, None, None, None)
    assert grouped([damaged])["mixpanel", None, "damaged"].example == "seq 42"


def test_nothing_that_a_caller_wrote_commands_the_terminal() -> None:
    event = make_event(event_name="\x1b[2J", properties={"\x9b1m": "\x7f"})
    evil = letter(event=json.dumps(event_fields(event)), reason="\x1b]0;x\x07")

    text = str(shown(letter_view(evil)) + shown(dead_view(grouped([evil]))))

    assert not [char for char in ("\x1b", "\x9b", "\x7f", "\x07") if char in text or repr(char)[1:-1] in text]


def test_a_selection_is_described_in_a_few_words() -> None:
    assert described(admin_pb2.Selection(is_dead=True)) == "dead letters"
    assert described(admin_pb2.Selection(event_ids=[EVENT_ID])) == EVENT_ID
    assert described(admin_pb2.Selection(event_ids=["a", "b"], user_id="u-81")) == "2 ids, user u-81"
    assert described(admin_pb2.Selection(event_names=["a", "b"])) == "event a, event b"


def test_a_replay_fits_on_a_narrow_screen() -> None:
    replay = admin_pb2.Replay(
        id=3, selection=admin_pb2.Selection(lane="mixpanel", is_dead=True), state="running", progress=0.374,
        sent=1234, failed=5, revived=6, created_at_ms=START_MS,
    )  # fmt: skip

    rows = shown(replays_view([replay]))

    assert rows[0] == ["id", "lane", "state", "done", "sent", "failed", "revived", "events,", "started"]
    assert rows[1] == ["3", "mixpanel", "running", "37%", "1234", "5", "6", "dead", "letters"]
