"""cloudcore as the ServiceAccount of deploy/kubernetes: it can do its work, and nothing else.

Real: the manifests, an API server of its own with RBAC and an audit log, cloudcore, its commands
and an edge as processes. What that edge has no reason to ask for is asked of cloudcore's controller
in this process, by a hub that is made up. A proxy cuts cloudcore off from the API server. No
controllers run, so that the Deployment is only taken by the API server, not carried out.
"""

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from cloudcore.edgecontroller.autonomy import AUTONOMY, RECORD
from cloudcore.install import choices
from cloudcore.install.choices import Choices, ServiceType
from cloudcore.install.manifests import read_manifests
from cloudcore.kube.client import KubeClient
from cloudcore.trust import tokenrecord
from cloudcore.trust.tokenrecord import TokenRecord
from common import pki, subjects
from common.names import NodeID
from deploy.devcluster import credentials
from deploy.devcluster.api import MERGE_PATCH, Api, Object, WaitError
from deploy.devcluster.commands import Component
from deploy.devcluster.controlplane import API_ONLY, ControlPlane
from deploy.devcluster.daemons import CloudCore
from deploy.devcluster.link import Link
from deploy.devcluster.ports import LOOPBACK
from deploy.devcluster.site import is_ready, running_edge, until
from tests.e2e import auditlog
from tests.e2e.auditlog import Grant
from tests.e2e.conftest import pod
from tests.e2e.wholetable import ask_for_everything

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

HOME = "kubeedge"
ACCOUNT = f"system:serviceaccount:{HOME}:cloudcore"
CLUSTER_ROLE = "/apis/rbac.authorization.k8s.io/v1/clusterroles/cloudcore"
FORBIDDEN = HTTPStatus.FORBIDDEN
FOREVER = "while true; do sleep 0.1; done"
PLURALS = {
    "Namespace": "namespaces",
    "ServiceAccount": "serviceaccounts",
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
    "Role": "roles",
    "RoleBinding": "rolebindings",
    "Deployment": "deployments",
    "PodDisruptionBudget": "poddisruptionbudgets",
    "PriorityClass": "priorityclasses",
    "Service": "services",
    "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
}

REFUSED: tuple[tuple[str, str, str, str], ...] = (
    # method, path, in whose name, of which group
    ("POST", "/api/v1/namespaces", "", ""),
    ("GET", "/api/v1/namespaces/default", "", ""),
    ("POST", "/api/v1/namespaces/shop/secrets", "", ""),
    ("PUT", "/api/v1/namespaces/shop/secrets/login", "", ""),
    ("DELETE", "/api/v1/namespaces/shop/secrets/login", "", ""),
    ("PATCH", "/api/v1/namespaces/shop/configmaps/edgecertificates", "", ""),
    ("PATCH", f"/api/v1/namespaces/{HOME}/configmaps/other", "", ""),
    ("DELETE", f"/api/v1/namespaces/{HOME}/configmaps/other", "", ""),
    ("POST", "/api/v1/namespaces/shop/pods", "", ""),
    ("DELETE", "/api/v1/namespaces/shop/pods/web", "", ""),
    ("PATCH", "/api/v1/namespaces/shop/pods/web/status", "", ""),
    ("POST", "/api/v1/nodes", "", ""),
    ("PATCH", "/api/v1/nodes/edge/status", "", ""),
    ("POST", f"/api/v1/namespaces/{HOME}/serviceaccounts/cloudcore/token", "", ""),
    ("GET", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases", "", ""),
    ("POST", "/api/v1/namespaces/shop/events", "", ""),
    ("GET", "/api/v1/persistentvolumes", "", ""),
    ("PATCH", CLUSTER_ROLE, "", ""),
    ("GET", "/api/v1/nodes", "admin", "system:masters"),
    ("GET", "/api/v1/nodes", "system:node:edge", "system:masters"),
    ("GET", "/api/v1/nodes", "system:serviceaccount:shop:default", ""),
    ("GET", "/api/v1/namespaces/shop/secrets/unnamed", "system:node:edge", "system:nodes"),
)

NODES_ONLY = (
    ("GET", "/api/v1/nodes", "system:kube-controller-manager", ""),
    ("GET", "/api/v1/nodes", "anybody", ""),
    ("GET", "/api/v1/nodes", "system:node:edge", "system:nodes"),
    # A node itself may do this, but cloudcore never asks for it.
    ("GET", "/api/v1/services", "system:node:edge", ""),
)


@dataclass(frozen=True)
class Cluster:
    """An API server that has our manifests and logs what cloudcore's account asks for."""

    control_plane: ControlPlane
    api: Api
    log: Path
    link: Link
    """Between cloudcore and the API server."""

    token: str
    kubeconfig: Path
    objects: list[Object]
    """Of the manifests."""

    options: tuple[str, ...] = ()
    """Which cloudcore has to have with them."""


@pytest.fixture(params=[(), ("constrained-impersonation",)], ids=["plain", "constrained"])
async def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Cluster]:
    chosen = Choices("image", 2, ("cloud",), ServiceType.CLUSTER_IP, components=request.param)
    objects = choices.objects(read_manifests(), chosen)
    options = ("--constrained-impersonation",) if request.param else ()
    policy, log = tmp_path / "policy.json", tmp_path / "audit.log"
    policy.write_text(auditlog.policy(ACCOUNT))
    audit = (f"--audit-policy-file={policy}", f"--audit-log-path={log}", "--audit-log-mode=batch")
    async with AsyncExitStack() as stack:
        control_plane = ControlPlane(
            tmp_path / "control-plane",
            components=API_ONLY,
            # Each event at once, not in the time of a request.
            extra_args={
                Component.API_SERVER: (*audit, "--audit-log-batch-max-wait=100ms"),
            },
        )
        await stack.enter_async_context(control_plane)
        api = await stack.enter_async_context(Api(control_plane))
        for one in objects:
            await api.create(f"{collection(one)}?fieldValidation=Strict", one)
        for namespace in ("kube-system", "default"):
            path = f"/api/v1/namespaces/{namespace}"
            await api.wait(path, lambda found: found is not None, "the API server has made it")
        port = urlsplit(control_plane.server).port
        assert port is not None
        link = await stack.enter_async_context(Link(port))
        path = f"/api/v1/namespaces/{HOME}/serviceaccounts/cloudcore/token"
        token = (await api.create(path, {"spec": {}}))["status"]["token"]
        kubeconfig = tmp_path / "cloudcore.kubeconfig"
        credentials.write_kubeconfig(
            kubeconfig,
            server=f"https://{LOOPBACK}:{link.port}",
            ca_file=control_plane.ca_file,
            user="cloudcore",
            token=token,
        )
        yield Cluster(control_plane, api, log, link, token, kubeconfig, objects, options)


def collection(one: Object) -> str:
    version = one["apiVersion"]
    root = f"/{'apis' if '/' in version else 'api'}/{version}"
    namespace = one["metadata"].get("namespace")
    return f"{root}{f'/namespaces/{namespace}' if namespace else ''}/{PLURALS[one['kind']]}"


async def test_cloudcore_uses_every_rule_that_it_has_and_is_refused_nothing(
    cluster: Cluster, tmp_path: Path
) -> None:
    allowed = auditlog.grants(cluster.objects)
    await leave_what_earlier_versions_left(cluster.api)
    cloud = CloudCore(
        cluster.control_plane,
        tmp_path / "cloud",
        options=cluster.options,
        kubeconfig=cluster.kubeconfig,
    )
    try:
        await cloud.start()
        await serve_an_edge(cluster, cloud, tmp_path)
        await cloud.command("cert", "revoke", "edge")
        await enrol_by_a_plain_token(cluster, cloud)
        refused = [one.text for one in auditlog.requests(cluster.log) if one.code == FORBIDDEN]
        assert refused == []
        as_cloudcore = KubeClient(cluster.kubeconfig, is_constrained=bool(cluster.options))
        async with as_cloudcore as client:
            await ask_for_everything(client, cluster.api, "shop")
        await take_back_a_node_that_cannot_be_labelled(cluster, cloud, tmp_path)
    finally:
        await cloud.stop()
    with suppress(WaitError):  # what is missing is told below
        await until(lambda: not unused(cluster, allowed), "every rule was used", timeout_s=10)
    assert unused(cluster, allowed) == []
    assert unlisted(cluster, allowed) == []


def unused(cluster: Cluster, allowed: list[Grant]) -> list[Grant]:
    uses = {use for one in auditlog.requests(cluster.log) for use in one.uses}
    # What is asked for in cloudcore's own namespace only has its place in the Role.
    return [
        grant
        for grant in allowed
        if not any(use.is_by(grant) for use in uses if grant.namespace or use.namespace != HOME)
    ]


def unlisted(cluster: Cluster, allowed: list[Grant]) -> list[str]:
    return [
        one.text
        for one in auditlog.requests(cluster.log)
        if not all(any(use.is_by(grant) for grant in allowed) for use in one.uses)
    ]


async def leave_what_earlier_versions_left(api: Api) -> None:
    """A record of certificates in its earlier form, and the record of a token long expired."""
    await api.create(
        f"/api/v1/namespaces/{HOME}/configmaps", {"metadata": {"name": "edgecertificates"}}
    )
    old = TokenRecord(digest="0" * 64, expires=datetime.now(UTC) - timedelta(days=30))
    await api.create(
        f"/api/v1/namespaces/{HOME}/secrets", json.loads(tokenrecord.to_secret(HOME, "old", old))
    )


async def serve_an_edge(cluster: Cluster, cloud: CloudCore, tmp_path: Path) -> None:
    """Let an edge join and run pods, and end one while nobody can tell cloudcore."""
    api, base = cluster.api, "/api/v1/namespaces/shop"
    await api.create("/api/v1/namespaces", {"metadata": {"name": "shop"}})
    await api.create(f"{base}/serviceaccounts", {"metadata": {"name": "default"}})
    for name in ("kept", "lost"):
        await api.create(f"{base}/configmaps", {"metadata": {"name": name}, "data": {"a": "b"}})
        await api.create(
            f"{base}/secrets", {"metadata": {"name": name}, "stringData": {"password": "12345"}}
        )
        await api.create(
            f"{base}/services", {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}}
        )
    token = await cloud.token("edge", "--single-use")
    async with running_edge("edge", cloud, tmp_path / "edge", token=token) as edge:
        for name in ("kept", "lost"):
            await api.create(f"{base}/pods", shop_pod(name))
            await api.wait(
                f"{base}/pods/{name}", lambda p: p is not None and is_ready(p), "it is Ready"
            )
        await api.patch("/api/v1/nodes/edge", {"metadata": {"annotations": {AUTONOMY: "forever"}}})
        await api.wait(f"{base}/pods/kept", stays_for_ever, "its pods stay for ever")
        cluster.link.cut()
        await api.delete(f"{base}/pods/lost", grace_s=0)
        for kind in ("configmaps", "secrets", "services"):
            await api.delete(f"{base}/{kind}/lost")
        cluster.link.mend()
        await until(
            lambda: edge.daemon.stored("pod").keys() == {"shop/kept"}, "the pod's end is told"
        )
        await until(
            lambda: "shop/lost" not in edge.daemon.stored("secret"), "its Secret's end as well"
        )


def stays_for_ever(found: Object | None) -> bool:
    return found is not None and not any(
        "tolerationSeconds" in one for one in found["spec"]["tolerations"]
    )


def shop_pod(name: str) -> Object:
    sources = [
        {"configMap": {"name": name}},
        {"secret": {"name": name}},
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}},
    ]
    return pod(
        name,
        "edge",
        script=FOREVER,
        serviceAccountName="default",
        container={"volumeMounts": [{"name": "all", "mountPath": "/all"}]},
        volumes=[{"name": "all", "projected": {"sources": sources}}],
    )


async def enrol_by_a_plain_token(cluster: Cluster, cloud: CloudCore) -> None:
    """Enrol as KubeEdge's edges do, whose token is good for names that have no Node."""
    secret = await cluster.api.get(f"/api/v1/namespaces/{HOME}/secrets/tokensecret")
    assert secret is not None
    token = base64.b64decode(secret["data"]["tokendata"]).decode().partition(".")[2]
    url = f"https://{LOOPBACK}:{cloud.https_port}/edge.crt"
    headers = {"NodeName": "plain", "Authorization": f"Bearer {token}"}
    csr = subjects.new_csr(pki.new_key(), NodeID("plain"))
    async with (
        aiohttp.ClientSession() as session,
        session.get(url, ssl=False, headers=headers, data=csr) as response,
    ):
        assert response.status == HTTPStatus.OK


async def take_back_a_node_that_cannot_be_labelled(
    cluster: Cluster, cloud: CloudCore, tmp_path: Path
) -> None:
    """Take the right away that the label needs, which an operator may do by mistake."""
    role = await cluster.api.get(CLUSTER_ROLE)
    assert role is not None
    for rule in role["rules"]:
        if "nodes" in rule["resources"]:
            rule["verbs"].remove("patch")
    await cluster.api.patch(CLUSTER_ROLE, {"rules": role["rules"]})
    token = await cloud.token("other")
    async with running_edge("other", cloud, tmp_path / "other", token=token):
        await until(
            lambda: any(
                one.text.startswith("delete /api/v1/nodes/other") and one.code == HTTPStatus.OK
                for one in auditlog.requests(cluster.log)
            ),
            "the Node is taken back",
        )


async def test_what_is_not_its_work_is_refused_to_cloudcore(cluster: Cluster) -> None:
    codes = {}
    tries = REFUSED + (NODES_ONLY if cluster.options else ())
    tls = ssl.create_default_context(cafile=str(cluster.control_plane.ca_file))
    async with aiohttp.ClientSession(cluster.control_plane.server) as session:
        for method, path, user, group in tries:
            headers = {
                "Authorization": f"Bearer {cluster.token}",
                "Content-Type": MERGE_PATCH if method == "PATCH" else "application/json",
            }
            if user:
                headers["Impersonate-User"] = user
            if group:
                headers["Impersonate-Group"] = group
            async with session.request(
                method, path, ssl=tls, headers=headers, data=b"{}"
            ) as response:
                codes[method, path, user, group] = response.status
    assert codes == dict.fromkeys(tries, FORBIDDEN)


async def test_of_a_pod_cloudcore_may_change_how_long_it_tolerates_its_nodes_absence(
    cluster: Cluster,
) -> None:
    base = "/api/v1/namespaces/shop/pods"
    await cluster.api.create("/api/v1/namespaces", {"metadata": {"name": "shop"}})
    made = pod("web", "edge", script=FOREVER)
    made["metadata"] |= {"labels": {"app": "web"}, "annotations": {"kept": "yes"}}
    made["spec"]["initContainers"] = [{"name": "i", "image": "busybox"}]
    found = await cluster.api.create(base, made)
    tolerations = found["spec"]["tolerations"]
    longer = [one | {"tolerationSeconds": 3600} for one in tolerations]
    another = {"key": "gpu", "operator": "Exists"}
    allowed: list[Object] = [
        {"spec": {"tolerations": longer}, "metadata": {"annotations": {RECORD: "x"}}},
        {"metadata": {"annotations": {RECORD: None}}},
    ]
    refused: list[Object] = [
        {"spec": {"containers": [found["spec"]["containers"][0] | {"image": "evil"}]}},
        {"spec": {"initContainers": [found["spec"]["initContainers"][0] | {"image": "evil"}]}},
        {"spec": {"activeDeadlineSeconds": 1}},
        {"spec": {"tolerations": [*longer, another]}},
        {"metadata": {"labels": {"app": None}}},
        {"metadata": {"finalizers": ["example.com/never"]}},
        {"metadata": {"annotations": {"kept": "no"}}},
        {"metadata": {"annotations": {"kept": None}}},
        {"metadata": {"annotations": {"more": "x"}}},
    ]
    changes = [*allowed, *refused]
    async with asyncio.timeout(30):
        # The API server follows policies by a watch, and roles, without which it forbids all.
        trial, unprocessable = f"{base}/web?dryRun=All", HTTPStatus.UNPROCESSABLE_ENTITY
        while await code_of(cluster, trial, refused[0]) != unprocessable:  # noqa: ASYNC110 - nobody sets an event
            await asyncio.sleep(0.1)
    assert [await code_of(cluster, f"{base}/web", change) for change in changes] == [
        *[HTTPStatus.OK] * len(allowed),
        *[unprocessable] * len(refused),
    ]


async def code_of(cluster: Cluster, path: str, change: Object) -> int:
    tls = ssl.create_default_context(cafile=str(cluster.control_plane.ca_file))
    headers = {"Authorization": f"Bearer {cluster.token}", "Content-Type": MERGE_PATCH}
    async with (
        aiohttp.ClientSession(cluster.control_plane.server) as session,
        session.patch(path, ssl=tls, headers=headers, data=json.dumps(change)) as response,
    ):
        return response.status
