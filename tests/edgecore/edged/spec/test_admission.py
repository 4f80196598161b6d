"""Which pods a node takes: pure, nothing faked."""

from typing import Any

import pytest

from edgecore.edged.containerstatus import Rejection
from edgecore.edged.spec.admission import AdmittingNode, admit, node_fit
from tests.edgecore.edged.world import container, pod_object

ALLOCATABLE = {"cpu": "2", "memory": "1Gi", "ephemeral-storage": "10Gi", "pods": "3"}
NODE = AdmittingNode("n1", ALLOCATABLE, {"zone": "a"})


def asking(name: str = "web", **requests: str) -> dict[str, Any]:
    named = {key.replace("_", "-"): value for key, value in requests.items()}
    return pod_object(name, containers=[container("c", resources={"requests": named})])


def short_of(resource: str, numbers: str) -> Rejection:
    words = f"Node didn't have enough resource: {resource}, {numbers}"
    return Rejection(f"OutOf{resource}", words)


@pytest.mark.parametrize(
    ("requests", "others", "rejection"),
    [
        ({}, 2, None),
        ({"cpu": "1500m", "memory": "512Mi"}, 1, None),
        ({}, 3, short_of("pods", "requested: 1, used: 3, capacity: 3")),
        ({"cpu": "1501m"}, 1, short_of("cpu", "requested: 1501, used: 500, capacity: 2000")),
        (
            {"memory": "513Mi"},
            1,
            short_of("memory", "requested: 537919488, used: 536870912, capacity: 1073741824"),
        ),
        (
            {"ephemeral_storage": "11Gi"},
            0,
            short_of("ephemeral-storage", f"requested: {11 << 30}, used: 0, capacity: {10 << 30}"),
        ),
        (
            {"hugepages_2Mi": "2Mi"},
            0,
            short_of("hugepages-2Mi", "requested: 2097152, used: 0, capacity: 0"),
        ),
        ({"example.com/gpu": "1"}, 0, None),
        (
            {"cpu": "9", "memory": "9Gi"},
            0,
            short_of("cpu", "requested: 9000, used: 0, capacity: 2000"),
        ),
    ],
)
def test_a_pod_needs_room_beside_the_others(
    requests: dict[str, str], others: int, rejection: Rejection | None
) -> None:
    there = [asking(f"o{i}", cpu="500m", memory="512Mi") for i in range(others)]
    assert node_fit(asking(**requests), there, ALLOCATABLE) == rejection


def test_a_device_that_the_node_has_can_run_out() -> None:
    pods = [pod_object("a", containers=[container("c", resources={"limits": {"x.io/gpu": "1"}})])]
    has_one = ALLOCATABLE | {"x.io/gpu": "1"}
    assert node_fit(pods[0], [], has_one) is None
    wanted = short_of("x.io/gpu", "requested: 1, used: 1, capacity: 1")
    assert node_fit(pods[0], pods, has_one) == wanted


def sysctl(name: str) -> dict[str, Any]:
    return {"securityContext": {"sysctls": [{"name": name, "value": "1"}]}}


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"os": {"name": "windows"}}, "PodOSNotSupported"),
        ({"os": {"name": "linux"}}, ""),
        (
            {"securityContext": {"supplementalGroupsPolicy": "Strict"}},
            "SupplementalGroupsPolicyNotSupported",
        ),
        ({"securityContext": {"supplementalGroupsPolicy": "Merge"}}, ""),
        (sysctl("kernel.msgmax"), "SysctlForbidden"),
        (sysctl("net.ipv4.tcp_rmem"), ""),
        ({"nodeSelector": {"zone": "b"}}, "NodeAffinity"),
        ({"nodeName": "n2"}, "NodeName"),
        ({"resources": {"requests": {"cpu": "much"}}}, "UnexpectedAdmissionError"),
    ],
)
def test_a_pod_is_refused_for_kubelets_reasons(spec: dict[str, Any], reason: str) -> None:
    rejection = admit(pod_object("web", **spec), [], NODE)
    assert (rejection.reason if rejection else "") == reason


def test_a_pod_for_another_system_is_refused_by_its_label() -> None:
    pod = pod_object("web")
    pod["metadata"]["labels"] = {"kubernetes.io/os": "windows"}
    rejection = admit(pod, [], NODE)
    assert rejection is not None
    assert rejection.reason == "PodOSSelectorNodeLabelDoesNotMatch"


def test_what_is_not_known_of_the_node_is_not_judged() -> None:
    pod = pod_object("web", nodeSelector={"zone": "b"})
    assert admit(pod, [], AdmittingNode("n1", ALLOCATABLE)) is None


def test_the_later_of_two_pods_does_not_get_the_port() -> None:
    ports = [{"containerPort": 80, "hostPort": 80}]
    first, second = (pod_object(n, containers=[container("c", ports=ports)]) for n in "ab")
    assert admit(first, [], NODE) is None
    assert admit(second, [first], NODE) == Rejection(
        "NodePorts",
        "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports "
        "(TCP port 80 is in use by default/a)",
    )


@pytest.mark.parametrize(
    ("effect", "source", "tolerations", "reason"),
    [
        ("NoExecute", "api", [], "TaintToleration"),
        ("NoSchedule", "api", [], ""),
        ("NoExecute", "file", [], ""),
        ("NoExecute", "api", [{"operator": "Exists", "tolerationSeconds": 300}], ""),
    ],
)
def test_only_a_taint_that_evicts_keeps_a_bound_pod_away(
    effect: str, source: str, tolerations: list[dict[str, Any]], reason: str
) -> None:
    pod = pod_object("web", tolerations=tolerations)
    pod["metadata"]["annotations"] = {"kubernetes.io/config.source": source}
    node = AdmittingNode("n1", ALLOCATABLE, {}, [{"key": "k", "effect": effect}])
    rejection = admit(pod, [], node)
    assert (rejection.reason if rejection else "") == reason
