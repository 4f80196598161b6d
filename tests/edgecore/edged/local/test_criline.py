"""Lines of logs. Nothing is faked."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecore.edged.local.criline import LogLine, moment_of, parse_line

STAMP = b"2026-11-24T07:08:09.123456789Z"


def test_the_head_is_taken_off() -> None:
    assert parse_line(STAMP + b" stdout F hello \n") == (STAMP, False, b"hello \n")
    assert parse_line(STAMP + b" stderr F \n") == (STAMP, False, b"\n")


def test_a_part_of_a_line_has_no_end_and_tags_may_follow() -> None:
    assert parse_line(STAMP + b" stdout P begin\n") == (STAMP, True, b"begin")
    assert parse_line(STAMP + b" stdout P:new begin\n") == (STAMP, True, b"begin")
    assert parse_line(STAMP + b" stdout F:new end\n") == (STAMP, False, b"end\n")


@pytest.mark.parametrize(
    "line", [b"", b"\n", b"hello\n", STAMP + b" stdin F x\n", STAMP + b" stdout F", b"\xff\n"]
)
def test_what_is_in_another_format_stands_for_itself(line: bytes) -> None:
    assert parse_line(line) == (b"", False, line)


@pytest.mark.parametrize(
    ("stamp", "moment"),
    [
        (STAMP, datetime(2026, 11, 24, 7, 8, 9, 123456, UTC)),
        (b"2026-11-24T07:08:09Z", datetime(2026, 11, 24, 7, 8, 9, 0, UTC)),
        (b"2026-11-24T07:08:09.1Z", datetime(2026, 11, 24, 7, 8, 9, 100000, UTC)),
        (
            b"2026-11-24T07:08:09.12-01:30",
            datetime(2026, 11, 24, 7, 8, 9, 120000, timezone(-timedelta(minutes=90))),
        ),
        (b"2026-11-99T07:08:09Z", None),
        (b"", None),
    ],
)
def test_the_moment_is_what_it_says(stamp: bytes, moment: datetime | None) -> None:
    line = LogLine(stamp, is_partial=False, text=b"")
    assert moment_of(line) == moment


@given(
    st.datetimes(timezones=st.just(UTC), min_value=datetime(1900, 1, 1)),  # noqa: DTZ001 - as it wants it
    st.sampled_from([b"stdout", b"stderr"]),
    st.binary(max_size=30).filter(lambda text: b"\n" not in text),
)
def test_what_a_runtime_writes_comes_back(moment: datetime, stream: bytes, text: bytes) -> None:
    stamp = moment.isoformat(timespec="microseconds").replace("+00:00", "Z").encode()
    full = parse_line(b"%s %s F %s\n" % (stamp, stream, text))
    assert full == (stamp, False, text + b"\n")
    assert moment_of(full) == moment
    assert parse_line(b"%s %s P %s\n" % (stamp, stream, text)) == (stamp, True, text)


@given(st.binary(max_size=80) | st.binary(max_size=20).map(lambda rest: STAMP + rest))
def test_any_bytes_are_a_line(line: bytes) -> None:
    parsed = parse_line(line)
    moment_of(parsed)
    assert parsed.text in line
