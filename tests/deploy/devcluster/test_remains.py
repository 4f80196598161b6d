"""Finding what an engine leaves; processes and mounts are real. An engine's: test_containerd.py."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.devcluster import remains


@pytest.fixture
def mounted(containers_run: None, tmp_path: Path) -> Iterator[Path]:
    del containers_run
    folder = tmp_path / "with space"
    folder.mkdir()
    remains.run("mount", "-t", "tmpfs", "none", str(folder))
    yield folder
    remains.run("umount", str(folder))


def test_programs_for_root_are_found_whatever_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert remains.find_program("ldconfig") == "/usr/sbin/ldconfig"
    assert remains.find_program("no-such-program") is None


def test_a_process_is_found_by_its_program_and_folder(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("echo up; read line")
    pipe = subprocess.PIPE
    with subprocess.Popen(["/bin/sh", str(script)], stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        process.stdout.readline()  # while it is being started, its command line is empty
        assert remains.processes_of(tmp_path, "sh") == [process.pid]
        assert remains.processes_of(tmp_path, "bash") == []
        assert remains.processes_of(tmp_path / "other", "sh") == []
        process.communicate()


def test_mounts_are_found_below_a_folder_whatever_their_names(
    mounted: Path, tmp_path: Path
) -> None:
    assert remains.mounts_below(tmp_path) == [mounted]
    assert remains.mounts_below(tmp_path / "other") == []


def test_ending_what_is_not_there_does_nothing(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    remains.end_containers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["root"]


def test_a_command_that_fails_or_is_not_there_says_nothing() -> None:
    assert remains.run("false") == ""
    assert remains.run("no-such-program") == ""
    assert remains.run("echo", "hello") == "hello\n"
