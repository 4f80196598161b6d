"""A machine in a folder of the test's; its systemctl is a script that notes what it is told."""

import stat
from pathlib import Path

import pytest

from common.errors import EdgeError
from edgecore.install.machine import RECORD, UNIT_FILE, Machine

FILE = Path("/etc/cloudedge/edgecore.yaml")


def test_a_file_is_written_once_and_private(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    assert machine.write(FILE, "a: 1\n") == f"written: {FILE}"
    assert machine.write(FILE, "a: 1\n") == f"unchanged: {FILE}"
    assert machine.write(FILE, "a: 2\n") == f"written: {FILE}"
    assert machine.read(FILE) == b"a: 2\n"
    assert stat.S_IMODE(machine.path(FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE(machine.path(RECORD).stat().st_mode) == 0o600


def test_what_was_changed_by_hand_is_kept_beside_and_told(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.write(FILE, "a: 1\n")
    machine.path(FILE).write_text("a: 1 # mine\n")
    line = machine.write(FILE, "a: 2\n")
    assert line.startswith(f"replaced: {FILE}")
    assert "edgecore.yaml.bak" in line
    assert machine.path(FILE).with_name("edgecore.yaml.bak").read_text() == "a: 1 # mine\n"


def test_a_record_that_is_damaged_makes_nothing_ours(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.write(FILE, "a: 1\n")
    machine.path(RECORD).write_text("{")
    assert machine.write(FILE, "a: 2\n").startswith("replaced:")


def test_what_the_service_was_started_with_is_known_beside_what_was_written(
    tmp_path: Path,
) -> None:
    machine = Machine(tmp_path)
    assert not machine.is_started_with("one")
    machine.note_start("one")
    assert machine.write(FILE, "a: 1\n") == f"written: {FILE}"
    assert machine.is_started_with("one")
    assert not machine.is_started_with("two")
    assert machine.write(FILE, "a: 2\n") == f"written: {FILE}"
    machine.path(RECORD).unlink()
    machine.path(RECORD).mkdir()
    with pytest.raises(EdgeError, match=r"\.joined\.json: cannot be"):
        machine.note_start("two")


def test_everybody_may_read_the_unit(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.write(UNIT_FILE, "[Unit]\n")
    assert stat.S_IMODE(machine.path(UNIT_FILE).stat().st_mode) == 0o644


def test_files_and_folders_go_and_what_is_not_there_is_no_news(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.write(FILE, "a")
    assert machine.remove(FILE) == f"removed: {FILE}"
    assert machine.remove(FILE) is None
    assert machine.remove(FILE.parent) == f"removed: {FILE.parent}"
    assert not machine.path(FILE.parent).exists()


def test_what_cannot_be_read_or_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "etc").write_text("")
    with pytest.raises(EdgeError, match=r"edgecore\.yaml: cannot be read"):
        Machine(tmp_path).write(FILE, "a")
    machine = Machine(tmp_path / "new")
    machine.path(FILE).mkdir(parents=True)
    with pytest.raises(EdgeError, match=r"edgecore\.yaml: cannot be read: Is a directory"):
        machine.deed(FILE, "a")


def test_nothing_is_started_in_a_folder() -> None:
    assert not Machine(Path("/nowhere")).has_systemd
    assert Machine(Path("/nowhere")).is_root()
    assert Machine().is_here


def test_systemd_is_told_and_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "systemctl"
    script.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/told\n'
        'case "$1" in start) echo "Unit is masked."; exit 1;; stop) exit 5;; esac\n'
    )
    script.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    machine = Machine()
    machine.systemctl("daemon-reload")
    with pytest.raises(EdgeError, match="systemctl start x: Unit is masked"):
        machine.systemctl("start", "x")
    with pytest.raises(EdgeError, match="systemctl stop x: code 5"):
        machine.systemctl("stop", "x")
    assert (tmp_path / "told").read_text() == "daemon-reload\nstart x\nstop x\n"
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    with pytest.raises(EdgeError, match="systemctl stop"):
        machine.systemctl("stop", "x")
