"""Errors carry what their handlers need. Pure: nothing is faked."""

from common.errors import ConfigError, EdgeError, RemoteError, RuntimeServiceError
from common.status import not_found


def test_a_configuration_error_lists_every_fault() -> None:
    error = ConfigError(["--a: wrong", "--b: missing"])
    assert str(error) == "--a: wrong\n--b: missing"
    assert error.faults == ["--a: wrong", "--b: missing"]


def test_a_remote_error_says_what_the_other_side_said() -> None:
    assert str(RemoteError(not_found("pod", "web"))) == '404 NotFound: pod "web" not found'


def test_a_refusal_of_the_runtime_carries_the_word_for_the_condition() -> None:
    error: EdgeError = RuntimeServiceError("ErrImagePull", "no such image")
    assert isinstance(error, RuntimeServiceError)
    assert error.reason == "ErrImagePull"
