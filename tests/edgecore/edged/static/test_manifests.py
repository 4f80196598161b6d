"""Static pods from manifests. Nothing is faked; properties hold for documents of any content."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudcore.cloudhub.claims import mirror_pod_fault
from common.beehive.message import new, raw
from common.names import NodeID, Operation
from edgecore.edged.spec.qos import is_static
from edgecore.edged.static.manifests import (
    MIRROR_ANNOTATION,
    ManifestError,
    from_api,
    is_static_uid,
    static_pod,
)
from tests.edgecore.edged.bus import START

PATH = "/etc/manifests/web.yaml"


def manifest(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": "img"}], **spec},
    }


def made(document: object, node: str = "N1", path: str = PATH) -> dict[str, Any]:
    return static_pod(document, node, path, START)


def test_a_manifest_becomes_the_pod_that_kubelet_would_make() -> None:
    pod = made(manifest())
    metadata = pod["metadata"]
    assert (metadata["name"], metadata["namespace"]) == ("web-n1", "default")
    assert metadata["labels"] == {"app": "web"}
    assert is_static_uid(metadata["uid"])
    assert metadata["annotations"] == {
        "kubernetes.io/config.source": "file",
        "kubernetes.io/config.hash": metadata["uid"],
        "kubernetes.io/config.seen": "2026-11-24T00:00:00.000000Z",
    }
    assert pod["spec"]["nodeName"] == "N1"
    assert pod["spec"]["tolerations"] == [{"operator": "Exists", "effect": "NoExecute"}]
    assert pod["spec"]["restartPolicy"] == "Always"
    assert pod["status"] == {"phase": "Pending"}
    assert is_static(pod)


def test_the_uid_is_the_same_at_any_time_and_of_this_file_on_this_node_only() -> None:
    uid = made(manifest())["metadata"]["uid"]
    reordered = dict(reversed(manifest().items())) | {"status": None}
    later = static_pod(reordered, "N1", PATH, START + timedelta(days=900))
    assert later["metadata"]["uid"] == uid
    others = [
        made(manifest(), node="N2"),
        made(manifest(), path="/etc/manifests/other.yaml"),
        made(manifest(restartPolicy="Never")),
    ]
    assert len({uid, *(pod["metadata"]["uid"] for pod in others)}) == 4


def test_it_is_never_made_in_another_way_since_containers_run_under_it() -> None:
    assert made(manifest())["metadata"]["uid"] == "d70c88f82ac04245b7dccdeb9c922eaa"


def test_a_uid_that_is_given_is_taken_and_the_hash_still_tells_of_changes() -> None:
    document = manifest() | {"metadata": {"name": "web", "uid": "mine", "namespace": "shop"}}
    one = made(document)["metadata"]
    other = made(document | {"spec": manifest(hostNetwork=True)["spec"]})["metadata"]
    assert one["uid"] == other["uid"] == "mine"
    assert one["namespace"] == "shop"
    assert one["annotations"] != other["annotations"]


def test_a_manifest_says_nothing_that_is_the_api_servers_to_say() -> None:
    document = manifest() | {"status": {"phase": "Failed"}}
    document["metadata"] |= {
        "deletionTimestamp": "2026-01-01T00:00:00Z",
        "ownerReferences": [{}],
        "annotations": {MIRROR_ANNOTATION: "x", "mine": "y"},
    }
    pod = made(document)
    assert pod["metadata"].keys() == {"name", "namespace", "uid", "labels", "annotations"}
    assert MIRROR_ANNOTATION not in pod["metadata"]["annotations"]
    assert pod["metadata"]["annotations"]["mine"] == "y"
    assert pod["status"] == {"phase": "Pending"}


def test_the_toleration_is_there_once() -> None:
    mine = [{"operator": "Exists", "effect": "NoExecute"}, {"key": "k", "operator": "Exists"}]
    assert len(made(manifest(tolerations=mine))["spec"]["tolerations"]) == 2


def claim(source: dict[str, Any]) -> dict[str, Any]:
    return {"volumes": [{"name": "v", **source}]}


CONTAINER = {"name": "c", "image": "img"}
REFERENCES: list[tuple[dict[str, Any], str]] = [
    ({"serviceAccountName": "me"}, "service accounts"),
    ({"imagePullSecrets": [{"name": "s"}]}, "Secrets"),
    (claim({"secret": {"secretName": "s"}}), "Secrets"),
    (claim({"secret": {}}), "Secrets"),
    (claim({"configMap": {"name": "m"}}), "ConfigMaps"),
    (claim({"persistentVolumeClaim": {"claimName": "c"}}), "claims"),
    (claim({"ephemeral": {}}), "claims"),
    (claim({"projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}), "projected"),
    (claim({"projected": {"sources": [{"clusterTrustBundle": {}}]}}), "projected"),
    (claim({"projected": {"sources": [{"secret": {"name": "s"}}]}}), "Secrets"),
    (claim({"csi": {"driver": "d"}}), "drivers"),
    ({"resourceClaims": [{"name": "r"}]}, "claims"),
    ({"containers": [CONTAINER | {"resources": {"claims": [{"name": "r"}]}}]}, "claims"),
    ({"containers": [CONTAINER | {"envFrom": [{"configMapRef": {"name": "m"}}]}]}, "ConfigMaps"),
    ({"initContainers": [CONTAINER | {"name": "i", "envFrom": [{"secretRef": {"name": "s"}}]}]},
     "Secrets"),
    ({"ephemeralContainers": [CONTAINER]}, "ephemeral"),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "words"), REFERENCES)
def test_a_static_pod_names_nothing_of_the_api(spec: dict[str, Any], words: str) -> None:
    with pytest.raises(ManifestError, match=f"static pods may not reference .*{words}"):
        made(manifest(**spec))


def test_what_is_taken_here_cloudcore_takes_as_a_mirror() -> None:
    item = {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}
    projected = claim({"projected": {"sources": [{"downwardAPI": {"items": [item]}}]}})
    pod = made(manifest(**projected), node="n1")
    pod["metadata"]["annotations"][MIRROR_ANNOTATION] = "x"
    message = new("edged", "meta", Operation.INSERT, "default/pod/web-n1", raw(pod))
    assert mirror_pod_fault(message, NodeID("n1"), "default", "web-n1") == ""


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (None, "no JSON"),
        ("text", "invalid pod"),
        ({80: "x"}, "a key is no text"),
        ({"a": float("nan")}, "no JSON"),
        ({"a": object()}, "no JSON"),
        (manifest(containers="c"), "invalid pod"),
        (manifest() | {"metadata": {"name": "w" * 252}}, "longer than 253"),
    ],
)
def test_what_is_no_pod_is_said(document: object, words: str) -> None:
    with pytest.raises(ManifestError, match=words):
        made(document)


def test_a_document_that_stands_for_more_than_it_has_is_refused() -> None:
    bomb: Any = ["x"] * 9
    for _ in range(9):
        bomb = [bomb] * 9
    loop: list[Any] = []
    loop.append(loop)
    for document in (bomb, loop, {"a": loop}):
        with pytest.raises(ManifestError, match="too large or too deep"):
            made(document)


_FIELDS = ["name", "image", "containers", "volumes", "env", "valueFrom", "fieldRef", "downwardAPI"]
_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just("c"),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from([*_FIELDS, "projected", "sources", "items"]), inner)
    ),
    max_leaves=12,
)


@given(st.sampled_from([*_FIELDS, "ports", "resources", "livenessProbe", "lifecycle"]), _ANYTHING)
def test_any_content_gives_a_pod_or_words(field: str, value: Any) -> None:
    for document in (
        manifest(**{field: value}),
        manifest(containers=[CONTAINER | {field: value}]),
        manifest(volumes=[{"name": "v", field: value}]),
        value,
    ):
        try:
            assert is_static(made(document))
        except ManifestError as error:
            assert str(error)  # noqa: PT017 - either of the two will do


def test_a_pod_of_the_api_cannot_pass_for_one_from_a_file() -> None:
    pod = made(manifest())
    assert is_static(pod)
    served = from_api(pod)
    assert not is_static(served)
    assert served["spec"] == pod["spec"]
    assert served["metadata"]["annotations"].keys() == pod["metadata"]["annotations"].keys() - {
        "kubernetes.io/config.source"
    }
    assert from_api(served) is served
    assert not is_static_uid("8c5b2a3c-33d2-4f0e-9f0c-0f6f3b5f9b1d")
