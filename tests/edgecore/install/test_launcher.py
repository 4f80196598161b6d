"""The launcher as a process, with its watcher; the versions are scripts, systemd is the test."""

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from common.health import Health
from common.metrics import Figures
from common.monitor import monitor
from edgecore.datadir import SOCKET
from edgecore.install import launcher, slots
from edgecore.install.slots import MAX_ATTEMPTS, State
from tests.edgecore.install.daemons import Versions
from tests.edgecore.install.fulldisk import full_disk
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
    # Its watcher has ended it, on a machine that is slow perhaps before it could handle that.
    assert versions.start().wait() in {0, -signal.SIGTERM}
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
    left = launcher.watch(tmp_path, "2.0", lambda _: False, lambda: ended.append("now"), poll_s=0)
    assert (left.current, ended) == ("1.0", ["now"])
    assert launcher.watch(tmp_path, "2.0", lambda _: False, lambda: None) == left  # decided already
    assert launcher.watch(tmp_path, "2.0", lambda _: True, lambda: None) == left


def test_a_disk_without_room_for_a_trial_stops_no_edge(
    versions: Versions, capsys: pytest.CaptureFixture[str]
) -> None:
    versions.add("2.0")
    write(versions.data_dir, 3, "old")
    begin(versions, wants_link=False)
    before = slots.read_state(versions.home)
    with full_disk():
        chosen = launcher.prepare(versions.home, before)
        assert launcher.prepare(versions.home, slots.read_state(versions.home)) == chosen
    assert (chosen.current, chosen.on_trial, chosen.failed) == ("1.0", False, "2.0")
    assert slots.read_state(versions.home) == before  # there may be room at the next start
    assert sorted(path.name for path in versions.home.iterdir()) == [
        "edgecore",
        "slots",
        "state.json",
    ]
    told = capsys.readouterr().err
    assert "state.json: cannot be written" in told
    assert "version 2.0 is left: the edge-store could not be kept" in told


def test_a_start_that_cannot_be_counted_is_one_of_the_version_before(
    versions: Versions, capsys: pytest.CaptureFixture[str]
) -> None:
    versions.add("2.0")
    begin(versions, wants_link=False)
    with full_disk():
        chosen = launcher.prepare(versions.home, slots.read_state(versions.home))
    assert (chosen.current, chosen.on_trial) == ("1.0", False)
    assert "version 2.0 is left: no start of it can be counted" in capsys.readouterr().err


def test_a_trial_that_goes_on_after_the_version_before_ran_keeps_the_edge_store_again(
    versions: Versions, capsys: pytest.CaptureFixture[str]
) -> None:
    versions.add("2.0", crashes=True)
    write(versions.data_dir, 3, "old")
    begin(versions, wants_link=False)
    versions.start().wait()
    write(versions.data_dir, 4, "new")
    with full_disk():
        chosen = launcher.prepare(versions.home, slots.read_state(versions.home))
    assert (chosen.current, content(versions.data_dir / "edge-store.db")) == ("1.0", "old")
    for _ in range(MAX_ATTEMPTS - 1):
        versions.start().wait()
    write(versions.data_dir, 4, "new")
    chosen = launcher.prepare(versions.home, slots.read_state(versions.home))
    assert (chosen.current, content(versions.data_dir / "edge-store.db")) == ("1.0", "old")
    capsys.readouterr()


def test_an_edge_store_that_cannot_be_put_back_stops_no_edge(
    versions: Versions, capsys: pytest.CaptureFixture[str]
) -> None:
    (versions.data_dir / "before-upgrade").write_text("in the way")
    state = State("1.0", data_dir=str(versions.data_dir))
    assert launcher.prepare(versions.home, state) == state
    assert "is not put back" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("state", "runs"),
    [
        (State("9.0", "1.0"), "1.0"),
        (State("9.0"), "2.0"),  # any that is installed
        (State("9.0", failed="2.0"), "1.0"),
        (State("2.0", "9.0", on_trial=True, attempts=MAX_ATTEMPTS), "1.0"),
    ],
)
def test_where_somebody_has_removed_what_is_to_run_another_version_does(
    versions: Versions, state: State, runs: str
) -> None:
    versions.add("2.0")
    for version in ("1.0", "2.0"):
        (slots.slot_of(versions.home, version) / slots.COMPLETE).touch()
    chosen = launcher.prepare(versions.home, state)
    assert (chosen.current, chosen.on_trial) == (runs, False)
    assert (chosen.failed, chosen.why) == ("9.0", "it is not installed")
    assert slots.read_state(versions.home) == chosen


def test_the_only_version_runs_even_if_it_has_failed(versions: Versions) -> None:
    versions.add("2.0")
    begin(versions, wants_link=False)
    state = State(**{**vars(slots.read_state(versions.home)), "attempts": MAX_ATTEMPTS})
    shutil.rmtree(slots.slot_of(versions.home, "1.0"))
    chosen = launcher.prepare(versions.home, state)
    assert (chosen.current, chosen.failed) == ("2.0", "1.0")
    done = subprocess.run(
        [slots.launcher_of(versions.home), "--version"], capture_output=True, check=True, text=True
    )
    assert done.stdout == "edgecore 2.0\n"


def test_a_version_is_not_judged_by_the_daemon_of_another(tmp_path: Path) -> None:
    ended: list[str] = []
    state = State("3.0", "1.0", on_trial=True, data_dir=str(tmp_path), trial_s=0.0)
    slots.write_state(tmp_path, state)
    with monitor(None, Health(), Figures(), tmp_path / SOCKET):
        seen = launcher.watch(
            tmp_path, "2.0", lambda _: len(ended) > 9, lambda: ended.append("now"), poll_s=0
        )
    assert (seen, slots.read_state(tmp_path), ended) == (state, state, [])


def test_neither_the_engine_nor_a_full_disk_is_a_versions_fault(tmp_path: Path) -> None:
    state = State("2.0", "1.0", on_trial=True, data_dir=str(tmp_path))
    slots.write_state(tmp_path, state)
    health = Health()
    health.judge("disk", lambda: "no room")
    health.judge("container-engine", lambda: "does not answer")
    health.set_condition("edge-store", "is being opened")
    polls: list[float] = []

    def ended(limit_s: float) -> bool:
        polls.append(limit_s)
        if len(polls) == 3:
            assert slots.read_state(tmp_path).on_trial
            health.set_condition("edge-store")
        return len(polls) > 99

    with monitor(None, health, Figures(), tmp_path / SOCKET):
        assert launcher.watch(tmp_path, "2.0", ended, lambda: None, poll_s=0) == slots.settle(state)


def test_a_version_that_works_on_a_full_disk_is_kept_once_there_is_room(tmp_path: Path) -> None:
    state = State("2.0", "1.0", on_trial=True, data_dir=str(tmp_path), trial_s=0.0)
    slots.write_state(tmp_path, state)
    health = Health()
    health.set_condition("edge-store")
    disk, polls = ExitStack(), []

    def ended(limit_s: float) -> bool:
        polls.append(limit_s)
        if len(polls) == 1:
            disk.enter_context(full_disk())
        elif len(polls) == 2:
            disk.close()
            assert slots.read_state(tmp_path) == state
        return len(polls) > 99

    with disk, monitor(None, health, Figures(), tmp_path / SOCKET):
        kept = launcher.watch(tmp_path, "2.0", ended, lambda: None, poll_s=0)
    assert (kept, len(polls)) == (slots.settle(state), 3)


def test_a_version_that_does_not_work_is_ended_also_where_that_cannot_be_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended: list[str] = []
    state = State("2.0", "1.0", on_trial=True, data_dir=str(tmp_path), trial_s=0.0)
    slots.write_state(tmp_path, state)
    with full_disk():
        launcher.watch(tmp_path, "2.0", lambda _: False, lambda: ended.append("now"), poll_s=0)
    assert ended == ["now"]
    assert "cannot be written" in capsys.readouterr().err
