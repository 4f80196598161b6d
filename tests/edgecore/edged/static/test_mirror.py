"""Mirror pods: what to do about them. Nothing is faked; cloudcore's own rule judges the mirror."""

from itertools import product
from typing import Any

import pytest

from cloudcore.cloudhub.claims import mirror_pod_fault
from common.beehive.message import new, raw
from common.names import NodeID, Operation
from edgecore.edged.static.manifests import static_pod
from edgecore.edged.static.mirror import MirrorStep, is_mirror, mirror_object, mirrors, next_step
from tests.edgecore.edged.bus import START


def static(image: str = "img") -> dict[str, Any]:
    manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": image}]},
    }
    return static_pod(manifest, "n1", "/m/web.yaml", START)


def mirror(of: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    made = mirror_object(of, "n1", "uid-node")
    return {**made, "metadata": {**made["metadata"], "uid": "uid-mirror", **metadata}}


DELETING = {"deletionTimestamp": "2026-11-24T00:00:00Z"}
N, C, D = MirrorStep.NOTHING, MirrorStep.CREATE, MirrorStep.DELETE


@pytest.mark.parametrize(
    ("pod", "shown", "step"),
    [
        (None, None, N),
        (static(), None, C),
        (static(), mirror(static()), N),
        (static(), mirror(static("other")), D),
        (static(), mirror(static(), **DELETING), D),
        (None, mirror(static()), D),
    ],
)
def test_the_next_step_is_towards_a_mirror_that_is_as_its_pod(
    pod: dict[str, Any] | None, shown: dict[str, Any] | None, step: MirrorStep
) -> None:
    assert next_step(pod, shown, complete=True) is step


def test_a_file_that_could_not_be_read_costs_no_mirror() -> None:
    assert next_step(None, mirror(static()), complete=False) is N
    assert next_step(static(), mirror(static("other")), complete=False) is D
    assert next_step(static(), None, complete=False) is C


def test_it_takes_two_steps_at_most_and_rests_then() -> None:
    pods = [None, static(), static("other")]
    shown = [None, *(mirror(p, **m) for p in pods if p for m in ({}, DELETING))]
    for pod, there in product(pods, shown):
        now, steps = there, []
        while (step := next_step(pod, now, complete=True)) is not MirrorStep.NOTHING:
            steps.append(step)
            now = mirror(pod) if step is MirrorStep.CREATE and pod else None
        assert len(steps) <= 2
        assert (now is None) == (pod is None)


def test_a_mirror_is_what_the_cloud_takes_from_a_node() -> None:
    made = mirror_object(static(), "n1", "uid-node")
    message = new("edged", "meta", Operation.INSERT, "default/pod/web-n1", raw(made))
    assert mirror_pod_fault(message, NodeID("n1"), "default", "web-n1") == ""
    [owner] = made["metadata"]["ownerReferences"]
    assert (owner["uid"], owner["controller"]) == ("uid-node", True)


def test_it_has_neither_the_uid_nor_the_status_of_its_pod() -> None:
    made = mirror_object(static(), "n1", "uid-node")
    assert "uid" not in made["metadata"]
    assert "status" not in made
    assert made["metadata"]["labels"] == {"app": "web"}
    assert made["spec"] == static()["spec"]


def test_mirrors_are_told_from_pods() -> None:
    assert is_mirror(mirror(static()))
    assert not is_mirror(static())
    assert not is_mirror({})
    assert mirrors(mirror(static()), static())
    assert not mirrors({"metadata": {}}, static())
