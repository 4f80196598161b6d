"""Credentials out of Secrets: pure, nothing faked."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecore.edged.images.imagerefs import parse_image
from edgecore.edged.images.keyring import Keyring, PullSecret, keyring_of


def login(name: str) -> dict[str, Any]:
    return {"username": name, "password": f"{name}-pw", "email": "x@example.com"}


def secret(auths: Any, name: str = "s") -> PullSecret:
    content = json.dumps({"auths": auths}).encode()
    return PullSecret(name, "kubernetes.io/dockerconfigjson", {".dockerconfigjson": content})


def users(keyring: Keyring, image: str) -> list[str]:
    return [auth.username for auth in keyring.auths(parse_image(image))]


@pytest.mark.parametrize(
    ("place", "image", "fits"),
    [
        ("r.example", "r.example/team/app:1", True),
        ("https://r.example", "r.example/app", True),
        ("http://r.example/v2/", "r.example/app", True),
        ("https://r.example/v1/team", "r.example/team/app", True),
        ("r.example/team", "r.example/team/app", True),
        ("r.example/team", "r.example/other/app", False),
        ("r.example", "r.example:5000/app", False),
        ("r.example:5000", "r.example:5000/app", True),
        ("*.r.example", "eu.r.example/app", True),
        ("*.r.example", "r.example/app", False),
        ("*.r.example", "a.b.r.example/app", False),
        ("r?.example", "r1.example/app", True),
        ("*", "r.example/app", False),
        ("https://index.docker.io/v1/", "busybox", True),
        ("docker.io", "busybox", True),
        ("docker.io/library", "team/app", False),
        ("index.docker.io", "r.example/app", False),
        ("[2001:db8::1]:5000", "[2001:db8::1]:5000/app", True),
        ("[2001:db8::1]", "[2001:db8::2]/app", False),
        ("[qr].example", "r.example/app", True),
        ("a\nb", "r.example/app", False),
    ],
)
def test_credentials_are_for_a_host_and_a_path(place: str, image: str, *, fits: bool) -> None:
    keyring = keyring_of([secret({place: login("u")})])
    assert users(keyring, image) == (["u"] if fits else [])


def test_the_more_specific_credentials_come_first() -> None:
    keyring = keyring_of(
        [
            secret({"r.example": login("host"), "*.example": login("glob")}),
            secret({"r.example/team/app": login("app"), "r.example/team": login("team")}),
            secret({"r.example": login("other")}),
        ]
    )
    assert users(keyring, "r.example/team/app") == ["app", "team", "host", "other", "glob"]


def test_the_same_credentials_are_tried_once() -> None:
    keyring = keyring_of([secret({"r.example": login("u"), "r.example/a": login("u")})])
    assert users(keyring, "r.example/a") == ["u"]


@pytest.mark.parametrize("padding", ["", "="])
def test_a_login_may_be_encoded(padding: str) -> None:
    encoded = base64.b64encode(b"me:p:w12").decode().rstrip("=") + padding
    keyring = keyring_of([secret({"r.example": {"auth": encoded, "username": "old"}})])
    (auth,) = keyring.auths(parse_image("r.example/a"))
    assert (auth.username, auth.password) == ("me", "p:w12")


def test_the_older_form_of_secret_is_read_too() -> None:
    content = json.dumps({"r.example": login("u")}).encode()
    old = PullSecret("s", "kubernetes.io/dockercfg", {".dockercfg": content})
    assert users(keyring_of([old]), "r.example/a") == ["u"]


@pytest.mark.parametrize(
    "other",
    [
        PullSecret("s", "Opaque", {".dockerconfigjson": b"{}"}),
        PullSecret("s", "kubernetes.io/dockerconfigjson", {}),
        PullSecret("s", "kubernetes.io/dockercfg", {}),
        secret(None),
    ],
)
def test_a_secret_without_credentials_gives_none_and_is_no_fault(other: PullSecret) -> None:
    assert keyring_of([other]) == Keyring()


@pytest.mark.parametrize(
    "auths",
    [
        ["r.example"],
        {"r.example": "s3cret"},
        {"r.example": {"auth": "s3cret"}},
        {"r.example": {"auth": base64.b64encode(b"s3cret").decode()}},
        {"r.example": {"auth": 7}},
        {"r.example": {"username": "u", "password": ["s3cret"]}},
    ],
)
def test_a_secret_that_cannot_be_read_is_named_and_the_others_are_used(auths: Any) -> None:
    keyring = keyring_of([secret(auths, "broken"), secret({"r.example": login("u")})])
    assert users(keyring, "r.example/a") == ["u"]
    assert keyring.faults == ('Secret "broken" holds no credentials that can be read',)


@given(st.binary())
def test_any_content_gives_credentials_or_a_fault(content: bytes) -> None:
    made = PullSecret("s", "kubernetes.io/dockercfg", {".dockercfg": content})
    keyring = keyring_of([made])
    assert len(keyring.faults) <= 1
    keyring.auths(parse_image("r.example/a"))


def test_nothing_of_a_secret_is_shown() -> None:
    made = secret({"r.example": login("u")})
    assert "u-pw" not in f"{made}{keyring_of([made])}{keyring_of([made]).entries}"
