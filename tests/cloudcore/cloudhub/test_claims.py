"""What contents say about themselves. Pure."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudcore.cloudhub import claims
from common.beehive.message import Message, new, raw
from common.errors import WireError
from common.names import NodeID, Operation

NODE = NodeID("n1")


def message(content: object, operation: Operation = Operation.INSERT) -> Message:
    return new("edged", "meta", operation, "shop/x/y", raw(content))


def mirror(**changes: Any) -> dict[str, Any]:
    pod: dict[str, Any] = {
        "metadata": {
            "name": "static",
            "namespace": "shop",
            "annotations": {claims.MIRROR_ANNOTATION: "hash"},
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Node", "name": NODE, "uid": "u", "controller": True}
            ],
        },
        "spec": {
            "nodeName": NODE,
            "containers": [{"name": "c", "image": "i", "env": [{"name": "A", "value": "1"}]}],
            "volumes": [
                {"name": "h", "hostPath": {"path": "/etc"}},
                {"name": "p", "projected": {"sources": [{"downwardAPI": {"items": []}}]}},
            ],
        },
    }
    for path, value in changes.items():
        *parents, last = path.split("__")
        inner = pod
        for parent in parents:
            inner = inner[parent]
        inner[last] = value
    return pod


def fault(pod: object) -> str:
    return claims.mirror_pod_fault(message(pod), NODE, "shop", "static")


def test_a_static_pod_may_be_shown() -> None:
    assert fault(mirror()) == ""
    assert fault(mirror(metadata__ownerReferences=[])) == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"metadata__name": "other"},
        {"metadata__namespace": "kube-system"},
        {"metadata__annotations": {}},
        {"metadata__annotations": None},
        {"metadata__annotations": {claims.MIRROR_ANNOTATION: ""}},
        {"spec__nodeName": "n2"},
        {"spec__nodeName": ""},
        {"spec__serviceAccountName": "admin"},
        {"spec__serviceAccount": "admin"},
        {"spec__imagePullSecrets": [{"name": "s"}]},
        {"spec__resourceClaims": [{"name": "gpu"}]},
        {"spec__volumes": [{"name": "v", "secret": {"secretName": "s"}}]},
        {"spec__volumes": [{"name": "v", "configMap": {"name": "c"}}]},
        {"spec__volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]},
        {"spec__volumes": [{"name": "v", "ephemeral": {}}]},
        {"spec__volumes": [{"name": "v", "projected": {"sources": [{"secret": {"name": "s"}}]}}]},
        {
            "spec__volumes": [
                {"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}
            ]
        },
        {
            "spec__volumes": [
                {"name": "v", "projected": {"sources": [{"clusterTrustBundle": {"path": "t"}}]}}
            ]
        },
        {"spec__containers": [{"name": "c", "envFrom": [{"secretRef": {"name": "s"}}]}]},
        {"spec__initContainers": [{"name": "c", "envFrom": [{"configMapRef": {"name": "s"}}]}]},
        {
            "metadata__ownerReferences": [
                {"apiVersion": "v1", "kind": "Node", "name": "n2", "controller": True}
            ]
        },
        {"metadata__ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": NODE}]},
        {
            "metadata__ownerReferences": [
                {
                    "apiVersion": "v1",
                    "kind": "Node",
                    "name": NODE,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ]
        },
        {"metadata__ownerReferences": [{}, {}]},
        {"metadata__ownerReferences": "x"},
    ],
)
def test_a_pod_that_would_grant_its_node_something_is_no_mirror_pod(
    changes: dict[str, Any],
) -> None:
    assert fault(mirror(**changes)) != ""


def test_what_is_no_pod_is_no_mirror_pod() -> None:
    assert fault({}) != ""
    assert fault({"metadata": {}, "spec": []}) != ""
    with pytest.raises(WireError):
        fault([])


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["metadata", "spec", "volumes", "projected", "sources", "name"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_any_content_is_judged_or_refused(content: object) -> None:
    try:
        assert fault(content) != ""
    except WireError:
        assert not isinstance(content, dict)


def event(**changes: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "web.1", "namespace": "shop"},
        "involvedObject": {"kind": "Pod", "name": "web", "namespace": "shop"},
        **changes,
    }


def test_of_an_event_that_occurred_again_only_how_often_and_when_may_change() -> None:
    good = {"event": event(), "patchData": json.dumps({"count": 2, "message": "again"})}
    assert claims.event(message(good, Operation.PATCH)).involvedObject.name == "web"
    wider: list[dict[str, Any]] = [
        {"involvedObject": {}},
        {"metadata": {"name": "x"}},
        {"reason": "x"},
    ]
    for patch in wider:
        bad = {"event": event(), "patchData": json.dumps(patch)}
        with pytest.raises(WireError, match="may change"):
            claims.event(message(bad, Operation.PATCH))
    with pytest.raises(WireError):
        claims.event(message({"event": event(), "patchData": "[]"}, Operation.PATCH))


def test_an_event_has_a_size() -> None:
    overhead = len(bytes(raw(event(message=""))))
    largest = event(message="x" * (claims.MAX_EVENT_BYTES - overhead))
    assert claims.event(message(largest)).metadata.name == "web.1"
    with pytest.raises(WireError, match=str(claims.MAX_EVENT_BYTES)):
        claims.event(message({**largest, "message": largest["message"] + "x"}))


@pytest.mark.parametrize(
    ("name", "about", "is_its"),
    [
        ("web.17f3", "web", True),
        ("web.17F3", "web", False),
        ("web.b.17f3", "web", False),
        ("web.b.17f3", "web.b", True),
        ("web", "web", False),
        (".17f3", "", True),  # an event about nothing: nobody owns it
        ("web." + "f" * 33, "web", False),
    ],
)
def test_an_events_name_tells_what_it_is_about(name: str, about: str, *, is_its: bool) -> None:
    assert claims.is_event_name(name, about) is is_its


def test_contents_may_come_as_text() -> None:
    as_text = new("edged", "meta", Operation.UPDATE, "r", raw('{"metadata":{"name":"n1"}}'))
    assert claims.metadata(as_text).name == "n1"


def test_a_token_request_that_binds_nothing_is_bound_to_nothing() -> None:
    assert claims.bound_object(message({"spec": {}})) == claims.BoundObject()
    with pytest.raises(WireError):
        claims.bound_object(message({}))


def test_a_node_is_an_object_of_a_bounded_size() -> None:
    assert claims.node(message({"status": {}})) == {"status": {}}
    frame = len(bytes(raw({"x": ""})))
    assert claims.node(message({"x": "y" * (claims.MAX_NODE_BYTES - frame)}))
    with pytest.raises(WireError, match=str(claims.MAX_NODE_BYTES)):
        claims.node(message({"x": "y" * (claims.MAX_NODE_BYTES - frame + 1)}))
    with pytest.raises(WireError):
        claims.node(message([]))
