"""The last words of containers: files are real, statuses are made by hand."""

import os
from pathlib import Path

import pytest

from edgecore.edged.runtime.cri import cri_pb2 as cri
from edgecore.edged.runtime.cri import names
from edgecore.edged.runtime.cri.lastwords import last_words


def status(
    folder: Path, policy: str = names.POLICY_FILE, exit_code: int = 1
) -> cri.ContainerStatus:
    return cri.ContainerStatus(
        exit_code=exit_code,
        annotations={names.MESSAGE_PATH: "/dev/end", names.MESSAGE_POLICY: policy},
        mounts=[
            cri.Mount(container_path="/other", host_path=str(folder / "other")),
            cri.Mount(container_path="/dev/end", host_path=str(folder / "end")),
        ],
        log_path=str(folder / "0.log"),
    )


def log(folder: Path, *lines: str) -> None:
    text = "".join(f"2026-01-01T00:00:00.123456789Z {line}" for line in lines)
    (folder / "0.log").write_text(text)


def test_the_file_is_the_message(tmp_path: Path) -> None:
    (tmp_path / "end").write_text("it hurt\n")
    assert last_words(status(tmp_path)) == "it hurt\n"


def test_the_end_of_a_long_file_counts(tmp_path: Path) -> None:
    (tmp_path / "end").write_text("a" * 10 + "b" * 4096)
    assert last_words(status(tmp_path)) == "b" * 4096


def test_bytes_that_are_no_text_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "end").write_bytes(b"a\xffb")
    assert last_words(status(tmp_path)) == "a\ufffdb"


def test_there_may_be_no_file_and_no_mount(tmp_path: Path) -> None:
    assert last_words(status(tmp_path)) == ""
    assert last_words(cri.ContainerStatus(exit_code=1)) == ""


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "end")
    assert last_words(status(tmp_path)) == ""


def test_a_file_that_cannot_be_read_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "end").symlink_to("end")
    assert last_words(status(tmp_path)).startswith("Error on reading termination log: Too many")


def test_the_log_stands_for_a_file_that_was_not_written(tmp_path: Path) -> None:
    (tmp_path / "end").touch()
    log(tmp_path, "stdout F one\n", "stderr P tw\n", "stderr F o\n", "stdout F \n")
    assert last_words(status(tmp_path, names.POLICY_LOG)) == "one\ntwo\n\n"


@pytest.mark.parametrize(("policy", "exit_code"), [(names.POLICY_FILE, 1), (names.POLICY_LOG, 0)])
def test_the_log_is_not_asked_unless_wanted_and_needed(
    tmp_path: Path, policy: str, exit_code: int
) -> None:
    log(tmp_path, "stdout F chatter\n")
    assert last_words(status(tmp_path, policy, exit_code)) == ""


def test_a_file_that_was_written_comes_before_the_log(tmp_path: Path) -> None:
    (tmp_path / "end").write_text("mine")
    log(tmp_path, "stdout F chatter\n")
    assert last_words(status(tmp_path, names.POLICY_LOG)) == "mine"


def test_only_the_end_of_a_log_is_taken(tmp_path: Path) -> None:
    log(tmp_path, *(f"stdout F {number}\n" for number in range(200)))
    assert last_words(status(tmp_path, names.POLICY_LOG)).splitlines() == [
        str(number) for number in range(120, 200)
    ]
    log(tmp_path, *(f"stdout F {'x' * 99}\n" for _ in range(1000)))
    assert last_words(status(tmp_path, names.POLICY_LOG)) == (("x" * 99 + "\n") * 21)[-2048:]


def test_one_endless_line_has_no_end_to_be_taken(tmp_path: Path) -> None:
    log(tmp_path, f"stdout F {'x' * 100_000}\n")
    assert last_words(status(tmp_path, names.POLICY_LOG)) == ""


def test_a_log_that_is_gone_is_said_to_be(tmp_path: Path) -> None:
    words = last_words(status(tmp_path, names.POLICY_LOG))
    assert words == "Error on reading termination message from logs: No such file or directory"
