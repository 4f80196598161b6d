"""What refusals are called. Everything is real; the words are those of containerd and CRI-O."""

import pytest
from grpclib.const import Status

from edgecore.edged.runtime.cri.methods import UNAVAILABLE
from edgecore.edged.runtime.cri.refusals import EngineError, holder_of, late, refusal, unanswered

ID = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("reason", "status", "message", "expected"),
    [
        ("CreateContainerError", Status.UNKNOWN, "no space left on device", "CreateContainerError"),
        ("KillContainerError", Status.NOT_FOUND, "not found", "KillContainerError"),
        ("CreatePodSandboxError", Status.UNAVAILABLE, "not initialized yet", UNAVAILABLE),
        ("ListError", Status.UNKNOWN, "server is not initialized yet", UNAVAILABLE),
        ("ErrImagePull", Status.UNAVAILABLE, "dial tcp: refused", "ErrImagePull"),
        ("ErrImagePull", Status.UNKNOWN, "RegistryUnavailable: 503", "RegistryUnavailable"),
        (
            "ErrImagePull",
            Status.UNKNOWN,
            "SignatureValidationFailed: nobody signed",
            "SignatureValidationFailed",
        ),
        (
            "ErrImagePull",
            Status.INVALID_ARGUMENT,
            'failed to parse image reference "A": invalid reference format',
            "InvalidImageName",
        ),
        ("ImageInspectError", Status.UNKNOWN, "invalid reference format", "InvalidImageName"),
    ],
)
def test_a_refusal_has_kubelets_word_for_it(
    reason: str, status: Status, message: str, expected: str
) -> None:
    error = refusal(reason, status, message)
    assert (error.reason, error.status, str(error)) == (expected, status, message)


def test_long_words_are_cut_and_none_are_made_up_for() -> None:
    long = refusal("X", Status.UNKNOWN, "w" * 5000)
    assert (len(str(long)), str(long)[-1]) == (1024, "…")
    assert str(refusal("X", Status.INTERNAL, "")) == "INTERNAL"


def test_no_answer_is_an_error_too() -> None:
    away, slow = unanswered("no such file"), late("CreateContainerError", 120.0)
    assert (away.reason, away.status) == (UNAVAILABLE, Status.UNAVAILABLE)
    assert "no such file" in str(away)
    assert (slow.reason, slow.status) == ("CreateContainerError", Status.DEADLINE_EXCEEDED)
    assert "within 120.0 s" in str(slow)


@pytest.mark.parametrize(
    "words",
    [
        f'failed to reserve sandbox name "a_b": name "a_b" is reserved for "{ID}"',
        f"error reserving pod name k8s_a for id x: name is reserved for ID {ID}",
        f"the container name k8s_c is already in use by {ID}. You have to remove that container",
    ],
)
def test_who_holds_a_name_is_read_from_the_words(words: str) -> None:
    assert holder_of(EngineError("X", words, Status.UNKNOWN)) == ID


def test_other_words_name_nobody() -> None:
    assert holder_of(EngineError("X", "no space left on device", Status.UNKNOWN)) is None
