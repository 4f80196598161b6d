"""Defaults of pods. Nothing is faked; a real API server says what they are."""

from typing import Any

import pytest

from cloudcore.kube import kinds
from cloudcore.kube.client import KubeClient
from deploy.devcluster.controlplane import ControlPlane
from edgecore.edged.static.manifests import static_pod
from edgecore.edged.static.mirror import mirror_object
from edgecore.edged.static.poddefaults import defaulted, pull_policy
from tests.cloudcore.cluster import body, load, make_namespace, make_node
from tests.edgecore.edged.bus import START


def spec(container: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    made = {"containers": [{"name": "c", "image": "img:1", **(container or {})}], **fields}
    result: dict[str, Any] = defaulted({"spec": made})["spec"]
    return result


def test_a_pod_gets_what_the_api_server_gives_it() -> None:
    made = spec()
    assert made["restartPolicy"] == "Always"
    assert made["dnsPolicy"] == "ClusterFirst"
    assert made["terminationGracePeriodSeconds"] == 30
    assert made["schedulerName"] == "default-scheduler"
    assert made["enableServiceLinks"] is True
    assert made["securityContext"] == {}
    [container] = made["containers"]
    assert container["imagePullPolicy"] == "IfNotPresent"
    assert container["terminationMessagePath"] == "/dev/termination-log"
    assert container["terminationMessagePolicy"] == "File"
    assert container["resources"] == {}


def test_what_is_said_stays() -> None:
    made = spec(
        {"imagePullPolicy": "Never", "terminationMessagePolicy": "FallbackToLogsOnError"},
        restartPolicy="Never",
        terminationGracePeriodSeconds=0,
        enableServiceLinks=False,
        securityContext={"runAsUser": 7},
    )
    assert (made["restartPolicy"], made["terminationGracePeriodSeconds"]) == ("Never", 0)
    assert (made["enableServiceLinks"], made["securityContext"]) == (False, {"runAsUser": 7})
    [container] = made["containers"]
    assert container["imagePullPolicy"] == "Never"
    assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_filling_in_twice_changes_nothing_and_the_pod_itself_is_left_alone() -> None:
    pod = {
        "spec": {
            "containers": [
                {
                    "name": "c",
                    "image": "img",
                    "ports": [{"containerPort": 1}],
                    "readinessProbe": {"grpc": {"port": 1}},
                    "resources": {"limits": {"cpu": 1}},
                }
            ],
            "volumes": [{"name": "v", "downwardAPI": {"items": [{"path": "p", "fieldRef": {}}]}}],
        }
    }
    before = repr(pod)
    made = defaulted(pod)
    assert defaulted(made) == made
    assert repr(pod) == before


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("img", "Always"),
        ("img:latest", "Always"),
        ("img:1", "IfNotPresent"),
        ("registry.example:5000/img", "Always"),
        ("registry.example:5000/img:1", "IfNotPresent"),
        ("img@sha256:00", "IfNotPresent"),
        ("img:latest@sha256:00", "Always"),
    ],
)
def test_an_image_that_may_have_moved_is_pulled(image: str, policy: str) -> None:
    assert pull_policy(image) == policy


def test_limits_are_requests_where_none_are_given_and_numbers_become_text() -> None:
    [container] = spec(
        {"resources": {"limits": {"cpu": 0.5, "memory": "1Gi"}, "requests": {"memory": "1Mi"}}}
    )["containers"]
    assert container["resources"] == {
        "limits": {"cpu": "0.5", "memory": "1Gi"},
        "requests": {"cpu": "0.5", "memory": "1Mi"},
    }


def test_on_the_nodes_network_a_port_is_the_nodes() -> None:
    ports = [{"containerPort": 80}, {"containerPort": 81, "hostPort": 8081, "protocol": "UDP"}]
    made = spec({"ports": ports}, hostNetwork=True)["containers"][0]["ports"]
    assert made == [
        {"containerPort": 80, "hostPort": 80, "protocol": "TCP"},
        {"containerPort": 81, "hostPort": 8081, "protocol": "UDP"},
    ]
    assert "hostPort" not in spec({"ports": ports})["containers"][0]["ports"][0]


def test_probes_and_hooks_know_where_to_ask() -> None:
    [container] = spec(
        {
            "livenessProbe": {"httpGet": {"port": 80}, "periodSeconds": 3, "timeoutSeconds": 0},
            "startupProbe": {"grpc": {"port": 9}},
            "lifecycle": {"postStart": {"httpGet": {"port": 80, "path": "/hi"}}},
        }
    )["containers"]
    assert container["livenessProbe"] == {
        "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
        "periodSeconds": 3,
        "timeoutSeconds": 1,
        "successThreshold": 1,
        "failureThreshold": 3,
    }
    assert container["startupProbe"]["grpc"] == {"port": 9, "service": ""}
    assert container["lifecycle"]["postStart"]["httpGet"]["path"] == "/hi"


def test_variables_name_the_version_of_the_field() -> None:
    env = [
        {"name": "A", "value": "1"},
        {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "f"}}},
    ]
    made = spec({"env": env})["containers"][0]["env"]
    assert made[0] == {"name": "A", "value": "1"}
    assert made[1]["valueFrom"]["fieldRef"] == {"fieldPath": "f", "apiVersion": "v1"}


def test_volumes_have_a_kind_and_modes() -> None:
    item = {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}
    other = {"path": "cpu", "resourceFieldRef": {"resource": "limits.cpu", "divisor": 1}}
    volumes = spec(
        volumes=[
            {"name": "nothing"},
            {"name": "sized", "emptyDir": {"sizeLimit": 1024}},
            {"name": "host", "hostPath": {"path": "/x"}},
            {"name": "down", "downwardAPI": {"items": [item, other]}},
            {"name": "all", "projected": {"sources": [{"downwardAPI": {"items": [item]}}, {}]}},
            {"name": "bare", "projected": {}},
        ]
    )["volumes"]
    assert volumes[0] == {"name": "nothing", "emptyDir": {}}
    assert volumes[1]["emptyDir"] == {"sizeLimit": "1024"}
    assert volumes[2]["hostPath"] == {"path": "/x", "type": ""}
    assert volumes[3]["downwardAPI"]["defaultMode"] == 0o644
    assert volumes[3]["downwardAPI"]["items"][0]["fieldRef"]["apiVersion"] == "v1"
    assert volumes[3]["downwardAPI"]["items"][1]["resourceFieldRef"]["divisor"] == "1"
    [source, empty] = volumes[4]["projected"]["sources"]
    assert source["downwardAPI"]["items"][0]["fieldRef"]["apiVersion"] == "v1"
    assert empty == {}
    assert volumes[5]["projected"] == {"defaultMode": 0o644, "sources": []}


def test_init_containers_get_the_same() -> None:
    made = spec(initContainers=[{"name": "i", "image": "img"}])
    assert made["initContainers"][0]["imagePullPolicy"] == "Always"


PROBE = {"httpGet": {"port": 80}}
LABELS = {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}
CPU = {"resource": "limits.cpu"}
EVERYTHING: dict[str, Any] = {
    "hostNetwork": True,
    "initContainers": [{"name": "i", "image": "img", "restartPolicy": "Always"}],
    "containers": [
        {
            "name": "c",
            "image": "registry.example:5000/img",
            "env": [
                {"name": "A", "value": "1"},
                {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "C", "valueFrom": {"resourceFieldRef": CPU}},
            ],
            "ports": [{"containerPort": 8080}],
            "resources": {"limits": {"cpu": 1, "memory": "64Mi"}},
            "livenessProbe": PROBE,
            "readinessProbe": {"grpc": {"port": 80}},
            "startupProbe": {"tcpSocket": {"port": 80}, "failureThreshold": 0},
            "lifecycle": {"preStop": PROBE, "postStart": {"exec": {"command": ["a"]}}},
            "volumeMounts": [{"name": "nothing", "mountPath": "/v"}],
        },
        {"name": "d", "image": "img:1"},
    ],
    "volumes": [
        {"name": "nothing"},
        {"name": "host", "hostPath": {"path": "/tmp"}},
        {"name": "sized", "emptyDir": {"sizeLimit": "1Gi"}},
        {
            "name": "down",
            "downwardAPI": {
                "items": [LABELS, {"path": "b", "resourceFieldRef": {"containerName": "c"} | CPU}]
            },
        },
        {"name": "all", "projected": {"sources": [{"downwardAPI": {"items": [LABELS]}}]}},
    ],
}


async def test_a_real_api_server_fills_in_the_same(control_plane: ControlPlane) -> None:
    async with KubeClient(control_plane.kubeconfig) as client:
        namespace, node = await make_namespace(client), await make_node(client)
        node_uid = load(await client.get(kinds.NODES.path(name=node)))["metadata"]["uid"]
        manifest = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "web", "namespace": namespace},
            "spec": EVERYTHING,
        }
        pod = static_pod(manifest, node, "/manifests/web.yaml", START)
        mirror = mirror_object(pod, node, node_uid)
        made = load(await client.create(kinds.PODS.path(namespace), body(mirror)))
    # Which priority it has is not a default, but what PriorityClasses there are.
    filled_in = made["spec"].keys() - {"priority", "preemptionPolicy"}
    assert {name: made["spec"][name] for name in filled_in} == pod["spec"]
