"""Words of probes: pure, nothing faked."""

import pytest

from edgecore.edged.probes.probewords import (
    MAX_CHARS,
    excerpt,
    go_duration,
    join_host_port,
    timed_out,
)


def test_what_a_container_said_is_cut_and_always_text() -> None:
    assert excerpt(b"na\xc3\xafve \xff") == "naïve �"
    assert len(excerpt(b"x" * 5000)) == MAX_CHARS


@pytest.mark.parametrize(
    ("seconds", "text"), [(1, "1s"), (60, "1m0s"), (90, "1m30s"), (3600, "1h0m0s")]
)
def test_durations_read_as_in_kubelet_events(seconds: float, text: str) -> None:
    assert go_duration(seconds) == text


def test_a_command_that_took_too_long_is_named() -> None:
    words = 'command timed out: "cat /tmp/healthy" timed out after 1s'
    assert timed_out(["cat", "/tmp/healthy"], 1.0) == words
    assert len(timed_out(["x" * 5000], 1.0)) == MAX_CHARS


def test_an_ipv6_address_stands_in_brackets() -> None:
    assert join_host_port("fd00::1", 80) == "[fd00::1]:80"
    assert join_host_port("10.0.0.1", 80) == "10.0.0.1:80"
