"""Our cloudcore where KubeEdge's was: its edges, its authority, its token, its configuration.

Real: control plane, cloudcore and edgecore as processes with KubeEdge's configuration files, TLS.
What KubeEdge has left is made as its code makes it (``kubeedgecloud``). Its edge is a double that
speaks as the recorded one does: it renews its lease, acknowledges, and does nothing else.
"""

import asyncio
import base64
import hashlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from itertools import count
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from common import pki, subjects, tls
from deploy.devcluster.api import Api, Object
from deploy.devcluster.commands import NodeMonitor
from deploy.devcluster.controlplane import ControlPlane
from deploy.devcluster.daemons import Daemon
from deploy.devcluster.ports import LOOPBACK, free_ports
from deploy.devcluster.site import is_ready
from tests.e2e.kubeedgecloud import (
    OBJECTSYNCS,
    SECRETS,
    KubeEdgeCloud,
    Pair,
    leave,
    leave_node,
    leave_pod,
    make_cloud,
    node_subject,
    renew_time,
)
from tests.e2e.test_transcript import RecordedEdge
from tests.transcript import Line

SOON: Final = NodeMonitor(period_s=1, grace_period_s=25, startup_grace_period_s=25)
"""After a busy machine has started a cloudcore and led an edge to it, and well before the end."""

LEASES: Final = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
PROJECT: Final = "e632aba927ea4ac2b575ec1603d56f10"
RENEWED_EVERY_S: Final = 1.0
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

CLOUDCORE_YAML: Final = """
apiVersion: cloudcore.config.kubeedge.io/v1alpha1
kind: CloudCore
commonConfig: {{tunnelPort: 10350}}
kubeAPIConfig: {{kubeConfig: {kubeconfig}, master: '', qps: 5000, burst: 10000}}
modules:
  cloudHub:
    advertiseAddress: [127.0.0.1]
    dnsNames: ['']
    nodeLimit: 1000
    edgeCertSigningDuration: 30
    https: {{address: 127.0.0.1, enable: true, port: {https}}}
    websocket: {{address: 127.0.0.1, enable: true, port: {websocket}}}
  cloudStream: {{enable: true}}
"""
EDGECORE_YAML: Final = """
apiVersion: edgecore.config.kubeedge.io/v1alpha2
kind: EdgeCore
modules:
  deviceTwin: {{enable: true}}
  edgeHub:
    httpServer: https://127.0.0.1:{https}
    tlsCaFile: {folder}/rootCA.crt
    tlsCertFile: {folder}/server.crt
    tlsPrivateKeyFile: {folder}/server.key
    token: '{token}'
    websocket: {{enable: true, server: '127.0.0.1:{websocket}'}}
  edged:
    hostnameOverride: {node}
    nodeIP: 127.0.0.1
    rootDirectory: {folder}/kubelet
    tailoredKubeletConfig:
      evictionHard: {{memory.available: 50Mi}}
      readOnlyPort: 0
      staticPodPath: {folder}/manifests
"""


@dataclass(frozen=True, slots=True)
class Place:
    """A cluster with our cloudcore in place of KubeEdge's."""

    api: Api
    before: KubeEdgeCloud
    daemon: Daemon
    websocket_port: int
    https_port: int
    folder: Path

    def context(self, node: Pair | None = None) -> ssl.SSLContext:
        """Return TLS of an edge that trusts the authority of before."""
        if node is None:
            return tls.client_context(self.before.authority.pem.decode())
        files = self.folder / "peer.crt", self.folder / "peer.key"
        files[0].write_bytes(node.pem)
        files[1].write_bytes(node.key_pem)
        return tls.client_context(self.before.authority.pem.decode(), *files)

    def edgecore(self, node: str, *, token: str = "", pair: Pair | None = None) -> Daemon:
        """Return our edgecore with KubeEdge's configuration file, and maybe its certificate."""
        folder = self.folder / node
        (folder / "manifests").mkdir(parents=True)
        if pair is not None:
            (folder / "rootCA.crt").write_bytes(self.before.authority.pem)
            (folder / "server.crt").write_bytes(pair.pem)
            (folder / "server.key").write_bytes(pair.key_pem)
        file = folder / "edgecore.yaml"
        file.write_text(
            EDGECORE_YAML.format(
                https=self.https_port,
                websocket=self.websocket_port,
                folder=folder,
                node=node,
                token=token,
            )
        )
        command = ["edgecore", "run", f"--config={file}", "--runtime=hollow"]
        return Daemon(f"edgecore {node}", command, folder / "data")

    async def secret(self, name: str) -> dict[str, bytes]:
        found = await self.api.get(f"{SECRETS}/{name}")
        assert found is not None
        return {key: base64.b64decode(value) for key, value in found["data"].items()}

    async def wait_ready(self, node: str) -> None:
        await self.api.wait(
            f"/api/v1/nodes/{node}",
            lambda found: found is not None and is_ready(found),
            f"{node} is Ready",
        )


@asynccontextmanager
async def taken_over(
    folder: Path, before: KubeEdgeCloud, *nodes: str, options: tuple[str, ...] = ()
) -> AsyncIterator[Place]:
    """Run our cloudcore, by KubeEdge's file, where KubeEdge has left ``before`` and ``nodes``."""
    async with ControlPlane(node_monitor=SOON) as control_plane, Api(control_plane) as api:
        await leave(api, before)
        for node in nodes:
            await leave_node(api, node)
        websocket, https = free_ports(2)
        file = folder / "cloudcore.yaml"
        kubeconfig = control_plane.kubeconfig
        file.write_text(
            CLOUDCORE_YAML.format(kubeconfig=kubeconfig, https=https, websocket=websocket)
        )
        command = ["cloudcore", "run", f"--config={file}", *options]
        daemon = Daemon("cloudcore", command, folder / "cloudcore")
        await daemon.start()
        try:
            yield Place(api, before, daemon, websocket, https, folder)
        finally:
            await daemon.stop()


@asynccontextmanager
async def running(daemon: Daemon) -> AsyncIterator[None]:
    try:
        await daemon.start()
        yield
        await daemon.stop()
    finally:
        daemon.kill()


@asynccontextmanager
async def kubeedge_edge(place: Place, node: str, pair: Pair) -> AsyncIterator[RecordedEdge]:
    """A KubeEdge edge that goes on as before: it connects, and renews its lease."""
    async with (
        connect(
            f"wss://{LOOPBACK}:{place.websocket_port}/{PROJECT}/{node}/events",
            ssl=place.context(pair),
            compression=None,
            additional_headers={"ConnectionUse": "msg", "node_id": node, "project_id": PROJECT},
        ) as socket,
        asyncio.TaskGroup() as group,
    ):
        edge = RecordedEdge(socket)
        tasks = [
            group.create_task(edge.listen()),
            group.create_task(renew_lease(edge, node)),
        ]
        yield edge
        for task in tasks:
            task.cancel()


async def renew_lease(edge: RecordedEdge, node: str) -> None:
    resource = f"kube-node-lease/lease/{node}"
    lease = await asked(edge, "query", resource, None)
    for number in count():
        lease["spec"]["renewTime"] = renew_time()
        lease = await asked(edge, "update", resource, lease, str(number))
        await asyncio.sleep(RENEWED_EVERY_S)


async def asked(
    edge: RecordedEdge, operation: str, resource: str, content: Any, number: str = ""
) -> dict[str, Any]:
    """Return the object that the cloud answers with."""
    message = {
        "header": {"msg_id": f"{operation}-{number}", "timestamp": 1},
        "route": {
            "source": "edged",
            "group": "meta",
            "operation": operation,
            "resource": resource,
        },
        "content": content,
    }
    answer = await edge.say(Line("up", message))
    assert answer is not None
    assert not answer["content"].get("Err"), answer["content"]
    found = answer["content"]["Object"]
    assert isinstance(found, dict)
    return found


def ready_since(node: Object) -> str:
    (ready,) = [one for one in node["status"]["conditions"] if one["type"] == "Ready"]
    assert ready["status"] == "True"
    return str(ready["lastTransitionTime"])


async def test_edges_of_kubeedge_reconnect_without_enrolment_and_stay_ready(tmp_path: Path) -> None:
    before, node = make_cloud(), "shop-1"
    async with taken_over(tmp_path, before, node, "silent") as place:
        api = place.api
        pod = await leave_pod(api, "web", node)
        path, sync = "/api/v1/namespaces/default/pods/web", f"{node}.{pod['metadata']['uid']}"
        await api.create(
            OBJECTSYNCS,
            {
                "apiVersion": "reliablesyncs.kubeedge.io/v1alpha1",
                "kind": "ObjectSync",
                "metadata": {"name": sync},
                "spec": {"objectAPIVersion": "v1", "objectKind": "Pod", "objectName": "web"},
                "status": {"objectResourceVersion": "1"},
            },
        )
        left = await api.get(f"{OBJECTSYNCS}/{sync}")
        found = await api.get(f"/api/v1/nodes/{node}")
        assert found is not None
        since = ready_since(found)
        async with kubeedge_edge(place, node, before.node(node)) as edge:
            await edge.see({("update", "default/pod/web")})
            # By then also the other one would have been given up, if nobody renewed its lease.
            await api.wait(
                "/api/v1/nodes/silent",
                lambda one: one is not None and not is_ready(one),
                "a node without an edge is not Ready any more",
                timeout_s=60,
            )
            found = await api.get(f"/api/v1/nodes/{node}")
            assert found is not None
            assert ready_since(found) == since
            assert "delete" not in {operation for operation, _ in edge.pushed}
        after = await api.get(path)
        assert after is not None
        assert "deletionTimestamp" not in after["metadata"]
        assert after["metadata"]["uid"] == pod["metadata"]["uid"]
        assert after["status"]["containerStatuses"] == pod["status"]["containerStatuses"]
        assert await api.get(f"{OBJECTSYNCS}/{sync}") == left


async def test_what_kubeedge_has_left_is_used_as_it_is(tmp_path: Path) -> None:
    before = make_cloud()
    async with taken_over(tmp_path, before) as place:
        assert await place.secret("casecret") == {
            "cadata": before.authority.der,
            "cakeydata": before.authority.key_der,
        }
        server = await place.secret("cloudcoresecret")
        assert server["cloudcoredata"] == before.server.der
        assert await place.secret("tokensecret") == {"tokendata": before.token.encode()}
        log = place.daemon.log.read_text()
        assert log.count("have no effect") == 1
        assert "modules.cloudStream (kubectl logs and exec)" in log
        assert before.token.rpartition(".")[2] not in log


async def test_kubeedges_token_enrols_a_new_edge_and_its_certificate_is_renewed(
    tmp_path: Path,
) -> None:
    before, node = make_cloud(), "shop-9"
    async with taken_over(tmp_path, before) as place:
        token = (await place.secret("tokensecret"))["tokendata"].decode()
        hashed, jwt = token.split(".", 1)
        _, authority = await got(place, "/ca.crt", None)
        assert hashlib.sha256(authority).hexdigest() == hashed
        headers = {"Authorization": f"Bearer {jwt}", "NodeName": node}
        pair = await signed(place, node, headers)
        left = pair.certificate.not_valid_after_utc - datetime.now(UTC)
        assert left.days in {29, 30}  # as KubeEdge's file says
        await leave_node(place.api, node)
        async with kubeedge_edge(place, node, pair) as edge:
            await edge.see({("update", f"null/node/{node}")})
        # KubeEdge's edges renew by the certificate that they have, in TLS.
        again = await signed(place, node, {"NodeName": node}, pair)
        assert again.certificate.serial_number != pair.certificate.serial_number
        async with kubeedge_edge(place, node, again):
            pass
        assert await place.daemon.metric("cloudcore_plain_token_enrolments_total") == 1


async def test_edges_of_kubeedge_before_1_16_get_in_where_that_is_allowed_until_they_renew(
    tmp_path: Path,
) -> None:
    before, node = make_cloud(), "shop-1"
    shared, options = before.node(""), ("--nameless-certificates",)
    async with taken_over(tmp_path, before, node, options=options) as place:
        async with kubeedge_edge(place, node, shared) as edge:
            await edge.see({("update", f"null/node/{node}")})
        own = await signed(place, "", {"NodeName": node}, shared)
        assert subjects.node_of_certificate(own.der) == node
        async with kubeedge_edge(place, node, own):
            pass
        # From now on whoever has another edge's certificate is this node no more.
        csr = request_of("")[1]
        status, text = await got(place, "/edge.crt", shared, {"NodeName": node}, csr)
        assert status == HTTPStatus.UNAUTHORIZED, text
        with pytest.raises(InvalidStatus) as refused:
            async with kubeedge_edge(place, node, shared):
                pass
        assert refused.value.response.status_code == HTTPStatus.FORBIDDEN


async def test_edges_of_kubeedge_before_1_16_are_refused_otherwise_and_enrol_by_token(
    tmp_path: Path,
) -> None:
    before, node = make_cloud(), "shop-8"
    async with taken_over(tmp_path, before) as place:
        with pytest.raises(InvalidStatus) as refused:
            async with kubeedge_edge(place, node, before.node("")):
                pass
        assert refused.value.response.status_code == HTTPStatus.FORBIDDEN
        headers = {"Authorization": f"Bearer {before.token.split('.', 1)[1]}", "NodeName": node}
        own = await signed(place, "", headers)
        assert subjects.node_of_certificate(own.der) == node


def request_of(node: str) -> tuple[ec.EllipticCurvePrivateKey, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder(node_subject(node))
    return key, request.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


async def signed(
    place: Place, node: str, headers: dict[str, str], shown: Pair | None = None
) -> Pair:
    """Return what the cloud signs for a request of KubeEdge's edge; "" for one before 1.16."""
    key, csr = request_of(node)
    status, body = await got(place, "/edge.crt", shown, headers, csr)
    assert status == HTTPStatus.OK, body
    certificate = pki.load_certificate(body)
    certificate.verify_directly_issued_by(place.before.authority.certificate)
    return Pair(certificate, key)


async def got(
    place: Place,
    path: str,
    shown: Pair | None,
    headers: dict[str, str] | None = None,
    body: bytes | None = None,
) -> tuple[int, bytes]:
    url = f"https://{LOOPBACK}:{place.https_port}{path}"
    async with (
        aiohttp.ClientSession() as session,
        session.get(url, ssl=place.context(shown), headers=headers, data=body) as response,
    ):
        return response.status, await response.read()


async def test_our_edge_takes_the_place_of_kubeedges_by_its_file_and_certificate(
    tmp_path: Path,
) -> None:
    before, node = make_cloud(), "shop-2"
    async with taken_over(tmp_path, before, node) as place:
        await leave_pod(place.api, "web", node)
        daemon = place.edgecore(node, pair=before.node(node))
        async with running(daemon):
            await place.api.wait(
                "/api/v1/namespaces/default/pods/web",
                lambda found: found is not None and "0" not in container_ids(found),
                "the pod runs on our edge",
            )
            await place.wait_ready(node)
        log = daemon.log.read_text()
        assert "the certificate of KubeEdge's edge is taken over" in log
        assert log.count("have no effect: modules.deviceTwin (devices)") == 1
        assert "enrolled" not in log


async def test_our_edge_enrols_by_the_token_in_kubeedges_file(tmp_path: Path) -> None:
    before, node = make_cloud(), "shop-3"
    async with taken_over(tmp_path, before) as place:
        daemon = place.edgecore(node, token=before.token)
        async with running(daemon):
            await place.wait_ready(node)
        assert before.token.rpartition(".")[2] not in daemon.log.read_text()


def container_ids(pod: Object) -> set[str]:
    return {
        one["containerID"].partition("://")[2] for one in pod["status"].get("containerStatuses", [])
    }
