"""Words about pulls, and whom a pull serves: pure, nothing faked."""

import pytest

from common.errors import RuntimeServiceError
from edgecore.edged.images.imagerefs import PullPolicy
from edgecore.edged.images.imagewants import Want, duration, failure, present, pulled, serves
from edgecore.edged.runtime.images import ImageAuth

MINE, OTHER = ImageAuth("me", "x"), ImageAuth("you", "y")


def want(policy: PullPolicy = PullPolicy.ALWAYS, *auths: ImageAuth) -> Want:
    return Want("c", "r.example/a:1", policy, auths)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0s"),
        (0.0004, "0s"),
        (0.532, "532ms"),
        (1.0, "1s"),
        (1.25, "1.25s"),
        (62.5, "1m2.5s"),
        (3600.0, "1h0m0s"),
        (59.9999, "1m0s"),
    ],
)
def test_a_duration_is_written_as_go_writes_it(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_pull_is_told_with_its_time_and_size() -> None:
    assert pulled(want(), 1.5, 3, 4194304) == (
        'Successfully pulled image "r.example/a:1" in 1.5s (3s including waiting). '
        "Image size: 4194304 bytes."
    )


def test_an_image_that_was_here_is_told_so() -> None:
    plain = 'Container image "r.example/a:1" already present on machine'
    assert present(want(PullPolicy.NEVER), reachable=False) == plain
    assert present(want(), reachable=True) == plain
    assert present(want(), reachable=False).startswith(plain + ", and used although")


def test_with_always_a_pod_needs_credentials_of_its_own_or_a_public_image() -> None:
    assert serves(want(PullPolicy.IF_NOT_PRESENT), OTHER)
    assert serves(want(PullPolicy.ALWAYS), None)
    assert serves(want(PullPolicy.ALWAYS, OTHER, MINE), MINE)
    assert not serves(want(PullPolicy.ALWAYS, MINE), OTHER)
    assert not serves(want(PullPolicy.ALWAYS), OTHER)


@pytest.mark.parametrize(
    ("reason", "told", "words"),
    [
        ("Unknown", "ErrImagePull", "x"),
        (
            "RegistryUnavailable",
            "RegistryUnavailable",
            "image pull failed for a:1 because the registry is unavailable: x",
        ),
        (
            "SignatureValidationFailed",
            "SignatureValidationFailed",
            "image pull failed for a:1 because the signature validation failed: x",
        ),
    ],
)
def test_a_failure_has_kubelets_reasons(reason: str, told: str, words: str) -> None:
    assert failure("a:1", RuntimeServiceError(reason, "x")) == (told, words)
