"""The launcher as a process, with its watcher; the versions are scripts, systemd is the test."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgecore.install import launcher, slots
from edgecore.install.slots import MAX_ATTEMPTS, State
from tests.edgecore.install.daemons import Versions
from tests.edgecore.install.test_storecopy import content, write


@pytest.fixture
def versions(tmp_path: Path) -> Iterator[Versions]:
    made = Versions(tmp_path)
    made.add("1.0")
    slots.write_state(made.home, State("1.0"))
    yield made
    made.stop()


def begin(versions: Versions, *, wants_link: bool, trial_s: float = 60.0) -> None:
    state = slots.begin_trial(
        slots.read_state(versions.home),
        "2.0",
        wants_link=wants_link,
        data_dir=str(versions.data_dir),
    )
    slots.write_state(versions.home, State(**{**vars(state), "trial_s": trial_s}))


def settled(versions: Versions) -> State:
    while (state := slots.read_state(versions.home)).on_trial:
        time.sleep(0.02)
    return state


def test_any_command_is_the_present_versions(versions: Versions) -> None:
    done = subprocess.run(
        [slots.launcher_of(versions.home), "--version"], capture_output=True, check=True, text=True
    )
    assert done.stdout == "edgecore 1.0\n"


def test_a_version_that_works_is_kept(versions: Versions) -> None:
    versions.add("2.0")
    begin(versions, wants_link=True)
    daemon = versions.start()
    state = settled(versions)
    assert (state.current, state.previous, state.attempts) == ("2.0", "1.0", 0)
    assert daemon.poll() is None  # the very process that was started


def test_a_version_that_ends_at_once_is_left_by_itself(versions: Versions) -> None:
    versions.add("2.0", crashes=True)
    begin(versions, wants_link=False)
    for _ in range(MAX_ATTEMPTS):
        assert versions.start().wait() == 1
    versions.start()
    while versions.started()[-1] != "1.0":
        time.sleep(0.02)
    assert versions.started() == ["2.0"] * MAX_ATTEMPTS + ["1.0"]
    state = slots.read_state(versions.home)
    assert (state.current, state.failed) == ("1.0", "2.0")


def test_a_version_that_does_not_connect_as_the_one_before_did_is_ended_and_left(
    versions: Versions,
) -> None:
    versions.add("2.0", connected=False)
    begin(versions, wants_link=True, trial_s=1.5)
    assert versions.start().wait() == 0  # its watcher has ended it
    state = slots.read_state(versions.home)
    assert (state.current, state.failed) == ("1.0", "2.0")
    assert "did not work within 1.5 s" in state.why


def test_an_edge_without_a_cloud_is_upgraded_all_the_same(versions: Versions) -> None:
    versions.add("2.0", connected=False)
    begin(versions, wants_link=False)
    versions.start()
    assert settled(versions).current == "2.0"


def test_a_version_that_is_not_there_is_left_at_once(
    versions: Versions, capsys: pytest.CaptureFixture[str]
) -> None:
    begin(versions, wants_link=False)
    chosen = launcher.prepare(versions.home, slots.read_state(versions.home))
    assert (chosen.current, chosen.why) == ("1.0", "it is not installed")
    assert "version 2.0 is left" in capsys.readouterr().err


def test_a_version_gets_back_an_edge_store_that_the_next_one_has_changed(
    versions: Versions, capsys: pytest.CaptureFixture[str]
) -> None:
    versions.add("2.0", crashes=True)
    write(versions.data_dir, 3, "old")
    begin(versions, wants_link=False)
    for _ in range(MAX_ATTEMPTS):
        versions.start().wait()
    write(versions.data_dir, 4, "new")
    chosen = launcher.prepare(versions.home, slots.read_state(versions.home))
    assert chosen.current == "1.0"
    assert content(versions.data_dir / "edge-store.db") == "old"
    assert "has its edge-store from before the upgrade again" in capsys.readouterr().err


def test_without_room_for_the_edge_store_there_is_no_trial(versions: Versions) -> None:
    versions.add("2.0")
    write(versions.data_dir, 3, "old")
    (versions.data_dir / ".before-upgrade").write_text("in the way")
    begin(versions, wants_link=False)
    chosen = launcher.prepare(versions.home, slots.read_state(versions.home))
    assert chosen.current == "1.0"
    assert "could not be kept" in chosen.why


def test_what_cannot_be_run_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert launcher.main(tmp_path, ["run"]) == 2
    slots.write_state(tmp_path, State("1.0"))
    assert launcher.main(tmp_path, ["run"]) == 1
    (tmp_path / "state.json").write_text("{")
    assert launcher.main(tmp_path, ["run"]) == 1
    told = capsys.readouterr().err
    assert "no version is installed" in told
    assert "No such file" in told
    assert "cannot be read" in told


def test_a_daemon_that_nobody_can_ask_does_not_work(tmp_path: Path) -> None:
    ended: list[str] = []
    state = State("2.0", "1.0", on_trial=True, data_dir=str(tmp_path), trial_s=0.0)
    slots.write_state(tmp_path, state)
    left = launcher.watch(tmp_path, lambda _: False, lambda: ended.append("now"), poll_s=0)
    assert (left.current, ended) == ("1.0", ["now"])
    assert launcher.watch(tmp_path, lambda _: False, lambda: None) == left  # decided already
    assert launcher.watch(tmp_path, lambda _: True, lambda: None) == left
