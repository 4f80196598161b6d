"""The keeper's log, in this process; what it does with processes is in ``test_process``."""

import re
from pathlib import Path

import pytest

from edgecore.edged.runtime.keeper import Log

LINE = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z (stdout|stderr) [FP] .*")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "0.log"


def lines(path: Path) -> list[bytes]:
    found = path.read_bytes().splitlines()
    assert all(LINE.fullmatch(line) for line in found)
    return [line.split(b" ", 1)[1] for line in found]


def test_each_line_has_time_stream_and_tag(path: Path) -> None:
    log = Log(str(path), 10_000, 2)
    log.feed("stdout", b"one\ntwo\n")
    log.feed("stderr", b"\n")
    assert lines(path) == [b"stdout F one", b"stdout F two", b"stderr F "]


def test_a_line_that_comes_in_pieces_is_written_as_one(path: Path) -> None:
    log = Log(str(path), 10_000, 2)
    log.feed("stdout", b"on")
    log.feed("stderr", b"x\n")
    log.feed("stdout", b"e\n")
    assert lines(path) == [b"stderr F x", b"stdout F one"]


def test_what_never_gets_a_line_end_is_a_part(path: Path) -> None:
    log = Log(str(path), 10_000, 2)
    log.feed("stdout", b"rest")
    log.finish("stdout")
    log.finish("stderr")
    assert lines(path) == [b"stdout P rest"]


def test_a_long_line_is_written_in_parts_and_memory_stays_bounded(path: Path) -> None:
    log = Log(str(path), 1_000_000, 2)
    for _ in range(5):
        log.feed("stdout", b"x" * 10_000)
        assert len(log._rest["stdout"]) < 16384
    log.feed("stdout", b"y\n")
    log.feed("stdout", b"z" * 40_000 + b"\n")
    tags = [line.split(b" ")[1] for line in lines(path)]
    assert tags == [b"P"] * 3 + [b"F"] + [b"P"] * 2 + [b"F"]
    text = b"".join(line.split(b" ", 2)[2] for line in lines(path))
    assert text == b"x" * 50_000 + b"y" + b"z" * 40_000


def test_a_log_that_is_full_is_put_aside_and_only_so_many_are_kept(path: Path) -> None:
    log = Log(str(path), 200, 3)
    for number in range(12):
        log.feed("stdout", f"{number:030}\n".encode())
    names = sorted(p.name for p in path.parent.iterdir())
    assert names == ["0.log", "0.log.1", "0.log.2"]
    assert all(p.stat().st_size <= 200 for p in path.parent.iterdir())
    newest = [int(line.split(b" ")[2]) for line in lines(path)]
    before = [int(line.split(b" ")[2]) for line in lines(path.with_name("0.log.1"))]
    assert newest[-1] == 11
    assert before[-1] == newest[0] - 1


def test_a_log_is_continued_and_its_size_known(path: Path) -> None:
    path.write_bytes(b"2026-01-01T00:00:00.000000000Z stdout F old\n" * 10)
    Log(str(path), 500, 2).feed("stdout", b"new\n")
    assert lines(path)[-1] == b"stdout F new"


def test_a_disk_that_takes_nothing_does_not_stop_the_command(tmp_path: Path) -> None:
    log = Log(str(tmp_path / "none" / "0.log"), 100, 2)
    log.feed("stdout", b"lost\n")
    (tmp_path / "none").mkdir()
    log.feed("stdout", b"kept\n")
    assert lines(tmp_path / "none" / "0.log") == [b"stdout F kept"]
