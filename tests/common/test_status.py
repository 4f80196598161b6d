"""A failure in the words of the Kubernetes API. Pure: nothing is faked."""

import msgspec

from common.status import MAX_MESSAGE_CHARS, StatusError, failure, not_found


def test_a_missing_object_is_told_as_the_api_server_tells_it() -> None:
    assert msgspec.to_builtins(StatusError(not_found("configmap", "nowhere"))) == {
        "ErrStatus": {
            "status": "Failure",
            "message": 'configmap "nowhere" not found',
            "reason": "NotFound",
            "details": {"name": "nowhere", "kind": "configmap"},
            "code": 404,
        }
    }


def test_a_conflict_is_told_from_a_missing_object() -> None:
    assert failure(409, "x").is_conflict
    assert not failure(409, "x").is_not_found
    assert not_found("pod", "web").is_not_found


def test_a_long_message_is_cut() -> None:
    assert len(failure(500, "x" * 10_000).message) == MAX_MESSAGE_CHARS


def test_the_reason_may_be_more_exact_than_the_code() -> None:
    assert failure(409, "taken", reason="AlreadyExists").reason == "AlreadyExists"
