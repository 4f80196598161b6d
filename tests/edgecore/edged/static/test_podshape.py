"""The shape of a Pod in a file. Nothing is faked."""

from typing import Any

import pytest

from edgecore.edged.static.podshape import ShapeError, check_shape


def pod(**container: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web"},
        "spec": {
            "containers": [{"name": "c", "image": "img", **container}],
            "volumes": [{"name": "v", "emptyDir": {}}],
        },
    }


def test_a_pod_with_all_that_is_looked_at_is_taken() -> None:
    probe = {"httpGet": {"port": 80}, "periodSeconds": 5}
    check_shape(
        pod(
            command=["sh", "-c", "true"],
            env=[{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"fieldRef": {}}}],
            ports=[{"containerPort": 80}],
            volumeMounts=[{"name": "v", "mountPath": "/v"}],
            resources={"limits": {"cpu": 1, "memory": "1Gi"}},
            lifecycle={"preStop": {"exec": {"command": ["true"]}}},
            livenessProbe=probe,
            something="new",
        )
    )


@pytest.mark.parametrize(
    ("container", "words"),
    [
        ({"command": "sleep 1"}, "containers[0].command"),
        ({"env": [{"name": "A", "value": 1}]}, "env[0].value"),
        ({"image": ""}, "containers[0].image"),
        ({"name": "C"}, "containers[0].name"),
        ({"name": "c\n"}, "containers[0].name"),
        ({"ports": [{"containerPort": 0}]}, "ports[0].containerPort"),
        ({"volumeMounts": [{"name": "no", "mountPath": "/v"}]}, "mounts no volume: 'no'"),
        ({"livenessProbe": {"httpGet": "http://x"}}, "livenessProbe.httpGet"),
        ({"imagePullPolicy": "Sometimes"}, "imagePullPolicy"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(container: dict[str, Any], words: str) -> None:
    with pytest.raises(ShapeError) as caught:
        check_shape(pod(**container))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "Deployment"},
        {"apiVersion": "apps/v1"},
        {"metadata": {"name": "../web"}},
        {"metadata": {"name": "web", "uid": "../../etc"}},
        {"metadata": {"name": "web", "namespace": "a/b"}},
        {"metadata": {}},
        {"spec": {"containers": []}},
        {"spec": {"containers": [{"name": "c", "image": "i"}] * 2}},
        {
            "spec": {
                "containers": [{"name": "c", "image": "i"}],
                "initContainers": [{"name": "c", "image": "i"}],
            }
        },
        {"spec": {"containers": [{"name": "c", "image": "i"}], "volumes": [{"name": "v"}] * 2}},
    ],
)
def test_a_pod_that_is_none_or_has_a_name_that_none_may_have_is_refused(
    change: dict[str, Any],
) -> None:
    with pytest.raises(ShapeError):
        check_shape(pod() | change)
