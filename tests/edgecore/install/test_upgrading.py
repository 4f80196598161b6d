"""Upgrades by the real launcher, which a thread starts again as systemd does; versions: scripts."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.errors import EdgeError
from edgecore.install import slots, upgrading
from edgecore.install.joining import link_of
from edgecore.install.machine import Machine
from edgecore.install.slots import SlotError, State
from tests.edgecore.install.daemons import Versions
from tests.edgecore.install.machines import WithSystemd


@pytest.fixture
def versions(tmp_path: Path) -> Versions:
    made = Versions(tmp_path)
    made.add("1.0")
    slots.write_state(made.home, State("1.0"))
    return made


@pytest.fixture
def machine(versions: Versions) -> Iterator[WithSystemd]:
    """Restarting is ending: what runs is started again by itself."""
    keeper = threading.Thread(target=versions.keep_running)
    keeper.start()
    yield WithSystemd(Path("/"), lambda _: versions.end())
    versions.stop()
    keeper.join()


def wait_until_asked(versions: Versions) -> None:
    while link_of(versions.data_dir) is None:
        time.sleep(0.02)


def test_a_new_version_runs_and_the_old_one_again(versions: Versions, machine: WithSystemd) -> None:
    wait_until_asked(versions)
    versions.add("2.0")
    said: list[str] = []
    upgrading.upgrade(versions.home, "2.0", versions.data_dir, machine, said.append)
    assert said == [
        "chosen: version 2.0; 1.0 runs again if it fails",
        "restarted: edgecore.service",
        "works: version 2.0",
    ]
    upgrading.upgrade(versions.home, "2.0", versions.data_dir, machine, said.append)
    assert said[-1].startswith("unchanged")
    upgrading.rollback(versions.home, machine, said.append)
    while versions.started()[-1] != "1.0":
        time.sleep(0.02)
    assert slots.read_state(versions.home).current == "1.0"


def test_a_version_that_fails_is_left_and_that_is_told(
    versions: Versions, machine: WithSystemd
) -> None:
    wait_until_asked(versions)
    versions.add("2.0", crashes=True)
    with pytest.raises(EdgeError, match=r"2\.0 was left again: it ended 3 times.*1\.0 runs"):
        upgrading.upgrade(versions.home, "2.0", versions.data_dir, machine, print)
    wait_until_asked(versions)


def test_without_systemd_it_says_what_to_do(versions: Versions, tmp_path: Path) -> None:
    versions.add("2.0")
    said: list[str] = []
    machine = Machine(tmp_path)
    upgrading.upgrade(versions.home, "2.0", versions.data_dir, machine, said.append)
    assert said[-1].startswith("not restarted")
    assert not slots.read_state(versions.home).wants_link  # nothing was connected


def test_there_is_nothing_to_go_back_to_at_first(versions: Versions, tmp_path: Path) -> None:
    with pytest.raises(SlotError, match="no version to go back to"):
        upgrading.rollback(versions.home, Machine(tmp_path), print)


def test_nobody_goes_back_to_a_version_that_was_removed(versions: Versions, tmp_path: Path) -> None:
    state = State("1.0", "0.9")
    slots.write_state(versions.home, state)
    (slots.slot_of(versions.home, "1.0") / slots.COMPLETE).touch()
    with pytest.raises(SlotError, match=r"0\.9 is not installed any more.*Installed: 1\.0"):
        upgrading.rollback(versions.home, Machine(tmp_path), print)
    assert slots.read_state(versions.home) == state


def test_a_trial_without_an_end_is_told(
    versions: Versions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upgrading, "VERDICT_WITHIN_S", 0.0)
    versions.add("2.0")
    with pytest.raises(EdgeError, match="neither shown"):
        upgrading.upgrade(
            versions.home, "2.0", versions.data_dir, WithSystemd(Path("/")), lambda _: None
        )
