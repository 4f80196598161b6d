"""Rows of KubeEdge's table ``meta``, in all shapes that they have there. Nothing is faked."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.wire import loads
from edgecore.kubeedge.meta import MetaRow, judge
from tests.edgecore.kubeedge.kubeedge import CONFIGMAP, NODE, OTHERS, SECRET, a_pod, an_object, row

OTHER = an_object("ConfigMap", "other")


def found(text: object, value: dict[str, Any] = CONFIGMAP) -> Any:
    key, kind, _ = row(value)
    return judge([MetaRow(key, kind, text)], NODE)


def test_objects_of_the_taken_types_are_found_and_the_others_are_counted() -> None:
    rows = [MetaRow(*one) for one in [row(a_pod()), row(CONFIGMAP), row(SECRET), *OTHERS]]
    result = judge(rows, NODE)
    assert [one.key for one in result.objects] == [
        "default/pod/web",
        "default/configmap/web",
        "default/secret/db",
    ]
    assert [one.version for one in result.objects] == ["7", "7", "7"]
    assert [loads(one.value) for one in result.objects] == [a_pod(), CONFIGMAP, SECRET]
    assert result.faults == ()
    assert result.others == {"node": 1, "podpatch": 1, "serviceaccounttoken": 1}


def test_an_object_is_kept_as_it_is_spelled() -> None:
    text = json.dumps(CONFIGMAP, indent=1)
    assert found(text).objects[0].value == text.encode()
    assert found(text.encode()).objects[0].value == text.encode()


@pytest.mark.parametrize(
    "wrapped",
    [
        json.dumps(json.dumps(CONFIGMAP)),
        json.dumps([CONFIGMAP]),
        json.dumps([json.dumps(CONFIGMAP)]),
        json.dumps([json.dumps(OTHER), json.dumps(CONFIGMAP)]),
        json.dumps([OTHER, CONFIGMAP]),
        json.dumps({"Object": CONFIGMAP, "Err": None}),
        json.dumps(json.dumps([json.dumps(CONFIGMAP)])),
    ],
)
def test_what_is_around_an_object_is_taken_off(wrapped: str) -> None:
    result = found(wrapped)
    assert result.faults == ()
    assert loads(result.objects[0].value) == CONFIGMAP


def without(part: str, value: dict[str, Any] = CONFIGMAP) -> str:
    metadata = {name: one for name, one in value["metadata"].items() if name != part}
    return json.dumps({**value, "metadata": metadata})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "no value"),
        (7, "no value"),
        ("", "unusable content"),
        ("{", "unusable content"),
        (b"\xff\xfe", "unusable content"),
        ("null", "not an object"),
        ("7", "not an object"),
        ("[]", "a list without the object"),
        (json.dumps([OTHER, OTHER]), "a list without the object"),
        (json.dumps([OTHER]), "another one than its key says"),
        (json.dumps({"ErrStatus": {"code": 404}}), "an error, and no object"),
        (json.dumps({"Object": None, "Err": {"ErrStatus": {}}}), "an error, and no object"),
        (json.dumps({"Object": None, "Err": None}), "not an object"),
        ("{}", "not an object with metadata"),
        (json.dumps({"metadata": []}), "not an object with metadata"),
        (json.dumps(OTHER), "another one than its key says"),
        (without("uid"), "no uid"),
        (json.dumps(an_object("ConfigMap", "web", version=2**63)), "not a resource version"),
        (without("uid").replace('"7"', "7"), "no uid"),
        (json.dumps(CONFIGMAP).replace('"7"', "7"), "not a resource version"),
        (json.dumps(CONFIGMAP).replace('"7"', '"x"'), "not a resource version"),
        (json.dumps(json.dumps(json.dumps(json.dumps(json.dumps(CONFIGMAP))))), "not an object"),
        ("[" * 5000, "unusable content"),
    ],
)
def test_a_row_that_is_no_object_is_named_with_the_reason(text: object, why: str) -> None:
    result = found(text)
    assert result.objects == ()
    (fault,) = result.faults
    assert fault.startswith("default/configmap/web: ")
    assert why in fault


def test_an_object_without_a_version_is_taken() -> None:
    assert found(without("resourceVersion")).objects[0].version == ""


@pytest.mark.parametrize(
    "key", ["web", "default/configmap/web/1", "default/secret/web", None, "//"]
)
def test_a_key_of_another_form_is_named(key: object) -> None:
    result = judge([MetaRow(key, "configmap", json.dumps(CONFIGMAP))], NODE)
    assert result.objects == ()
    assert "namespace/type/name" in result.faults[0]


def test_pods_of_other_nodes_are_left_out_where_the_node_is_known() -> None:
    strange = row(a_pod(node="edge-2"))
    assert "another node" in judge([MetaRow(*strange)], NODE).faults[0]
    assert len(judge([MetaRow(*strange)], "").objects) == 1
    assert len(judge([MetaRow(*row(a_pod(node="")))], NODE).objects) == 1
    assert "no containers" in found(json.dumps(an_object("Pod", "web")), a_pod()).faults[0]


def test_no_value_stands_in_a_fault() -> None:
    broken = json.dumps(SECRET)[:-5]
    assert "aHVudGVyMg" in broken
    assert "aHVudGVyMg" not in found(broken, SECRET).faults[0]


_JSON = st.recursive(
    st.none() | st.integers() | st.text() | st.just("metadata"),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["metadata", "Object"]), inner),
)


@given(st.binary() | st.text() | _JSON.map(json.dumps))
def test_whatever_stands_in_a_row_it_is_taken_or_named(text: str | bytes) -> None:
    result = found(text)
    assert len(result.objects) + len(result.faults) == 1
