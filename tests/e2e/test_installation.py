"""cloudcore installed into a cluster, by `cloudcore init` and component by component.

Real: the manifests, a control plane of its own with its controllers, and `cloudcore init`. Nodes
and what a kubelet does on them are made up: nobody runs cloudcore's image. The ServiceMonitor's CRD
is as little of one as the API server takes.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import aiohttp
import pytest

from cloudcore.install import choices
from cloudcore.install.applying import places
from cloudcore.install.choices import COMPONENTS, Choices, ServiceType
from cloudcore.install.kustomization import Object
from cloudcore.install.manifests import read_manifests
from cloudcore.kube.client import APPLY_PATCH, KubeClient
from deploy.devcluster.api import Api, ApiError
from deploy.devcluster.controlplane import ControlPlane
from tests.cloudcore.commands.running import Run, runner

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

ADDRESS = "--advertise-address=cloud.example"
EDGE = "node-role.kubernetes.io/edge"
HOME = "/api/v1/namespaces/kubeedge"
DEPLOYMENTS = "/apis/apps/v1/namespaces/kubeedge/deployments"
DAEMONSETS = "/apis/apps/v1/namespaces/kube-system/daemonsets"
PODS = "/api/v1/namespaces/kube-system/pods"
KEEPING_OFF = (
    "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicybindings"
    "/cloud-daemonsets.cloudedge.io"
)
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

OFF_EDGES = {"key": EDGE, "operator": "DoesNotExist"}
ON_LINUX = {"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}
ON_ONE = {"key": "metadata.name", "operator": "In", "values": ["one"]}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A cluster that has cloudcore, and its policies, for all nodes and pods."""
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as loop:
        running = ControlPlane(tmp_path_factory.mktemp("installation"))
        loop.run(running.start())
        yield running
        loop.run(running.stop())


@pytest.fixture
async def api(cluster: ControlPlane) -> AsyncIterator[Api]:
    async with Api(cluster) as client:
        yield client


@pytest.fixture
def init(
    cluster: ControlPlane, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """A function that runs ``cloudcore init …`` and returns exit code, output and errors."""
    return runner("init", cluster.kubeconfig, monkeypatch, capsys)


async def make_node(api: Api, name: str, **labels: str) -> None:
    body = {"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name} | labels}}
    await api.create("/api/v1/nodes", body)
    capacity = {"cpu": "4", "memory": "8Gi", "pods": "110"}
    ready = {"type": "Ready", "status": "True"}
    status = {"capacity": capacity, "allocatable": capacity, "conditions": [ready]}
    node = f"/api/v1/nodes/{name}"
    await api.patch(f"{node}/status", {"status": status})
    await api.wait(
        node, lambda one: one is not None and "taints" not in one["spec"], "the scheduler takes it"
    )


async def play_kubelet(api: Api, pods: str) -> None:
    """Say of all pods that are bound that they are Ready, and forget those that are deleted."""
    while True:
        for pod in await api.items(pods):
            with suppress(ApiError):  # a controller was faster
                await _play_kubelet_for(api, pod, f"{pods}/{pod['metadata']['name']}")
        await asyncio.sleep(0.1)


async def _play_kubelet_for(api: Api, pod: Object, path: str) -> None:
    if "deletionTimestamp" in pod["metadata"]:
        await api.delete(path, grace_s=0)
    elif "nodeName" in pod["spec"] and pod["status"]["phase"] == "Pending":
        conditions = [{"type": "Ready", "status": "True"}]
        status = {"phase": "Running", "conditions": conditions}
        await api.patch(f"{path}/status", {"status": status})


async def test_init_takes_the_place_of_kubeedges_cloudcore_and_waits_until_it_is_available(
    init: Run, api: Api
) -> None:
    await make_node(api, "cloud-a")
    await make_node(api, "cloud-b")
    await leave_kubeedges_cloudcore(api)
    async with asyncio.TaskGroup() as group:
        kubelet = group.create_task(play_kubelet(api, f"{HOME}/pods"))
        code, output, errors = await init(ADDRESS, "--service-type=NodePort")
        assert (code, output) == (1, "")
        assert "--take-over" in errors

        code, output, errors = await init(ADDRESS, "--service-type=NodePort", "--take-over")
        assert (code, "2 of 2 replicas are available" in errors) == (0, True), errors
        assert "Deployment kubeedge/cloudcore created" in output
        service = await api.get(f"{HOME}/services/cloudcore")
        assert service is not None
        assert service["spec"]["selector"] == {"app": "cloudcore"}
        assert await ports(api) == {(10000, 30000), (10002, 30002), (10003, 30003)}

        code, output, _ = await init(ADDRESS, "--service-type=NodePort")
        assert (code, {one.split()[-1] for one in output.splitlines()}) == (0, {"unchanged"})

        code, output, errors = await init(ADDRESS, "--service-type=NodePort", "--image=other:1")
        assert (code, "Deployment kubeedge/cloudcore changed" in output) == (0, True), errors
        # A rollout does not count those that end, which a kubelet still has to forget.
        left = await api.wait(
            f"{HOME}/pods",
            lambda pods: pods is not None and images(pods) == {"other:1"},
            "the replaced pods have ended",
            timeout_s=60,
        )
        kubelet.cancel()
    assert left is not None
    assert {pod["spec"]["nodeName"] for pod in left["items"]} == {"cloud-a", "cloud-b"}


def images(pods: Object) -> set[str]:
    return {pod["spec"]["containers"][0]["image"] for pod in pods["items"]}


async def leave_kubeedges_cloudcore(api: Api) -> None:
    """Make as much of KubeEdge's installation as collides with ours."""
    labels = {"k8s-app": "kubeedge", "kubeedge": "cloudcore"}
    container = {"name": "cloudcore", "image": "kubeedge/cloudcore"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    await api.create("/api/v1/namespaces", {"metadata": {"name": "kubeedge"}})
    await api.create(DEPLOYMENTS, {"metadata": {"name": "cloudcore"}, "spec": spec})
    named = [("cloudhub", 10000), ("cloudhub-https", 10002), ("cloudstream", 10003)]
    listed = [{"name": name, "port": port, "nodePort": port + 20000} for name, port in named]
    service = {"selector": labels, "type": "NodePort", "ports": listed}
    await api.create(f"{HOME}/services", {"metadata": {"name": "cloudcore"}, "spec": service})


async def ports(api: Api) -> set[tuple[int, int]]:
    service = await api.get(f"{HOME}/services/cloudcore")
    assert service is not None
    return {(one["port"], one["nodePort"]) for one in service["spec"]["ports"]}


@pytest.mark.parametrize("service_type", list(ServiceType))
@pytest.mark.parametrize("component", ["", *COMPONENTS])
async def test_each_component_is_taken_first_on_trial_and_then_for_real(
    cluster: ControlPlane, api: Api, component: str, service_type: ServiceType
) -> None:
    names = (component,) if component else ()
    chosen = Choices("image", 2, ("cloud.example",), service_type, names)
    objects = choices.objects(read_manifests(), chosen)
    async with KubeClient(cluster.kubeconfig) as client:
        if component == "servicemonitor":
            await know_servicemonitors(client, api)
        where = [place.path for place in await places(client, objects)]
    # On trial nothing is made, so that the namespace has to be there.
    await apply(api, where[0], objects[0], "")
    for trial in ("&dryRun=All", ""):
        for path, one in zip(where, objects, strict=True):
            await apply(api, path, one, trial)


async def apply(api: Api, path: str, one: Object, more: str) -> None:
    query = f"fieldManager=tests&force=true&fieldValidation=Strict{more}"
    await api._call("PATCH", f"{path}?{query}", one, APPLY_PATCH)


async def know_servicemonitors(client: KubeClient, api: Api) -> None:
    name = "servicemonitors.monitoring.coreos.com"
    if await api.get(f"{CRDS}/{name}") is None:
        schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        version = {
            "name": "v1",
            "served": True,
            "storage": True,
            "schema": {"openAPIV3Schema": schema},
        }
        spec = {
            "group": "monitoring.coreos.com",
            "names": {"kind": "ServiceMonitor", "plural": "servicemonitors"},
            "scope": "Namespaced",
            "versions": [version],
        }
        await api.create(
            CRDS,
            {
                "apiVersion": "apiextensions.k8s.io/v1",
                "kind": "CustomResourceDefinition",
                "metadata": {"name": name},
                "spec": spec,
            },
        )
    path = "/apis/monitoring.coreos.com/v1/servicemonitors"
    async with asyncio.timeout(60):
        # Not served at once, and then refused for a moment, which this client waits out.
        while await client.find(path) is None:  # noqa: ASYNC110 - nobody sets an event
            await asyncio.sleep(0.1)


async def test_a_clouds_node_lifecycle_controller_cannot_delete_the_node_of_an_edge(
    cluster: ControlPlane, init: Run, api: Api
) -> None:
    await init(ADDRESS, "--no-wait", "--take-over", "--components=node-protection")
    accounts = await api.get(f"{HOME}/configmaps/edge-node-protection")
    assert accounts is not None
    names = accounts["data"]["accounts"].split()
    assert "system:serviceaccount:kube-system:node-controller" in names
    await let_delete_nodes(api, names)
    await make_node(api, "kept", **{EDGE: ""})
    async with asyncio.timeout(60):
        # The API server follows policies and roles by watches.
        while await deletion(cluster, "kept", names[0], "dryRun=All") != 403:  # noqa: ASYNC110 - nobody sets an event
            await asyncio.sleep(0.1)
    for name in names:
        code, text = await deletion_text(cluster, "kept", name)
        assert code == 403
        assert "kubectl annotate node kept cloudedge.io/allow-deletion=true" in text

    node = "/api/v1/nodes/kept"
    await api.patch(node, {"metadata": {"annotations": {"cloudedge.io/allow-deletion": "true"}}})
    assert await deletion(cluster, "kept", names[0]) == 200
    for name, labels in (("plain", {}), ("old", {EDGE: ""})):
        await make_node(api, name, **labels)
    assert await deletion(cluster, "plain", names[0]) == 200
    assert await deletion(cluster, "old", "") == 200


async def let_delete_nodes(api: Api, names: list[str]) -> None:
    """Give the right itself, so that the policy alone is what refuses."""
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    metadata = {"name": "tests-delete-nodes"}
    rule = {"apiGroups": [""], "resources": ["nodes"], "verbs": ["delete"]}
    await api.create(f"{rbac}/clusterroles", {"metadata": metadata, "rules": [rule]})
    group = "rbac.authorization.k8s.io"
    await api.create(
        f"{rbac}/clusterrolebindings",
        {
            "metadata": metadata,
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": metadata["name"]},
            "subjects": [{"apiGroup": group, "kind": "User", "name": name} for name in names],
        },
    )


async def deletion(cluster: ControlPlane, node: str, user: str, query: str = "") -> int:
    return (await deletion_text(cluster, node, user, query))[0]


async def deletion_text(
    cluster: ControlPlane, node: str, user: str, query: str = ""
) -> tuple[int, str]:
    """Delete a Node in somebody's name, "" for the administrator's own."""
    tls = ssl.create_default_context(cafile=str(cluster.ca_file))
    headers = {"Authorization": f"Bearer {cluster.token}"}
    if user:
        headers["Impersonate-User"] = user
    async with (
        aiohttp.ClientSession(cluster.server, headers=headers) as session,
        session.delete(f"/api/v1/nodes/{node}?{query}", ssl=tls) as response,
    ):
        return response.status, await response.text()


async def test_the_clusters_own_daemonsets_stay_off_edges_though_they_tolerate_all(
    init: Run, api: Api
) -> None:
    await api.delete(KEEPING_OFF)  # another test may have left it
    await until_in_force(api, wanted=[])
    await api.create(DAEMONSETS, daemonset("earlier"))
    await init(ADDRESS, "--no-wait", "--take-over", "--components=cloud-daemonsets")
    await make_node(api, "center")
    await make_node(api, "edge", **{EDGE: ""})
    await until_in_force(api, wanted=[{"matchExpressions": [OFF_EDGES]}])
    assert terms(await api.create(DAEMONSETS, daemonset("none"))) == [
        {"matchExpressions": [OFF_EDGES]}
    ]
    others: Object = {"podAntiAffinity": {}, "nodeAffinity": {}}
    found = await api.create(DAEMONSETS, daemonset("others", affinity=others))
    assert terms(found) == [{"matchExpressions": [OFF_EDGES]}]
    assert "podAntiAffinity" in found["spec"]["template"]["spec"]["affinity"]
    has: list[Object] = [
        {"matchExpressions": [ON_LINUX]},
        {"matchFields": [ON_ONE]},
        {"matchExpressions": [OFF_EDGES]},
    ]
    assert terms(await api.create(DAEMONSETS, daemonset("terms", affinity=required(has)))) == [
        {"matchExpressions": [ON_LINUX, OFF_EDGES]},
        {"matchExpressions": [OFF_EDGES], "matchFields": [ON_ONE]},
        {"matchExpressions": [OFF_EDGES]},
    ]
    on_edges = daemonset("on-edges", labels={"cloudedge.io/on-edges": ""})
    assert terms(await api.create(DAEMONSETS, on_edges)) == []
    elsewhere = DAEMONSETS.replace("kube-system", "default")
    assert terms(await api.create(elsewhere, daemonset("users"))) == []

    await until_on(api, "none", {"center"})
    await until_on(api, "on-edges", {"center", "edge"})
    await until_on(api, "earlier", {"center", "edge"})
    # As the documentation has it for those that were there before.
    touched = {"metadata": {"annotations": {"cloudedge.io/touched": "1"}}}
    await api.patch(f"{DAEMONSETS}/earlier", touched)
    async with asyncio.TaskGroup() as group:
        kubelet = group.create_task(play_kubelet(api, PODS))
        await until_on(api, "earlier", {"center"})
        kubelet.cancel()


async def until_in_force(api: Api, *, wanted: list[Object]) -> None:
    """Wait until a new DaemonSet gets ``wanted``: the API server follows policies by a watch."""
    async with asyncio.timeout(60):
        trial = f"{DAEMONSETS}?dryRun=All"
        while terms(await api.create(trial, daemonset("trial"))) != wanted:  # noqa: ASYNC110 - nobody sets an event
            await asyncio.sleep(0.1)


def daemonset(name: str, *, labels: dict[str, str] | None = None, **spec: Any) -> Object:
    spec |= {
        "tolerations": [{"operator": "Exists"}],
        "containers": [{"name": "c", "image": "none"}],
    }
    template = {"metadata": {"labels": {"ds": name}}, "spec": spec}
    return {
        "metadata": {"name": name, "labels": labels or {}},
        "spec": {"selector": {"matchLabels": {"ds": name}}, "template": template},
    }


def required(of: list[Object]) -> Object:
    wanted = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": of}}
    return {"nodeAffinity": wanted}


def terms(made: Object) -> list[Object]:
    affinity = made["spec"]["template"]["spec"].get("affinity", {}).get("nodeAffinity", {})
    found: list[Object] = affinity.get(
        "requiredDuringSchedulingIgnoredDuringExecution", {"nodeSelectorTerms": []}
    )["nodeSelectorTerms"]
    return found


async def until_on(api: Api, name: str, nodes: set[str]) -> None:
    """Wait until the pods of a DaemonSet are on ``nodes``, of those two that the test has made."""
    path = f"{PODS}?labelSelector=ds={name}"

    async def seen() -> set[str]:
        return {
            one["spec"]["affinity"]["nodeAffinity"][
                "requiredDuringSchedulingIgnoredDuringExecution"
            ]["nodeSelectorTerms"][0]["matchFields"][0]["values"][0]
            for one in await api.items(path)
            if "deletionTimestamp" not in one["metadata"]
        } & {"center", "edge"}

    async with asyncio.timeout(60):
        while await seen() != nodes:  # noqa: ASYNC110 - nobody sets an event
            await asyncio.sleep(0.1)
