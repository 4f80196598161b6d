"""What was found out about a pod's objects: pure, nothing faked."""

import pytest

from common.names import ResourceType
from edgecore.edged.objects import (
    MissingError,
    Objects,
    Ref,
    TokenRef,
    UnavailableError,
    configmap_data,
    secret_data,
)

MAP = Ref(ResourceType.CONFIGMAP, "web")


def test_text_and_binary_data_of_a_configmap_are_bytes() -> None:
    assert configmap_data({"data": {"a": "ä"}, "binaryData": {"b": "/w=="}}) == {
        "a": "ä".encode(),
        "b": b"\xff",
    }


def test_a_secret_is_decoded_and_a_broken_one_is_an_error() -> None:
    assert secret_data({"data": {"a": "aGk="}}) == {"a": b"hi"}
    with pytest.raises(MissingError, match="base64"):
        secret_data({"data": {"a": "x"}})


def test_what_does_not_exist_is_told_from_what_could_not_be_asked() -> None:
    with pytest.raises(MissingError, match='configmap "web" not found'):
        Objects("default", {MAP: None}).data(MAP, optional=False)
    with pytest.raises(UnavailableError, match="could not be asked"):
        Objects("default").data(MAP, optional=False)


def test_an_optional_object_may_be_missing_but_must_have_been_asked_for() -> None:
    assert Objects("default", {MAP: None}).data(MAP, optional=True) == {}
    with pytest.raises(UnavailableError):
        Objects("default").data(MAP, optional=True)


def test_a_token_that_never_came_is_not_a_value() -> None:
    ref = TokenRef("sa", "", 3600)
    with pytest.raises(UnavailableError, match="service account"):
        Objects("default").token(ref)
    assert Objects("default", tokens={ref: "t"}).token(ref) == "t"
