"""cloudcore to a recorded edge: what a real KubeEdge edge said gets answers of the recorded shape.

Real: control plane, cloudcore as a process, TLS. The edge is a double that says the recorded lines
over a WebSocket of its own, with the UIDs and versions of this cluster in place of the recorded.
"""

import asyncio
import base64
import json
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from websockets.asyncio.client import ClientConnection, connect

from common import issuing, pki, subjects, tls
from common.names import NodeID
from deploy.devcluster.api import Api
from deploy.devcluster.controlplane import API_ONLY, ControlPlane
from deploy.devcluster.daemons import CloudCore
from tests.transcript import NODE, Line, lines, shape

ANSWER_S: Final = 10.0
UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
UNNAMED: Final = "the ConfigMap and the Secret are deleted"
NAMESPACED: Final = {"pod": "pods", "configmap": "configmaps", "secret": "secrets"}

Push = tuple[str, str]


class RecordedEdge:
    """Says recorded lines, acknowledges whatever comes, and keeps it."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._answers: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._uids: dict[str, str] = {}  # recorded -> in this cluster
        self.pushed: list[Push] = []
        self.pushed_something = asyncio.Event()
        self.newest: dict[str, dict[str, Any]] = {}  # resource -> object

    async def listen(self) -> None:
        async for text in self._socket:
            message = json.loads(text)
            header, route = message["header"], message["route"]
            assert isinstance(text, str), "a Go peer's JSON is in text frames"
            parent = header.get("parent_msg_id")
            if parent in self._answers:
                self._answers[parent].set_result(message)
                continue
            assert (route["source"], route["group"]) == ("edgecontroller", "resource")
            assert message["content"]["kind"]
            assert message["content"]["apiVersion"]
            self.newest[route["resource"]] = message["content"]
            self.pushed.append((route["operation"], route["resource"]))
            self.pushed_something.set()
            ack = {
                "header": {"msg_id": f"ack-{header['msg_id']}", "timestamp": 1}
                | {"parent_msg_id": header["msg_id"]},
                "route": {**route, "operation": "response"},
                "content": "OK",
            }
            await self._socket.send(json.dumps(ack))

    async def say(self, line: Line) -> dict[str, Any] | None:
        """Say ``line`` and return the answer; None for a keepalive, which has none."""
        text = UUID.sub(lambda match: self._uids.get(match[0], match[0]), json.dumps(line.message))
        if line.operation == "keepalive":
            await self._socket.send(text)
            return None
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._answers[line.msg_id] = future
        await self._socket.send(text)
        async with asyncio.timeout(ANSWER_S):
            return await future

    def learn_uid(self, recorded: str, resource: str) -> None:
        self._uids[recorded] = self.newest[resource]["metadata"]["uid"]

    async def see(self, wanted: set[Push]) -> None:
        """Return when everything ``wanted`` was pushed."""
        async with asyncio.timeout(ANSWER_S):
            while not wanted <= set(self.pushed):
                self.pushed_something.clear()
                await self.pushed_something.wait()


@asynccontextmanager
async def recorded_edge(api: Api, cloud: CloudCore, folder: Path) -> AsyncIterator[RecordedEdge]:
    secret = await api.get("/api/v1/namespaces/kubeedge/secrets/casecret")
    assert secret is not None
    context = _client_context(secret["data"], folder)
    handshake = dict(lines()[0].message["headers"])
    async with (
        connect(
            f"wss://127.0.0.1:{cloud.websocket_port}{lines()[0].message['path']}",
            ssl=context,
            compression=None,
            additional_headers={
                name: handshake[name] for name in ("Connectionuse", "Node_id", "Project_id")
            },
        ) as socket,
        asyncio.TaskGroup() as group,
    ):
        edge = RecordedEdge(socket)
        listener = group.create_task(edge.listen())
        yield edge
        listener.cancel()


def _client_context(data: dict[str, str], folder: Path) -> ssl.SSLContext:
    authority = issuing.load_authority(
        base64.b64decode(data["cadata"]), base64.b64decode(data["cakeydata"])
    )
    key = pki.new_key()
    issued = issuing.issue_node(
        authority, subjects.new_csr(key, NodeID(NODE)), NodeID(NODE), datetime.now(UTC)
    )
    (folder / "edge.crt").write_text(pki.cert_to_pem(issued.der))
    (folder / "edge.key").write_bytes(pki.key_to_pem(key))
    return tls.client_context(authority.pem, folder / "edge.crt", folder / "edge.key")


@pytest.mark.e2e
async def test_every_recorded_request_gets_an_answer_of_the_recorded_shape(tmp_path: Path) -> None:
    """On an API server without controllers, as the recorded one was: no service account exists."""
    async with ControlPlane(components=API_ONLY) as control_plane, Api(control_plane) as api:
        cloud = CloudCore(control_plane, tmp_path / "cloudcore")
        await cloud.start()
        try:
            await _prepare(api)
            await _replay(api, cloud, tmp_path)
        finally:
            await cloud.stop()


async def _replay(api: Api, cloud: CloudCore, folder: Path) -> None:
    transcript = lines()
    down = [line for line in transcript if line.direction == "down"]
    answers = {line.parent_id: line for line in down if line.parent_id}
    async with recorded_edge(api, cloud, folder) as edge:
        for position, line in enumerate(transcript):
            if line.note == UNNAMED:
                # No pod of the node names them any more: unlike KubeEdge, cloudcore then
                # tells the node nothing of them.
                break
            if line.direction == "note":
                edge.pushed.clear()
                await _act(api, line.note, transcript[position:])
            elif line.direction == "down" and not line.parent_id:
                await edge.see({(line.operation, line.resource)})
                if uid := line.message["content"]["metadata"].get("uid"):
                    edge.learn_uid(uid, line.resource)
            elif line.direction == "up" and not line.parent_id:
                answer = await edge.say(line)
                if answer is not None:
                    _compare(answer, answers[line.msg_id])


def _compare(answer: dict[str, Any], recorded: Line) -> None:
    told = recorded.message
    assert answer["route"] == told["route"]
    assert shape(answer["content"]) == shape(told["content"]), recorded.resource
    has_version = "resourceversion" in told["header"]
    assert ("resourceversion" in answer["header"]) == has_version, recorded.resource


async def _prepare(api: Api) -> None:
    """Bring about what the recorded edge found: a lease from an earlier life, and no Node."""
    for namespace in ("default", "kube-node-lease"):
        path = f"/api/v1/namespaces/{namespace}"
        await api.wait(path, lambda found: found is not None, "the API server has made it")
    await api.create(
        "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases",
        {
            "metadata": {"name": NODE},
            "spec": {"holderIdentity": NODE, "leaseDurationSeconds": 40},
        },
    )


async def _act(api: Api, note: str, rest: list[Line]) -> None:
    """Do to the cluster what ``note`` tells, with the objects as they were recorded after it."""
    recorded = {
        line.resource: line.message["content"]
        for line in reversed(rest)
        if line.direction == "down" and line.resource.split("/")[1] in NAMESPACED
    }
    match note:
        case _ if note.startswith("a ConfigMap, a Secret and a pod that names both"):
            for resource in ("default/configmap/web", "default/secret/db", "default/pod/web"):
                await _create(api, resource, recorded[resource])
        case "the ConfigMap is updated":
            await api.patch(_path("default/configmap/web"), {"data": {"greeting": "bye"}})
        case "the Secret is updated":
            await api.patch(_path("default/secret/db"), {"stringData": {"password": "new"}})
        case "the pod is labelled":
            await api.patch(_path("default/pod/web"), {"metadata": {"labels": {"tier": "front"}}})
        case "a second pod names a ConfigMap that does not exist":
            await _create(api, "default/pod/broken", recorded["default/pod/broken"])
        case "that ConfigMap is created":
            resource = "default/configmap/nowhere"
            await _create(api, resource, recorded[resource])
        case "the pods are deleted (gracefully)":
            for name in ("web", "broken"):
                await api.delete(_path(f"default/pod/{name}"), grace_s=30)
        case _:
            raise AssertionError(note)


async def _create(api: Api, resource: str, recorded: dict[str, Any]) -> None:
    body = {key: value for key, value in recorded.items() if key != "status"}
    body["metadata"] = {
        key: value for key, value in recorded["metadata"].items() if key in ("name", "labels")
    }
    await api.create(_path(resource).rpartition("/")[0], body)


def _path(resource: str) -> str:
    namespace, kind, name = resource.split("/")
    return f"/api/v1/namespaces/{namespace}/{NAMESPACED[kind]}/{name}"
