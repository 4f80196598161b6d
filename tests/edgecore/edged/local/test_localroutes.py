"""Requests to the local endpoint. Nothing is faked."""

from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecore.edged.local.localroutes import (
    GetHealth,
    GetLogs,
    GetMetrics,
    GetPods,
    GetSummary,
    PostExec,
    RefusalError,
    Target,
    Wanted,
    is_authorized,
    is_local_host,
    parse_address,
    route,
)

WEB = Target("default", "web-0.a", "c")
LOGS = "/containerLogs/default/web-0.a/c"
EXEC = "/exec/default/web-0.a/c"


@pytest.mark.parametrize(
    ("target", "wanted"),
    [
        ("/healthz", GetHealth()),
        ("/healthz?verbose", GetHealth()),
        ("/pods", GetPods()),
        ("/stats/summary?only_cpu_and_memory=true", GetSummary()),
        ("/metrics/resource", GetMetrics()),
        (LOGS, GetLogs(WEB)),
        (f"{LOGS}?follow=false&previous=false", GetLogs(WEB)),
        (
            f"{LOGS}?tailLines=5&sinceSeconds=60&limitBytes=0&timestamps=True&previous=1",
            GetLogs(WEB, previous=True, timestamps=True, tail_lines=5, since_s=60, limit_bytes=0),
        ),
    ],
)
def test_each_path_is_something_to_get(target: str, wanted: Wanted) -> None:
    assert route("GET", target) == wanted


def test_a_command_keeps_its_parts_and_their_order() -> None:
    made = route("POST", f"{EXEC}?command=sh&command=-c&command=echo+%22a%26b%22&command=")
    assert made == PostExec(WEB, ("sh", "-c", 'echo "a&b"', ""))
    assert route("POST", f"{EXEC}?command=a&timeout=1.5") == PostExec(WEB, ("a",), 1.5)


@pytest.mark.parametrize(
    ("method", "target", "code"),
    [
        ("GET", "/", 404),
        ("GET", "", 404),
        ("GET", "/logs", 404),
        ("GET", "/containerLogs/default/web", 404),
        ("GET", "/containerLogs/default/web/c/d", 404),
        ("GET", "/containerLogs/default/..%2F..%2Fetc/c", 404),
        ("GET", "/containerLogs/default/../c", 404),
        ("POST", "/exec/default/web/?command=a", 404),
        ("POST", "/pods", 405),
        ("POST", LOGS, 405),
        ("GET", f"{EXEC}?command=a", 405),
        ("GET", f"{LOGS}?follow=true", 400),
        ("GET", f"{LOGS}?follow=maybe", 400),
        ("GET", f"{LOGS}?tailLines=-1", 400),
        ("GET", f"{LOGS}?tailLines=", 400),
        ("GET", f"{LOGS}?limitBytes=9999999999999999999", 400),
        ("GET", f"{LOGS}?{'&'.join(['a=b'] * 101)}", 400),
        ("POST", EXEC, 400),
        ("POST", f"{EXEC}?command=a&timeout=0", 400),
        ("POST", f"{EXEC}?command=a&timeout=nan", 400),
        ("POST", f"{EXEC}?command=a&timeout=1e9", 400),
    ],
)
def test_what_nobody_answers_is_refused_with_words(method: str, target: str, code: int) -> None:
    with pytest.raises(RefusalError) as caught:
        route(method, target)
    assert caught.value.code == code
    assert str(caught.value)


@given(st.sampled_from(["GET", "POST"]), st.text(max_size=40) | st.text("/?&=%aexc.", max_size=40))
def test_any_request_is_answered_or_refused(method: str, target: str) -> None:
    for prefix in ("", "/containerLogs/a/b/c?", "/exec/a/b/c?command=", "/exec/"):
        try:
            route(method, prefix + target)
        except RefusalError as refusal:
            assert isinstance(refusal.code, HTTPStatus)  # noqa: PT017 - either of the two will do


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:10350", ("127.0.0.1", 10350)),
        ("127.1.2.3:0", ("127.1.2.3", 0)),
        ("[::1]:10350", ("::1", 10350)),
    ],
)
def test_an_address_of_loopback_is_taken(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text", ["", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:1²"]
)
def test_an_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected ADDRESS:PORT"):
        parse_address(text)


@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "192.0.2.7", "[::]", "", "localhost", "edge.example"],  # noqa: S104 - refused
)
def test_an_address_that_others_can_reach_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match="no address of loopback"):
        parse_address(f"{host}:10350")


@pytest.mark.parametrize(
    "header", ["localhost", "LOCALHOST:10350", "127.0.0.1:10350", "127.9.9.9", "[::1]:10350"]
)
def test_loopback_is_a_host_whatever_it_is_called(header: str) -> None:
    assert is_local_host(header)


@pytest.mark.parametrize(
    "header", ["", "evil.example", "127.0.0.1.evil.example", "192.0.2.7:10350", "[::1", "a@b", "["]
)
def test_a_name_that_somebody_points_at_loopback_is_no_host(header: str) -> None:
    assert not is_local_host(header)


def test_only_the_token_lets_in() -> None:
    assert is_authorized("Bearer s3cret", "s3cret")
    assert is_authorized("bearer  s3cret", "s3cret")
    for wrong in ("", "s3cret", "Basic s3cret", "Bearer s3cre", "Bearer s3cret x", "Bearer é"):
        assert not is_authorized(wrong, "s3cret")
