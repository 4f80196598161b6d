"""What the end of a log tells: logs that SQLite wrote, damaged by the test."""

import sqlite3
from pathlib import Path

import pytest

from edgecore.edgestore.connecting import connect
from edgecore.edgestore.waltail import (
    FRAME_HEADER_BYTES,
    HEADER_BYTES,
    Loss,
    judge,
    page_bytes,
)

COMMITS = 4


class Log:
    """A log with commits of three frames each, in pieces."""

    def __init__(self, path: Path) -> None:
        connection = connect(path)
        for number in range(COMMITS):
            connection.execute("BEGIN")
            connection.execute(f"CREATE TABLE a{number} (a)")
            connection.execute(f"CREATE TABLE b{number} (a)")
            connection.execute("COMMIT")
        content = Path(f"{path}-wal").read_bytes()
        connection.close()
        self.header, rest = content[:HEADER_BYTES], content[HEADER_BYTES:]
        size = FRAME_HEADER_BYTES + page_bytes(self.header)
        self.frames = [bytearray(rest[at : at + size]) for at in range(0, len(rest), size)]
        self.commits = [n for n, frame in enumerate(self.frames) if any(frame[4:8])]

    def judged(self, read: int = 0) -> Loss:
        last_read = bytes(self.frames[read - 1]) if read else b""
        return judge(self.header, last_read, map(bytes, self.frames[read:]))

    def damage(self, frame: int, at: int) -> None:
        self.frames[frame][at] ^= 1


@pytest.fixture
def log(tmp_path: Path) -> Log:
    made = Log(tmp_path / "file")
    assert len(made.commits) == COMMITS
    return made


def test_a_sound_log_has_lost_nothing_wherever_one_begins_to_look(log: Log) -> None:
    assert {log.judged(read) for read in range(len(log.frames) + 1)} == {Loss.NONE}


def test_no_log_has_lost_nothing() -> None:
    assert judge(b"", b"", []) is Loss.NONE


@pytest.mark.parametrize("at", [2, 20, 24, 1000, 4119])
def test_damage_before_the_last_commit_is_seen_wherever_it_is(log: Log, at: int) -> None:
    first, second = log.commits[1] + 1, log.commits[2]
    for frame in range(first, second + 1):
        log.damage(frame, at)
        assert log.judged() is Loss.CERTAIN
        assert log.judged(first) is Loss.CERTAIN
        log.damage(frame, at)


def test_a_frame_that_seems_to_be_of_another_log_is_damage_where_this_one_goes_on(log: Log) -> None:
    log.damage(log.commits[1] + 1, 9)
    assert log.judged() is Loss.CERTAIN
    log.damage(log.commits[2], 9)  # now only one commit is known to be lost
    assert log.judged() is Loss.POSSIBLE


@pytest.mark.parametrize("at", [2, 20, 24, 4119])
def test_damage_in_the_last_commit_may_be_a_power_cut(log: Log, at: int) -> None:
    log.damage(log.commits[-1], at)
    assert log.judged() is Loss.POSSIBLE
    assert log.judged(log.commits[-2] + 1) is Loss.POSSIBLE


def test_a_commit_that_was_not_finished_was_never_acknowledged(log: Log) -> None:
    del log.frames[-1]
    assert log.judged() is Loss.NONE
    del log.frames[-1][1000:]
    assert log.judged() is Loss.NONE


def test_a_commit_that_is_cut_off_in_its_last_frame_may_have_been_whole(log: Log) -> None:
    del log.frames[-1][1000:]
    assert log.judged() is Loss.POSSIBLE
    del log.frames[-1][10:]
    assert log.judged() is Loss.NONE


def test_frames_of_an_earlier_log_behind_the_end_mean_nothing(log: Log) -> None:
    for frame in log.frames[log.commits[0] + 1 :]:
        frame[8:16] = b"earlier!"
    assert log.judged() is Loss.NONE


def test_commits_that_a_full_disk_cut_short_mean_no_certain_loss(log: Log) -> None:
    for number in log.commits[2:]:
        log.frames[number][FRAME_HEADER_BYTES:] = bytes(4096)
        log.damage(log.commits[1] + 1, 0)
    del log.frames[log.commits[1] + 1]
    assert log.judged() is Loss.POSSIBLE


@pytest.mark.parametrize("at", [0, 3, 8, 15, 16, 23, 24, 31])
def test_a_damaged_header_loses_the_whole_log(log: Log, at: int) -> None:
    header = bytearray(log.header)
    header[at] ^= 4
    assert page_bytes(bytes(header)) == 0
    assert judge(bytes(header), b"", map(bytes, log.frames)) is Loss.CERTAIN
    assert judge(bytes(header), b"", []) is Loss.NONE


def test_big_endian_checksums_are_understood(tmp_path: Path) -> None:
    # SQLite writes them on machines of that kind, and reads both: it says whether ours are right.
    path = tmp_path / "file"
    log = Log(path)
    header, frames = in_big_endian(log)
    assert judge(header, b"", frames) is Loss.NONE
    Path(f"{path}-wal").write_bytes(header + b"".join(frames))
    connection = sqlite3.connect(path)
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    assert tables == (2 * COMMITS,)
    connection.close()


def in_big_endian(log: Log) -> tuple[bytes, list[bytes]]:
    def summed(data: bytes, one: int, other: int) -> tuple[int, int]:
        for at in range(0, len(data), 8):
            one = (one + int.from_bytes(data[at : at + 4]) + other) % 2**32
            other = (other + int.from_bytes(data[at + 4 : at + 8]) + one) % 2**32
        return one, other

    def as_bytes(sums: tuple[int, int]) -> bytes:
        return b"".join(number.to_bytes(4) for number in sums)

    begin = log.header[:3] + bytes([log.header[3] | 1]) + log.header[4:24]
    sums = summed(begin, 0, 0)
    header, frames = begin + as_bytes(sums), []
    for frame in log.frames:
        sums = summed(bytes(frame[24:]), *summed(bytes(frame[:8]), *sums))
        frames.append(bytes(frame[:16]) + as_bytes(sums) + bytes(frame[24:]))
    return header, frames
