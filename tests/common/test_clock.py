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
