"""The clock learns the cloud's time from replies. The replies are made up."""

import time

import pytest

from common.clock import Clock, parse_rfc3339, rfc3339, rfc3339_micro


def test_the_offset_to_the_cloud_is_taken_from_the_middle_of_the_round_trip() -> None:
    clock = Clock()
    now_s, wall_s = clock.monotonic(), time.time()
    clock.learn(int((wall_s + 3600) * 1000), now_s - 1, now_s + 1)
    assert clock.offset_s == pytest.approx(3600, abs=1)
    assert clock.now().timestamp() == pytest.approx(time.time() + 3600, abs=1.5)


def test_a_reply_that_took_long_teaches_nothing() -> None:
    clock = Clock()
    now_s = clock.monotonic()
    clock.learn(0, now_s - 60, now_s)
    assert clock.offset_s == 0


def test_times_are_written_as_kubernetes_writes_them() -> None:
    moment = parse_rfc3339("2026-11-23T09:31:04.870222Z")
    assert rfc3339(moment) == "2026-11-23T09:31:04Z"
    assert rfc3339_micro(moment) == "2026-11-23T09:31:04.870222Z"
    assert parse_rfc3339(rfc3339_micro(moment)) == moment


def test_what_was_told_is_known_and_grows_with_the_time_since() -> None:
    clock = Clock()
    assert clock.known() is None
    clock.remember(parse_rfc3339("2026-11-23T09:31:04Z"))
    known = clock.known()
    assert known is not None
    assert known >= parse_rfc3339("2026-11-23T09:31:04Z")
    assert clock.now() >= known
    assert clock.now_ms() >= known.timestamp() * 1000


def test_a_machine_whose_clock_stands_in_1970_takes_the_last_time_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    clock.remember(parse_rfc3339("2126-11-23T09:31:04Z"))
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert clock.now_ms() >= parse_rfc3339("2126-11-23T09:31:04Z").timestamp() * 1000


def test_a_cloud_that_corrects_its_clock_is_believed_and_nonsense_is_not() -> None:
    clock = Clock()
    clock.remember(parse_rfc3339("2126-11-23T09:31:04Z"))
    now_s = clock.monotonic()
    told = parse_rfc3339("2026-11-23T09:31:04Z")
    clock.learn(int(told.timestamp() * 1000), now_s, now_s)
    for nonsense in (-1, 10**30):
        clock.learn(nonsense, now_s, now_s)
    known = clock.known()
    assert known is not None
    assert abs(known - told).total_seconds() < 5


def test_a_cloud_is_not_believed_beyond_the_end_of_its_certificate() -> None:
    clock = Clock()
    until = parse_rfc3339("2027-01-01T00:00:00Z")
    clock.believed_until_s = until.timestamp()
    now_s = clock.monotonic()
    clock.learn(int(parse_rfc3339("2036-01-01T00:00:00Z").timestamp() * 1000), now_s, now_s)
    known = clock.known()
    assert known is not None
    assert abs(known - until).total_seconds() < 5
