"""Environments: pure, nothing faked."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.names import ResourceType
from edgecore.edged.objects import MissingError, Objects, Ref, UnavailableError
from edgecore.edged.spec.env import environment, expand
from edgecore.edged.spec.fields import NodeView
from tests.edgecore.edged.world import config_object, container, pod_object

NODE = NodeView("n1", "192.0.2.7")
OBJECTS = Objects(
    "default",
    {
        Ref(ResourceType.CONFIGMAP, "web"): config_object("ConfigMap", "web", a="1", b="2"),
        Ref(ResourceType.SECRET, "db"): config_object("Secret", "db", password="aGk="),
        Ref(ResourceType.CONFIGMAP, "none"): None,
    },
)


def variables(**fields: Any) -> dict[str, str]:
    made = container("c", **fields)
    pod = pod_object("web", containers=[made])
    return environment(pod, made, OBJECTS, NODE).variables


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$(A)", "1"),
        ("x$(A)$(B)y", "x12y"),
        ("$(NO)", "$(NO)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$A ${A} $(A", "$A ${A} $(A"),
        ("$()", "$()"),
    ],
)
def test_references_are_expanded_as_kubelet_does(text: str, expanded: str) -> None:
    assert expand(text, {"A": "1", "B": "2"}) == expanded


@given(st.text().filter(lambda text: "$" not in text))
def test_text_without_references_stays_as_it_is(text: str) -> None:
    assert expand(text, {"A": "1"}) == text


def test_variables_may_name_those_before_them() -> None:
    env = [{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)$(C)"}, {"name": "C"}]
    assert variables(env=env) == {"A": "1", "B": "1$(C)", "C": ""}


def test_env_wins_over_env_from_and_the_last_source_wins() -> None:
    sources = [
        {"configMapRef": {"name": "web"}},
        {"prefix": "P_", "configMapRef": {"name": "web"}},
        {"secretRef": {"name": "db"}},
        {"configMapRef": {"name": "none", "optional": True}},
    ]
    env = [{"name": "a", "value": "mine"}]
    assert variables(envFrom=sources, env=env) == {
        "a": "mine",
        "b": "2",
        "P_a": "1",
        "P_b": "2",
        "password": "hi",
    }


def test_a_value_comes_from_a_key_a_field_or_a_resource() -> None:
    env = [
        {"name": "K", "valueFrom": {"configMapKeyRef": {"name": "web", "key": "a"}}},
        {"name": "S", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}},
        {"name": "F", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "R", "valueFrom": {"resourceFieldRef": {"resource": "requests.cpu"}}},
        {
            "name": "O",
            "valueFrom": {"configMapKeyRef": {"name": "web", "key": "z", "optional": True}},
        },
    ]
    assert variables(env=env) == {"K": "1", "S": "hi", "F": "web", "R": "0"}


@pytest.mark.parametrize(
    ("value_from", "words"),
    [
        ({"configMapKeyRef": {"name": "none", "key": "a"}}, 'configmap "none" not found'),
        ({"configMapKeyRef": {"name": "web", "key": "z"}}, "key z in ConfigMap default/web"),
        ({"fieldRef": {"fieldPath": "spec.love"}}, "unsupported fieldPath"),
        ({"resourceFieldRef": {"resource": "limits.love"}}, "unsupported container resource"),
        (
            {"fileKeyRef": {"volumeName": "v", "path": "f", "key": "k"}},
            "source of a variable: file",
        ),
        ({"weather": {}}, "unsupported source"),
    ],
)
def test_what_is_missing_is_said_in_kubelets_words(value_from: Any, words: str) -> None:
    with pytest.raises(MissingError, match=words):
        variables(env=[{"name": "X", "valueFrom": value_from}])


def test_what_could_not_be_asked_is_not_missing() -> None:
    with pytest.raises(UnavailableError):
        variables(envFrom=[{"configMapRef": {"name": "unknown"}}])


def test_keys_that_cannot_be_names_are_skipped_and_told() -> None:
    made = container("c", envFrom=[{"prefix": "A=", "configMapRef": {"name": "web"}}])
    result = environment(pod_object("web", containers=[made]), made, OBJECTS, NODE)
    assert (result.variables, result.skipped) == ({}, ("A=a", "A=b"))


def test_services_come_first_and_can_be_named_and_overridden() -> None:
    spec = {"clusterIP": "10.96.0.9", "ports": [{"port": 80}]}
    service = {"metadata": {"name": "db", "namespace": "default"}, "spec": spec}
    env = [
        {"name": "URL", "value": "http://$(DB_SERVICE_HOST):$(DB_SERVICE_PORT)"},
        {"name": "DB_SERVICE_PORT", "value": "81"},
    ]
    made = container("c", env=env)
    objects = Objects("default", services=(service,))
    found = environment(pod_object("web", containers=[made]), made, objects, NODE).variables
    assert (found["URL"], found["DB_SERVICE_PORT"]) == ("http://10.96.0.9:80", "81")


def test_a_pod_learns_its_own_address() -> None:
    env = [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]
    made = container("c", env=env)
    pod, objects = pod_object("web", containers=[made]), Objects("default")
    assert environment(pod, made, objects, NODE, ["10.0.0.2"]).variables == {"IP": "10.0.0.2"}
    assert environment(pod, made, objects, NODE).variables == {"IP": "192.0.2.7"}
