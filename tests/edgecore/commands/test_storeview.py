"""Kinds, names and objects as people see them. Nothing is faked: it is pure."""

import pytest

from common.errors import ConfigError
from edgecore.commands import storeview
from edgecore.commands.storeview import HIDDEN, kind_of, name_of, without_secrets
from edgecore.edgestore.reading import Held, Opened

HELD = Held("configmap", "shop", "web", "u1", 7, 42)


@pytest.mark.parametrize(
    ("said", "kind"),
    [("pods", "pod"), ("Pod", "pod"), ("po", "pod"), ("cm", "configmap"), ("Secrets", "secret")],
)
def test_a_kind_is_known_by_all_its_names(said: str, kind: str) -> None:
    assert kind_of(said) == kind


def test_a_kind_that_is_never_stored_is_told_with_the_closest_one() -> None:
    with pytest.raises(ConfigError, match="did you mean configmap"):
        kind_of("confgmap")
    with pytest.raises(ConfigError, match="it knows pod, configmap"):
        kind_of("qqq")


def test_a_name_has_a_namespace_unless_its_kind_has_none() -> None:
    assert name_of("pod", "shop/web") == ("shop", "web")
    assert name_of("pod", "web") == ("default", "web")
    assert name_of("node", "edge-1") == ("", "edge-1")


@pytest.mark.parametrize("text", ["", "/", "a/", "/b", "a/b/c"])
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected"):
        name_of("pod", text)


def test_a_namespace_where_there_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="has no namespace: give 'edge-1'"):
        name_of("node", "default/edge-1")


def test_an_object_is_a_row_for_people_and_an_item_for_programs() -> None:
    assert storeview.row(HELD) == ("configmap", "shop", "web", "7", "42", "u1")
    assert len(storeview.HEAD) == len(storeview.row(HELD))
    assert storeview.item(HELD) == {
        "kind": "configmap",
        "namespace": "shop",
        "name": "web",
        "resourceVersion": "7",
        "sizeBytes": 42,
        "uid": "u1",
    }


def test_a_secret_shows_its_entries_and_no_values() -> None:
    secret = {
        "metadata": {
            "name": "tls",
            "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": "the whole of it",
                "team": "a",
            },
        },
        "data": {"key": "aGVsbG8="},
        "stringData": {"other": "hello"},
    }
    shown = without_secrets("secret", secret)
    assert shown["data"] == {"key": HIDDEN}
    assert shown["stringData"] == {"other": HIDDEN}
    assert shown["metadata"]["annotations"]["team"] == "a"
    assert "hello" not in str(shown)
    assert "aGVsbG8=" not in str(shown)
    assert "the whole of it" not in str(shown)
    assert secret["data"] == {"key": "aGVsbG8="}, "what was handed in is left alone"


def test_a_token_is_hidden_and_its_end_is_not() -> None:
    token = {"status": {"token": "abc", "expirationTimestamp": "2026-01-01T00:00:00Z"}}
    shown = without_secrets("serviceaccounttoken", token)
    assert shown["status"] == {"token": HIDDEN, "expirationTimestamp": "2026-01-01T00:00:00Z"}


def test_what_is_no_secret_is_shown_as_it_is() -> None:
    configmap = {"data": {"a": "b"}}
    assert without_secrets("configmap", configmap) == configmap
    assert without_secrets("secret", "odd") == "odd"
    assert without_secrets("secret", {"metadata": {}, "status": {}}) == {
        "metadata": {},
        "status": {},
    }


def test_pods_are_counted_by_phase() -> None:
    values = [b'{"status":{"phase":"Running"}}', b"{}", b'{"status":{"phase":"Running"}}', None]
    pods = [Opened(HELD, value) for value in values]
    assert storeview.pods_by_phase(pods) == {"Pending": 2, "Running": 2}
