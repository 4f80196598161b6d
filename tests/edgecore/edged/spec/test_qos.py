"""QoS classes and OOM scores: pure, nothing faked. The scores were worked out from the formula."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecore.edged.spec.qos import (
    QoSClass,
    is_critical,
    is_static,
    oom_score_adj,
    qos_class,
    spec_qos_class,
)
from tests.edgecore.edged.world import container, pod_object

GUARANTEED = {"limits": {"cpu": "1", "memory": "1Gi"}}
MEMORY = 8_000_000_000


def asking(name: str, memory: str, **fields: Any) -> dict[str, Any]:
    return container(name, resources={"requests": {"memory": memory}}, **fields)


def burstable(*containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    pod = pod_object("web", containers=list(containers), **spec)
    pod["status"] = {"qosClass": "Burstable"}
    return pod


@pytest.mark.parametrize(
    ("resources", "init", "qos"),
    [
        ({}, None, QoSClass.BEST_EFFORT),
        ({"requests": {"cpu": "0"}}, None, QoSClass.BEST_EFFORT),
        ({"requests": {"example.com/gpu": "1"}}, None, QoSClass.BEST_EFFORT),
        (GUARANTEED, None, QoSClass.GUARANTEED),
        (GUARANTEED | {"requests": {"cpu": "1000m", "memory": "1Gi"}}, None, QoSClass.GUARANTEED),
        (GUARANTEED | {"requests": {"cpu": "500m"}}, None, QoSClass.BURSTABLE),
        ({"limits": {"cpu": "1"}}, None, QoSClass.BURSTABLE),
        ({"requests": {"memory": "1"}}, None, QoSClass.BURSTABLE),
        (GUARANTEED, {}, QoSClass.BURSTABLE),
        (GUARANTEED, GUARANTEED, QoSClass.GUARANTEED),
        ({}, GUARANTEED, QoSClass.BURSTABLE),
    ],
)
def test_the_class_follows_from_all_containers(
    resources: dict[str, Any], init: dict[str, Any] | None, qos: QoSClass
) -> None:
    inits = [] if init is None else [container("i", resources=init)]
    pod = pod_object("web", containers=[container("c", resources=resources)], initContainers=inits)
    assert spec_qos_class(pod) is qos


@pytest.mark.parametrize(
    ("resources", "qos"),
    [
        (GUARANTEED, QoSClass.GUARANTEED),
        ({"limits": {"cpu": "1"}}, QoSClass.BURSTABLE),
        ({"requests": {}}, QoSClass.BEST_EFFORT),
    ],
)
def test_what_a_pod_says_as_a_whole_decides_alone(resources: dict[str, Any], qos: QoSClass) -> None:
    assert spec_qos_class(pod_object("web", resources=resources)) is qos


def test_the_api_servers_word_stands() -> None:
    pod = pod_object("web")
    pod["status"] = {"qosClass": "Guaranteed"}
    assert qos_class(pod) is QoSClass.GUARANTEED
    del pod["status"]
    assert qos_class(pod) is QoSClass.BEST_EFFORT


@pytest.mark.parametrize(
    ("annotations", "priority", "static", "critical"),
    [
        ({}, None, False, False),
        ({"kubernetes.io/config.source": "api"}, None, False, False),
        ({"kubernetes.io/config.source": "file"}, None, True, True),
        ({"kubernetes.io/config.mirror": "h"}, None, False, True),
        ({}, 2_000_000_000, False, True),
        ({}, 1_999_999_999, False, False),
    ],
)
def test_who_cannot_be_done_without(
    annotations: dict[str, str], priority: int | None, *, static: bool, critical: bool
) -> None:
    pod = pod_object("web", priority=priority)
    pod["metadata"]["annotations"] = annotations
    assert (is_static(pod), is_critical(pod)) == (static, critical)


@pytest.mark.parametrize(
    ("memory", "score"),
    [
        ("0", 999),  # just better off than best effort
        ("4000", 999),
        ("800000000", 900),
        ("4000000000", 500),
        ("4004004000", 500),  # 500.5 is cut before it is taken away
        ("7984000000", 3),  # just worse off than guaranteed
        ("8000000000", 3),
        ("16000000000", 3),
    ],
)
def test_a_burstable_container_is_safer_the_more_it_asked_for(memory: str, score: int) -> None:
    made = asking("c", memory)
    assert oom_score_adj(burstable(made), made, MEMORY) == score


def test_the_other_classes_stand_at_the_ends() -> None:
    pod, made = pod_object("web"), container("c")
    assert oom_score_adj(pod, made, MEMORY) == 1000
    pod["status"]["qosClass"] = "Guaranteed"
    assert oom_score_adj(pod, made, MEMORY) == -997


def test_what_the_node_cannot_do_without_goes_last() -> None:
    pod = pod_object("web", priority=2_000_001_000, priorityClassName="system-node-critical")
    assert oom_score_adj(pod, container("c"), MEMORY) == -997
    pod["spec"]["priorityClassName"] = "system-cluster-critical"
    assert oom_score_adj(pod, container("c"), MEMORY) == 1000


def test_a_sidecar_goes_no_sooner_than_the_least_of_those_it_serves() -> None:
    small = asking("s", "80000000", restartPolicy="Always")
    big = asking("b", "4000000000", restartPolicy="Always")
    mains = asking("c", "800000000"), asking("d", "1600000000")
    pod = burstable(*mains, initContainers=[small, big])
    assert [oom_score_adj(pod, each, MEMORY) for each in (small, big, *mains)] == [
        900,
        500,
        900,
        800,
    ]


def test_what_the_pod_asks_for_beyond_its_containers_is_shared_out() -> None:
    made = asking("c", "800000000"), container("d")
    pod = burstable(*made, resources={"requests": {"memory": "2400000000"}})
    # 1.6 GB more for two: 1.6 and 0.8 of 8 GB.
    assert [oom_score_adj(pod, each, MEMORY) for each in made] == [800, 900]


@given(st.integers(0, 2**36), st.integers(2**20, 2**36))
def test_a_burstable_score_stays_between_the_other_classes(request_bytes: int, node: int) -> None:
    made = asking("c", str(request_bytes))
    assert 3 <= oom_score_adj(burstable(made), made, node) <= 999
