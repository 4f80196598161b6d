"""Versions side by side: rules, and real files."""

import os
import stat
from pathlib import Path

import pytest

from edgecore.install import slots
from edgecore.install.slots import MAX_ATTEMPTS, SlotError, State
from tests.edgecore.install.fulldisk import full_disk

OLD = State("1.0", "0.9")


def trial(**more: object) -> State:
    begun = slots.begin_trial(OLD, "2.0", wants_link=True, data_dir="/d")
    return State(**{**vars(begun), **more})


def test_a_new_version_is_on_trial_and_the_good_one_is_remembered() -> None:
    assert trial() == State("2.0", "1.0", on_trial=True, wants_link=True, data_dir="/d")
    assert slots.begin_trial(OLD, "1.0", wants_link=True, data_dir="/d") == OLD


def test_the_first_version_has_nothing_to_go_back_to() -> None:
    first = slots.begin_trial(State(), "1.0", wants_link=False, data_dir="/d")
    assert not first.on_trial
    assert slots.give_up(first, "x") == first


def test_a_version_on_trial_that_is_replaced_leaves_the_good_one_remembered() -> None:
    again = slots.begin_trial(trial(attempts=2), "3.0", wants_link=False, data_dir="/d")
    assert (again.current, again.previous, again.attempts) == ("3.0", "1.0", 0)


def test_starts_on_trial_are_counted_and_after_too_many_the_good_one_runs() -> None:
    state = trial()
    for attempt in range(1, MAX_ATTEMPTS + 1):
        state = slots.choose(state)
        assert (state.current, state.attempts) == ("2.0", attempt)
    state = slots.choose(state)
    assert (state.current, state.on_trial, state.failed) == ("1.0", False, "2.0")
    assert "ended 3 times" in state.why
    assert slots.choose(state) == state


def test_a_version_that_works_is_good_for_ever() -> None:
    good = slots.settle(trial(attempts=MAX_ATTEMPTS))
    assert (good.current, good.previous, good.on_trial) == ("2.0", "1.0", False)
    assert slots.choose(good) == good


def test_somebody_may_go_back_and_forth() -> None:
    assert slots.go_back(trial()).current == "1.0"
    back = slots.go_back(slots.settle(trial()))
    assert (back.current, back.previous) == ("1.0", "2.0")
    with pytest.raises(SlotError, match="no version to go back to"):
        slots.go_back(State("1.0"))


def test_a_version_works_if_it_is_ready_and_connected_where_the_one_before_was() -> None:
    connected, cut = {"edgehub": {"connected": True}}, {"edgehub": {"connected": False}}
    offline = trial(wants_link=False)
    assert slots.is_healthy(trial(), connected, is_ready=True)
    assert not slots.is_healthy(trial(), cut, is_ready=True)
    assert not slots.is_healthy(trial(), connected, is_ready=False)
    assert slots.is_healthy(offline, cut, is_ready=True)
    assert not slots.is_healthy(offline, cut, is_ready=False)


def test_a_status_that_says_nothing_is_not_connected() -> None:
    assert not slots.is_healthy(trial(), {}, is_ready=True)
    assert not slots.is_healthy(trial(), {"edgehub": 7}, is_ready=True)


@pytest.mark.parametrize("text", ["", "..", "a/b", "/a", "a..b", "-x", "a b", "x" * 65])
def test_a_version_cannot_lead_out_of_its_folder(text: str) -> None:
    with pytest.raises(SlotError, match="no version"):
        slots.slot_of(Path("/h"), text)


def test_places_are_below_the_home() -> None:
    assert slots.program_of(Path("/h"), "1.0+a") == Path("/h/slots/1.0+a/bin/edgecore")
    assert slots.launcher_of(Path("/h")) == Path("/h/edgecore")
    assert slots.is_in_slot(Path("/h/slots/1.0"), Path("/h"))
    assert not slots.is_in_slot(Path("/usr"), Path("/h"))


def test_the_state_is_kept_whole_and_anybody_may_read_it(tmp_path: Path) -> None:
    assert slots.read_state(tmp_path) == State()
    slots.write_state(tmp_path, trial())
    assert slots.read_state(tmp_path) == trial()
    assert os.listdir(tmp_path) == ["state.json"]
    assert stat.S_IMODE((tmp_path / "state.json").stat().st_mode) == 0o644


def test_a_state_that_cannot_be_read_or_kept_says_what_to_do(tmp_path: Path) -> None:
    for text in ("{", "[]", '{"odd": 1}'):
        (tmp_path / "state.json").write_text(text)
        with pytest.raises(SlotError, match="write"):
            slots.read_state(tmp_path)
    with pytest.raises(SlotError, match="cannot be written"):
        slots.write_state(tmp_path / "none", OLD)


def test_a_state_for_which_there_is_no_room_leaves_the_one_before_and_nothing_else(
    tmp_path: Path,
) -> None:
    slots.write_state(tmp_path, OLD)
    with full_disk(), pytest.raises(SlotError, match="cannot be written"):
        slots.write_state(tmp_path, trial())
    assert slots.read_state(tmp_path) == OLD
    assert os.listdir(tmp_path) == ["state.json"]


def test_a_state_is_changed_only_by_whoever_has_seen_it(tmp_path: Path) -> None:
    slots.write_state(tmp_path, trial())
    assert not slots.change_state(tmp_path, OLD, slots.settle(OLD))
    assert slots.read_state(tmp_path) == trial()
    assert slots.change_state(tmp_path, trial(), slots.settle(trial()))
    assert slots.read_state(tmp_path) == slots.settle(trial())


def test_what_is_installed_is_what_is_complete_and_the_last_one_comes_first(
    tmp_path: Path,
) -> None:
    for number, version in enumerate(("2.0", "1.0", "half", "no program", "empty")):
        program = slots.slot_of(tmp_path, "x").with_name(version) / "bin" / "edgecore"
        program.parent.mkdir(parents=True)
        if version != "empty":
            program.touch()
        if version != "half":
            mark = program.parents[1] / slots.COMPLETE
            mark.touch()
            os.utime(mark, (number, number))
    assert slots.installed(tmp_path) == ["1.0", "2.0"]
    assert slots.installed(tmp_path / "none") == []
