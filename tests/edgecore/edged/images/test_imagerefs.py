"""Names of images and whether to pull them: pure, nothing faked."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecore.edged.images.imagerefs import (
    Decision,
    InvalidImageNameError,
    PullPolicy,
    decide,
    is_unreachable,
    parse_image,
    pull_policy,
    with_tag,
)

SHA = "sha256:" + "0123456789abcdef" * 4
HUB = "docker.io/library"


@pytest.mark.parametrize(
    ("reference", "full", "asked"),
    [
        ("busybox", f"{HUB}/busybox:latest", "busybox:latest"),
        ("busybox:1.36", f"{HUB}/busybox:1.36", "busybox:1.36"),
        ("docker.io/busybox", f"{HUB}/busybox:latest", "docker.io/busybox:latest"),
        ("index.docker.io/a/b:1", "docker.io/a/b:1", "index.docker.io/a/b:1"),
        ("team/app", "docker.io/team/app:latest", "team/app:latest"),
        ("localhost/app", "localhost/app:latest", "localhost/app:latest"),
        ("localhost:5000/app", "localhost:5000/app:latest", "localhost:5000/app:latest"),
        ("r.my_site.example/app:1", "r.my_site.example/app:1", "r.my_site.example/app:1"),
        ("Team/app", "Team/app:latest", "Team/app:latest"),
        ("[2001:db8::1]:5000/app:2", "[2001:db8::1]:5000/app:2", "[2001:db8::1]:5000/app:2"),
        ("r.example/a__b/c--d:v_1", "r.example/a__b/c--d:v_1", "r.example/a__b/c--d:v_1"),
        (f"busybox@{SHA}", f"{HUB}/busybox@{SHA}", f"busybox@{SHA}"),
        (f"r.example/a:1@{SHA}", f"r.example/a@{SHA}", f"r.example/a:1@{SHA}"),
        (SHA, f"{HUB}/{SHA}", SHA),
    ],
)
def test_a_short_name_stands_for_a_long_one(reference: str, full: str, asked: str) -> None:
    assert str(parse_image(reference)) == full
    assert with_tag(reference) == asked


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("", "invalid reference format"),
        ("Busybox", "repository name (library/Busybox) must be lowercase"),
        ("r.example/App:1", "repository name (App) must be lowercase"),
        ("busybox:", "invalid reference format"),
        ("a b", "invalid reference format"),
        ("busybox\n", "invalid reference format"),
        ("r.example/a/", "invalid reference format"),
        ("SHA"[::-1].lower() * 4 + "_", "invalid reference format"),
        ("f" * 64, "cannot specify 64-byte hexadecimal strings"),
        ("r.example/" + "a" * 256, "must not be more than 255 characters"),
        (f"busybox@{SHA[:-1]}", "invalid checksum digest length"),
        (f"busybox@{SHA.replace('f', 'F')}", "invalid checksum digest format"),
        (f"busybox@md5:{'0' * 32}", "unsupported digest algorithm"),
        ("busybox:" + "t" * 129, "invalid reference format"),
    ],
)
def test_what_names_no_image_is_refused_in_kubelets_words(reference: str, words: str) -> None:
    with pytest.raises(InvalidImageNameError, match=re.escape(words)) as caught:
        with_tag(reference)
    assert str(caught.value).startswith("Failed to apply default image tag")


@given(st.text(alphabet="aA0.:/@-_[] \né", max_size=40))
def test_any_text_names_an_image_once_and_for_all_or_none(reference: str) -> None:
    try:
        name = parse_image(reference)
    except InvalidImageNameError:
        return
    assert parse_image(str(name)) == name
    assert parse_image(with_tag(reference)) == name


@pytest.mark.parametrize(
    ("container", "policy"),
    [
        ({"image": "a"}, PullPolicy.ALWAYS),
        ({"image": "a:latest"}, PullPolicy.ALWAYS),
        ({"image": "a:1"}, PullPolicy.IF_NOT_PRESENT),
        ({"image": f"a@{SHA}"}, PullPolicy.IF_NOT_PRESENT),
        ({"image": "A"}, PullPolicy.IF_NOT_PRESENT),
        ({"image": "a", "imagePullPolicy": "Never"}, PullPolicy.NEVER),
    ],
)
def test_the_tag_decides_where_there_is_no_policy(
    container: dict[str, str], policy: PullPolicy
) -> None:
    assert pull_policy(container) is policy


def test_a_policy_that_is_none_is_an_error() -> None:
    with pytest.raises(ValueError, match="Sometimes"):
        pull_policy({"image": "a", "imagePullPolicy": "Sometimes"})


ALWAYS, IF_NOT_PRESENT, NEVER = PullPolicy


@pytest.mark.parametrize(
    ("policy", "present", "reachable", "decision"),
    [
        (ALWAYS, True, True, Decision.PULL),
        (ALWAYS, True, False, Decision.USE),
        (ALWAYS, False, True, Decision.PULL),
        (ALWAYS, False, False, Decision.PULL),
        (IF_NOT_PRESENT, True, True, Decision.USE),
        (IF_NOT_PRESENT, True, False, Decision.USE),
        (IF_NOT_PRESENT, False, True, Decision.PULL),
        (IF_NOT_PRESENT, False, False, Decision.PULL),
        (NEVER, True, True, Decision.USE),
        (NEVER, True, False, Decision.USE),
        (NEVER, False, True, Decision.REFUSE),
        (NEVER, False, False, Decision.REFUSE),
    ],
)
def test_an_image_is_pulled_used_or_refused(
    policy: PullPolicy, decision: Decision, *, present: bool, reachable: bool
) -> None:
    assert decide(policy, present=present, reachable=reachable) is decision


@pytest.mark.parametrize(
    "message",
    [
        'failed to do request: Head "https://r.example/": dial tcp: lookup r.example: no such host',
        "dial tcp 192.0.2.1:443: connect: connection refused",
        "dial tcp 192.0.2.1:443: i/o timeout",
        "dial tcp: lookup r.example: Temporary failure in name resolution",
        "net/http: TLS handshake timeout",
        "unexpected status from HEAD request to https://r.example/v2/a: 503 Service Unavailable",
        "x509: certificate has expired or is not yet valid: current time 1970-01-01",
    ],
)
def test_a_registry_that_could_not_be_asked_is_told_from_one_that_refused(message: str) -> None:
    assert is_unreachable("ErrImagePull", message)
    assert is_unreachable("RegistryUnavailable", "")
    assert not is_unreachable("ErrImagePull", "r.example/a:1: not found")
    assert not is_unreachable("ErrImagePull", "unexpected status from r.example: 403 Forbidden")
    assert not is_unreachable("ErrImagePull", "authorization failed: no basic auth credentials")
