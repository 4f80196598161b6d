"""Service account tokens in the edge-store. Everything is real; there is nothing to fake."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from common.errors import WireError
from edgecore.metamanager.tokens import is_fresh, token_key, token_row

RESOURCE = "default/serviceaccounttoken/app"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def request(**spec: object) -> bytes:
    return json.dumps({"metadata": {"creationTimestamp": None}, "spec": spec}).encode()


def answer(left: timedelta, life_s: int | None = 3600) -> bytes:
    expiration = (NOW + left).strftime("%Y-%m-%dT%H:%M:%SZ")
    spec = {} if life_s is None else {"expirationSeconds": life_s}
    status = {"token": "secret", "expirationTimestamp": expiration}
    return json.dumps({"spec": spec, "status": status}).encode()


def test_what_is_asked_for_is_part_of_the_key_and_its_spelling_is_not() -> None:
    one = token_key(RESOURCE, request(audiences=["a"], expirationSeconds=60))
    assert one == token_key(RESOURCE, request(expirationSeconds=60, audiences=["a"]))
    assert one != token_key(RESOURCE, request(expirationSeconds=60, audiences=["b"]))
    assert one.startswith(f"{RESOURCE}/")


def test_a_row_belongs_to_the_pod_that_the_token_is_bound_to() -> None:
    bound = request(boundObjectRef={"kind": "Pod", "name": "web", "uid": "pod-1"})
    row = token_row(RESOURCE, bound, answer(timedelta(hours=1)))
    assert (row.uid, row.namespace, row.name) == ("pod-1", "default", "app")
    assert row.value == answer(timedelta(hours=1))
    assert token_row(RESOURCE, request(), answer(timedelta())).uid == ""


@pytest.mark.parametrize("content", [b"{}", b"null", b"[]", b'{"status":{"token":1}}', b"{"])
def test_an_answer_without_a_token_is_not_kept(content: bytes) -> None:
    with pytest.raises(WireError):
        token_row(RESOURCE, request(), content)
    assert not is_fresh(content, NOW)


@pytest.mark.parametrize("content", [b"null", b"[]", b'{"spec":3}', b'{"spec":null}'])
def test_a_request_that_is_none_is_refused(content: bytes) -> None:
    with pytest.raises(WireError):
        token_key(RESOURCE, content)


@pytest.mark.parametrize(
    ("left_s", "fresh"),
    [(3600, True), (721, True), (720, False), (0, False), (-60, False), (3900, True)],
)
def test_a_token_is_fresh_while_a_fifth_of_its_life_is_left(left_s: int, *, fresh: bool) -> None:
    assert is_fresh(answer(timedelta(seconds=left_s)), NOW) is fresh


def test_a_token_that_seems_to_live_too_long_says_that_the_clock_is_wrong() -> None:
    assert not is_fresh(answer(timedelta(days=365)), NOW)


def test_a_token_without_a_life_lives_an_hour() -> None:
    assert is_fresh(answer(timedelta(seconds=800), None), NOW)


def test_an_expiration_that_is_no_time_is_not_fresh() -> None:
    broken = answer(timedelta(hours=1)).replace(b"2026-01-01T01:00:00Z", b"tomorrow")
    assert not is_fresh(broken, NOW)
