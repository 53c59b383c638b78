"""I7: who gets room and who is refused, with which reason; and that it ends when there is room again."""

from pathlib import Path

import pytest

from spoold.errors import SpoolFullError
from spoold.spool.space import Space, SpaceLimits
from tests.support.events import make_big_drafts, make_draft, make_drafts
from tests.support.spools import KIB, MIB, OpenSpool, open_spool


def make_space(directory: Path, *, free: int = 1024 * MIB, **limits: int) -> Space:
    fields = {"max_bytes": 100 * MIB, "min_free_bytes": 8 * MIB, **limits}
    return Space(directory, SpaceLimits(**fields), free=lambda _: free)


def reason(error: SpoolFullError | None) -> str | None:
    return None if error is None else error.reason


@pytest.mark.parametrize(
    ("min_free_bytes", "reserve_bytes", "checkpoint_bytes"),
    [
        (0, 0, 64 * KIB),
        (1 * MIB, 256 * KIB, 64 * KIB),
        (8 * MIB, 2 * MIB, 512 * KIB),
        (64 * MIB, 16 * MIB, 4 * MIB),
        (256 * MIB, 16 * MIB, 4 * MIB),
    ],
)
def test_reserve_and_checkpoint_follow_the_room_to_be_kept(
    min_free_bytes: int, reserve_bytes: int, checkpoint_bytes: int
) -> None:
    limits = SpaceLimits(max_bytes=MIB, min_free_bytes=min_free_bytes)

    assert (limits.reserve_bytes, limits.checkpoint_bytes) == (reserve_bytes, checkpoint_bytes)


@pytest.mark.parametrize(
    ("used", "size", "free", "expected"),
    [
        (0, 0, 8 * MIB, None),
        (0, 0, 8 * MIB - 1, "min_free_bytes"),
        (0, MIB, 9 * MIB, None),
        (0, MIB + 1, 9 * MIB, "min_free_bytes"),
        (100 * MIB, 0, 1024 * MIB, None),
        (100 * MIB, 1, 1024 * MIB, "max_bytes"),
        (99 * MIB, MIB, 1024 * MIB, "max_bytes"),
        (98 * MIB, MIB, 1024 * MIB, None),
        (101 * MIB, 0, 1024 * MIB, "max_bytes"),
    ],
)
def test_an_append_is_refused_beyond_the_owners_limits(
    state_dir: Path, used: int, size: int, free: int, expected: str | None
) -> None:
    assert reason(make_space(state_dir, free=free).refusal(used, size)) == expected


def test_a_log_that_a_reader_pins_is_refused_beyond_its_bound(state_dir: Path) -> None:
    space = make_space(state_dir)
    space.wal_frame_bytes = space.limits.pinned_wal_bytes
    assert space.refusal(0) is None

    space.wal_frame_bytes += 1
    assert reason(space.refusal(0)) == "wal"


def test_a_refusal_says_why_and_when_to_come_again(state_dir: Path) -> None:
    error = make_space(state_dir, max_bytes=1000).refusal(2000)

    assert error is not None
    assert "holds 2000 bytes and spool.max_bytes is 1000; nothing was stored" in str(error)
    assert error.retry_after_seconds == 5


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([], []),
        ([MIB], [None]),
        ([MIB, MIB, MIB], [None, None, "max_bytes"]),
        ([5 * MIB, MIB], ["max_bytes", None]),
        ([MIB, 5 * MIB, MIB, 5 * MIB], [None, "max_bytes", None, "max_bytes"]),
    ],
)
def test_of_a_group_those_are_taken_that_fit(state_dir: Path, sizes: list[int], expected: list[str | None]) -> None:
    admitted = make_space(state_dir).admit(sizes, lambda: 100 * MIB - 5 * MIB // 2)

    assert [reason(one) for one in admitted] == expected


@pytest.mark.parametrize(
    ("max_mib", "free_mib", "looks"), [(1024, 1024, 3), (100, 1024, 8), (94, 1024, 40), (1024, 72, 40), (1024, 60, 40)]
)
def test_the_disk_is_looked_at_now_and_then_and_each_time_when_a_limit_is_near(
    state_dir: Path, max_mib: int, free_mib: int, looks: int
) -> None:
    space = make_space(state_dir, free=free_mib * MIB, max_bytes=max_mib * MIB)
    looked: list[int] = []

    def look() -> int:
        looked.append(1)
        return 30 * MIB

    for _ in range(40):
        assert space.admit([MIB], look) == [None]

    assert len(looked) == looks


def test_the_housekeepers_look_makes_the_next_append_look_too(state_dir: Path) -> None:
    free = {"bytes": 1024 * MIB}
    space = Space(state_dir, SpaceLimits(1024 * MIB, 8 * MIB), free=lambda _: free["bytes"])
    assert space.admit([1], lambda: 0) == [None]
    free["bytes"] = 0
    space.recheck()

    assert [reason(one) for one in space.admit([1], lambda: 0)] == ["min_free_bytes"]


@pytest.mark.parametrize(("used", "free", "expected"), [(90, 100, False), (91, 100, True), (0, 7, True)])
def test_delivered_events_give_way_when_either_limit_is_near(
    state_dir: Path,
    used: int,
    free: int,
    expected: bool,  # noqa: FBT001
) -> None:
    assert make_space(state_dir, free=free * MIB).is_pressed(used * MIB) is expected


def test_the_reserve_is_made_where_there_is_room_and_only_then(state_dir: Path) -> None:
    make_space(state_dir, free=10 * MIB).recheck()
    assert not (state_dir / "reserve").exists()

    make_space(state_dir, free=10 * MIB + 1).recheck()
    assert (state_dir / "reserve").stat().st_blocks * 512 >= 2 * MIB


def test_a_full_disk_costs_the_reserve_and_keeps_appends_out_until_there_is_room(state_dir: Path) -> None:
    free = {"bytes": 1024 * MIB}
    space = Space(state_dir, SpaceLimits(100 * MIB, 8 * MIB), free=lambda _: free["bytes"])
    space.recheck()
    space.note_disk_full()
    assert reason(space.refusal(0)) == "disk"
    assert not (state_dir / "reserve").exists()

    free["bytes"] = 9 * MIB
    space.recheck()
    assert reason(space.refusal(0)) == "disk"
    free["bytes"] = 11 * MIB
    space.recheck()
    assert space.refusal(0) is None
    assert (state_dir / "reserve").exists()


def test_a_reserve_that_a_crash_left_half_made_is_made_whole(state_dir: Path) -> None:
    (state_dir / "reserve").write_bytes(b"")

    make_space(state_dir).recheck()

    assert (state_dir / "reserve").stat().st_size == 2 * MIB


def test_a_reserve_that_can_not_be_made_keeps_nobody_from_working(state_dir: Path) -> None:
    """The disk has no inode left, or the process no descriptor: here, the name is taken."""
    (state_dir / "reserve").mkdir()
    space = Space(state_dir, SpaceLimits(1024 * MIB, 4 * MIB), free=lambda _: 1024 * MIB)

    space.recheck()

    assert space.refusal(0, 1) is None


def test_a_full_spool_refuses_and_takes_again_once_there_is_room(state_dir: Path) -> None:
    with open_spool(state_dir, max_bytes=6 * MIB, min_free_bytes=MIB) as opened:
        opened.spool.open_lane("mixpanel", "mixpanel", "earliest")
        accepted = fill_up(opened)
        with pytest.raises(SpoolFullError, match="max_bytes"):
            opened.append(make_big_drafts(5))

        opened.settle(opened.spool.claim("mixpanel"), accepted)
        while opened.spool.trim(100):
            pass

        assert len(opened.append(make_big_drafts(20))) == 20
        assert opened.lane("mixpanel").delivered == accepted


def fill_up(opened: OpenSpool) -> int:
    """Append until there is no room; how many events fitted."""
    accepted = 0
    while opened.spool.stats().refusing is None:
        try:
            accepted += len(opened.append(make_big_drafts(5)))
        except SpoolFullError:
            break
    return accepted


def test_dead_letters_and_the_log_count_towards_the_limit(state_dir: Path) -> None:
    with open_spool(state_dir, max_bytes=8 * MIB) as opened:
        opened.spool.open_lane("mixpanel", "mixpanel", "earliest")
        accepted = fill_up(opened)
        opened.settle(opened.spool.claim("mixpanel"), accepted, dead=range(1, accepted + 1))
        while opened.spool.trim(100):
            pass

        assert opened.spool.stats().dead_bytes > accepted * 20_000
        with pytest.raises(SpoolFullError, match="max_bytes"):
            opened.append(make_big_drafts(100))


def test_a_disk_that_runs_low_refuses_and_takes_again_once_there_is_room(spool: OpenSpool, lane: str) -> None:
    spool.append(make_drafts(2))
    spool.free_bytes = spool.limits.min_free_bytes - 1
    # The housekeeper's look, once a second.
    spool.spool.trim(1)
    with pytest.raises(SpoolFullError, match="min_free_bytes"):
        spool.append([make_draft()])
    assert spool.spool.stats().refusing == "min_free_bytes"
    spool.settle(spool.spool.claim(lane), 2)

    spool.free_bytes = 1024 * MIB
    assert spool.spool.stats().refusing is None
    assert spool.append([make_draft()])[0].seq == 3


def test_the_figures_tell_how_the_spool_stands(spool: OpenSpool, lane: str) -> None:
    spool.append(make_big_drafts(20))
    spool.settle(spool.spool.claim(lane), 5, dead=[1, 2])

    stats = spool.spool.stats()
    assert (stats.accepted, stats.pending, stats.retained) == (20, 15, 5)
    assert stats.bytes == sum((spool.directory / name).stat().st_size for name in ("spool.db", "spool.db-wal"))
    assert stats.wal_bytes == (spool.directory / "spool.db-wal").stat().st_size
    assert (stats.max_bytes, stats.disk_free_bytes) == (1024 * MIB, 1024 * MIB)
    assert 40_000 < stats.dead_bytes < 41_000
