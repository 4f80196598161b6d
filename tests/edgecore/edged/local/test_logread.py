"""Reading real log files, compressed ones too."""

import gzip
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecore.edged.local import logread
from edgecore.edged.local.logread import LogOptions, log_files, read_log
from tests.edgecore.edged.bus import START


def stamp(second: int) -> str:
    return (START + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%S.000000000Z")


def lines(*numbers: int) -> bytes:
    return "".join(f"{stamp(n)} stdout F line {n}\n" for n in numbers).encode()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of three files with the lines 0 to 8."""
    (tmp_path / "0.log.20261124-000001.gz").write_bytes(gzip.compress(lines(0, 1, 2)))
    (tmp_path / "0.log.20261124-000002").write_bytes(lines(3, 4, 5))
    (tmp_path / "0.log").write_bytes(lines(6, 7, 8))
    (tmp_path / "0.log.20261124-000001.gz.tmp").write_bytes(b"half")
    return tmp_path / "0.log"


EVERYTHING = LogOptions()


def read(log: Path, options: LogOptions = EVERYTHING) -> str:
    return b"".join(read_log(log_files(log), options)).decode()


def text(*numbers: int) -> str:
    return "".join(f"line {n}\n" for n in numbers)


def test_all_files_are_read_from_the_oldest_line_on(log: Path) -> None:
    assert read(log) == text(*range(9))


@pytest.mark.parametrize("count", range(11))
def test_the_tail_reaches_into_older_files(log: Path, count: int) -> None:
    assert read(log, LogOptions(tail_lines=count)) == text(*list(range(9))[max(0, 9 - count) :])


def test_lines_before_a_moment_are_left_out(log: Path) -> None:
    since = START + timedelta(seconds=4)
    assert read(log, LogOptions(since=since)) == text(4, 5, 6, 7, 8)
    assert read(log, LogOptions(since=since, tail_lines=2)) == text(7, 8)


def test_bytes_are_counted_from_the_beginning(log: Path) -> None:
    assert read(log, LogOptions(limit_bytes=9)) == "line 0\nli"
    assert read(log, LogOptions(limit_bytes=0)) == ""
    assert read(log, LogOptions(limit_bytes=10_000)) == text(*range(9))


def test_each_line_has_its_moment_once_if_that_is_wanted(log: Path) -> None:
    log.write_bytes(
        f"{stamp(1)} stdout P be\n{stamp(2)} stdout F gin\nother format\n"
        f"{stamp(3)} stdout F next\n".encode()
    )
    wanted = f"{stamp(1)} begin\nother format\n{stamp(3)} next\n"
    assert read(log, LogOptions(timestamps=True, tail_lines=3)) == wanted


def test_a_line_in_parts_is_one_line_also_at_the_end(log: Path) -> None:
    log.write_bytes(
        f"{stamp(1)} stdout F one\n{stamp(1)} stdout P tw\n{stamp(2)} stdout P o\n".encode()
    )
    assert read(log, LogOptions(tail_lines=1)) == "two"
    assert read(log, LogOptions(tail_lines=2)) == "one\ntwo"


def test_a_file_that_was_compressed_since_it_was_listed_is_found(log: Path) -> None:
    files = log_files(log)
    plain = files[1]
    plain.with_name(plain.name + ".gz").write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()
    files[0].unlink()
    assert b"".join(read_log(files, LogOptions())).decode() == text(3, 4, 5, 6, 7, 8)


def test_a_log_that_is_rotated_while_it_is_read_is_read_to_its_end(log: Path) -> None:
    reading = read_log(log_files(log), LogOptions())
    first = next(reading)
    for path in log.parent.iterdir():
        path.unlink()
    assert (first + b"".join(reading)).decode() == text(*range(9))


@pytest.mark.parametrize("damage", [b"", b"no gzip", gzip.compress(lines(0, 1, 2))[:-20]])
def test_a_compressed_file_that_is_damaged_hides_none_of_the_others(
    log: Path, damage: bytes
) -> None:
    log_files(log)[0].write_bytes(damage)
    assert read(log).endswith(text(3, 4, 5, 6, 7, 8))
    assert read(log, LogOptions(tail_lines=100)).endswith(text(3, 4, 5, 6, 7, 8))


def test_there_may_be_no_log(tmp_path: Path, log: Path) -> None:
    assert log_files(tmp_path / "no" / "0.log") == []
    assert log_files(log.with_name("1.log")) == []
    log.unlink()
    assert len(log_files(log)) == 2
    assert list(read_log([], LogOptions(tail_lines=1))) == []


def test_no_line_is_too_long_for_memory(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logread, "_LINE_BYTES", 10)
    log.write_bytes(b"x" * 95)
    parts = list(read_log([log], LogOptions()))
    assert max(map(len, parts)) == 10
    assert b"".join(parts) == b"x" * 95


@given(st.lists(st.integers(0, 3), max_size=4), st.integers(0, 12))
def test_the_tail_is_the_end_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], count: int
) -> None:
    directory = tmp_path_factory.mktemp("logs")
    numbers = iter(range(100))
    for index, size in enumerate(sizes, start=1):
        content = lines(*(next(numbers) for _ in range(size)))
        (directory / f"0.log.{len(sizes) + 1 - index}").write_bytes(content)
    whole = read(directory / "0.log").splitlines()
    tail = read(directory / "0.log", LogOptions(tail_lines=count)).splitlines()
    assert tail == whole[max(0, len(whole) - count) :]
