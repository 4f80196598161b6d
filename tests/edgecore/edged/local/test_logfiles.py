"""Names of log files. Nothing is faked."""

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from edgecore.edged.local.logfiles import (
    Rotation,
    plan_rotation,
    rotated,
    rotated_name,
    starts_logged,
)
from tests.edgecore.edged.bus import START

LOG = "0.log"
OLD, MIDDLE, NEW = (f"0.log.2026112{day}-000000" for day in (1, 2, 3))


def test_rotated_files_are_in_order_whatever_their_names_are_made_of() -> None:
    names = [NEW, f"{OLD}.gz", LOG, MIDDLE, "10.log.20261120-000000", "0.log.mine", f"{NEW}.tmp"]
    assert rotated(LOG, names) == [f"{OLD}.gz", MIDDLE, NEW]
    assert rotated(LOG, ["0.log.1", "0.log.10", "0.log.2", LOG]) == [
        "0.log.10",
        "0.log.2",
        "0.log.1",
    ]


def test_a_file_whose_compressed_one_is_there_is_not_read_twice() -> None:
    assert rotated(LOG, [OLD, f"{OLD}.gz"]) == [f"{OLD}.gz"]


def test_room_is_made_for_the_file_that_is_moved_away_and_the_new_one() -> None:
    names = [LOG, f"{OLD}.gz", MIDDLE, NEW]
    assert plan_rotation(LOG, names, 5) == Rotation((), (MIDDLE, NEW))
    assert plan_rotation(LOG, names, 4) == Rotation((f"{OLD}.gz",), (MIDDLE, NEW))
    assert plan_rotation(LOG, names, 2) == Rotation((f"{OLD}.gz", MIDDLE, NEW), ())
    assert plan_rotation(LOG, names, 0) == plan_rotation(LOG, names, 2)


def test_what_an_interrupted_rotation_left_goes_and_other_files_stay() -> None:
    names = [LOG, OLD, f"{OLD}.gz", f"{NEW}.tmp", "0.log.mine", "1.log.20261121-000000"]
    assert plan_rotation(LOG, names, 5) == Rotation((OLD, f"{NEW}.tmp"), ())


def test_a_moved_file_is_named_after_the_time_in_utc() -> None:
    now = datetime(2026, 11, 24, 8, 0, 5, tzinfo=timezone(timedelta(hours=1)))
    assert rotated_name(LOG, [LOG], now) == "0.log.20261124-070005"


def test_its_name_comes_last_also_when_the_clock_was_set_back() -> None:
    assert rotated_name(LOG, [f"{NEW}.gz"], datetime(1970, 1, 1, tzinfo=UTC)) == (
        "0.log.20261123-000001"
    )
    assert rotated_name(LOG, ["0.log.99999999-999999"], START) == "0.log.20261124-000000"
    assert rotated_name(LOG, ["0.log.99991231-235959"], START) == "0.log.20261124-000000"


@given(st.lists(st.timedeltas(timedelta(days=-9000), timedelta(days=9000)), max_size=8))
def test_any_rotations_are_in_the_order_in_which_they_happened(jumps: list[timedelta]) -> None:
    made: list[str] = []
    for jump in jumps:
        made.append(rotated_name(LOG, made, START + jump))
    assert rotated(LOG, [*reversed(made), LOG]) == made


@given(st.integers(0, 9), st.integers(2, 6), st.sets(st.integers(0, 8)))
def test_there_are_never_more_files_than_allowed(
    count: int, max_files: int, compressed: set[int]
) -> None:
    names = [f"0.log.2026112{n}-000000{'.gz' * (n in compressed)}" for n in range(count)]
    plan = plan_rotation(LOG, [LOG, *names], max_files)
    kept = [name for name in names if name not in plan.remove]
    assert len(kept) + 2 <= max_files or not kept
    assert set(plan.compress) == {name for name in kept if not name.endswith(".gz")}
    assert kept == names[len(names) - len(kept) :]


def test_the_names_of_logs_tell_how_often_a_container_was_started() -> None:
    assert starts_logged([]) == 0
    assert starts_logged(["0.log"]) == 1
    assert starts_logged(["0.log", "9.log", "10.log", "10.log.20261124-070809.gz"]) == 11
    assert starts_logged(["7.log.20261124-070809"]) == 8
    assert starts_logged(["99.txt", "x.log", "-3.log", "1234567890.log", "2log"]) == 0
