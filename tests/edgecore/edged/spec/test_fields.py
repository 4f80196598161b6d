"""What a container may learn of its pod: pure, nothing faked."""

from typing import Any

import pytest

from edgecore.edged.spec.fields import FieldError, NodeView, field_value, resource_value
from tests.edgecore.edged.world import container, pod_object

NODE = NodeView("n1", "192.0.2.7", {"cpu": "4", "memory": "1Gi"})


def a_pod() -> dict[str, Any]:
    resources = {"limits": {"cpu": "1500m"}, "requests": {"memory": "64Mi"}}
    pod = pod_object(
        "web", serviceAccountName="sa", containers=[container("c", resources=resources)]
    )
    pod["metadata"] |= {"labels": {"b": 'say "hi"', "a": "1"}, "annotations": {"x.io/y": "z"}}
    return pod


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "web"),
        ("metadata.namespace", "default"),
        ("metadata.uid", "uid-web"),
        ("metadata.labels", 'a="1"\nb="say \\"hi\\""'),
        ("metadata.labels['a']", "1"),
        ("metadata.labels['none']", ""),
        ("metadata.annotations['x.io/y']", "z"),
        ("spec.nodeName", "n1"),
        ("spec.serviceAccountName", "sa"),
        ("status.hostIP", "192.0.2.7"),
        ("status.podIP", "192.0.2.7"),
        ("status.podIPs", "192.0.2.7"),
    ],
)
def test_a_field_has_the_value_that_kubelet_gives_it(path: str, value: str) -> None:
    assert field_value(a_pod(), NODE, path) == value


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("status.podIP", "10.0.0.2"),
        ("status.podIPs", "10.0.0.2,fd00::2"),
        ("status.hostIP", "192.0.2.7"),
        ("status.hostIPs", "192.0.2.7"),
    ],
)
def test_a_pod_with_addresses_of_its_own_knows_them_and_the_nodes(path: str, value: str) -> None:
    assert field_value(a_pod(), NODE, path, ["10.0.0.2", "fd00::2"]) == value


def test_a_field_that_pods_may_not_see_is_an_error() -> None:
    with pytest.raises(FieldError, match=r"spec\.containers"):
        field_value(a_pod(), NODE, "spec.containers")


@pytest.mark.parametrize(
    ("ref", "value"),
    [
        ({"resource": "limits.cpu"}, "2"),
        ({"resource": "limits.cpu", "divisor": "1m"}, "1500"),
        ({"resource": "requests.memory", "divisor": "1Mi"}, "64"),
        ({"resource": "limits.memory", "divisor": "1Mi"}, "1024"),
        ({"resource": "requests.cpu"}, "0"),
    ],
)
def test_a_limit_that_is_not_set_is_what_the_node_has(ref: dict[str, str], value: str) -> None:
    assert resource_value(a_pod(), NODE, "c", ref) == value


@pytest.mark.parametrize(
    "ref",
    [
        {"resource": "limits.cpu", "containerName": "nobody"},
        {"resource": "limits.love"},
        {"resource": "limits.cpu", "divisor": "x"},
    ],
)
def test_a_reference_that_leads_nowhere_is_an_error(ref: dict[str, str]) -> None:
    with pytest.raises(FieldError):
        resource_value(a_pod(), NODE, "c", ref)


@pytest.mark.parametrize(
    ("level", "ref", "value"),
    [
        ({"cpu": "2"}, {"resource": "limits.cpu", "divisor": "1m"}, "1500"),
        ({"memory": "128Mi"}, {"resource": "limits.memory", "divisor": "1Mi"}, "128"),
        ({"memory": "0"}, {"resource": "limits.memory", "divisor": "1Mi"}, "1024"),
        ({"ephemeral-storage": "1"}, {"resource": "limits.ephemeral-storage"}, "0"),
    ],
)
def test_a_limit_of_the_pod_holds_for_containers_without_one(
    level: dict[str, str], ref: dict[str, str], value: str
) -> None:
    pod = a_pod()
    pod["spec"]["resources"] = {"limits": level}
    assert resource_value(pod, NODE, "c", ref) == value


def test_a_limit_of_zero_is_none() -> None:
    pod = pod_object("web", containers=[container("c", resources={"limits": {"cpu": "0"}})])
    assert resource_value(pod, NODE, "c", {"resource": "limits.cpu"}) == "4"
