"""One edge and many, wired as the daemon wires them; the cloud is TLS on loopback, or made up."""

import asyncio
import contextlib
import http.client
import json
import os
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from websockets.exceptions import ConnectionClosed

from common.beehive.message import Message
from common.errors import ConfigError, StoreError
from common.frames import Beat, BeatAnswer
from common.monitor import ask
from common.names import Operation, PeerProtocol
from common.wire import loads
from deploy.devcluster.ports import free_ports
from edgecore import app
from edgecore.app import Edge, World, build_edge, enroll_in_thread
from edgecore.config import EdgeCoreSettings, HollowSettings, RuntimeName
from edgecore.datadir import SOCKET
from edgecore.edgehub import hubconfig
from edgecore.edgehub.network import Network
from edgecore.edgestore.store import EdgeStore
from edgecore.metamanager import inventory
from edgecore.metrics import EdgeMetrics
from tests.edgecore.cloud import HOST, Peer, TestCloud, answer, down, until
from tests.edgecore.edgehub.links import MadeUpCredentials, MadeUpLink, MadeUpNetwork

POD = {
    "kind": "Pod",
    "apiVersion": "v1",
    "metadata": {"name": "web", "namespace": "default", "uid": "p1", "resourceVersion": "5"},
    "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i", "command": ["x"]}]},
}


@pytest.fixture
def cloud(tmp_path: Path) -> TestCloud:
    folder = tmp_path / "cloud"
    folder.mkdir()
    return TestCloud(folder)


def settings(cloud: TestCloud, folder: Path, name: str = "n1") -> EdgeCoreSettings:
    return EdgeCoreSettings(
        node_name=name,
        cloud=HOST,
        websocket_port=cloud.websocket_port or 1,
        https_port=cloud.https_port or 1,
        token=cloud.token,
        data_dir=folder,
        runtime=RuntimeName.HOLLOW,
        node_ip=HOST,
        grace_s=5,
    )


def edge_of(cloud: TestCloud, folder: Path) -> Edge:
    metrics = EdgeMetrics(CollectorRegistry())
    return build_edge(settings(cloud, folder), metrics, enroll=enroll_in_thread)


@contextlib.asynccontextmanager
async def running(edge: Edge) -> AsyncIterator[Edge]:
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(edge.run(stop))
        await edge.is_open.wait()
        yield edge
        stop.set()


class Recording:
    """Answers what an edge asks, so that it is content, and keeps what was said."""

    def __init__(self, *first: object) -> None:
        self.first = first
        self.patches: list[str] = []
        self.inventories: list[object] = []
        self.nodes: list[str] = []

    async def __call__(self, peer: Peer) -> None:
        assert peer.connection.request is not None
        self.nodes.append(peer.connection.request.headers["node_id"])
        with contextlib.suppress(ConnectionClosed):
            for pod in self.first:
                await peer.send(down(Operation.INSERT, "default/pod/web", pod, version="5"))
            while True:
                message = await peer.receive()
                if message.operation is Operation.RESPONSE:
                    continue
                content: object = {"Object": None, "Err": None}
                if "/inventory/" in message.resource:
                    self.inventories.append(loads(message.content))
                    content = {"updated": 0, "deleted": 0}
                if message.operation is Operation.PATCH:
                    self.patches.append(message.resource)
                await peer.send(answer(message, content))


async def test_a_pod_is_stored_run_and_reported_and_told_in_the_next_inventory(
    cloud: TestCloud, tmp_path: Path
) -> None:
    cloud.protocol = PeerProtocol.CLOUDEDGE_V1
    script = Recording(POD)
    async with cloud.listening(script):
        async with running(edge_of(cloud, tmp_path / "edge")):
            await until(lambda: "default/podpatch/web" in script.patches)
        script.first = ()
        async with running(edge_of(cloud, tmp_path / "edge")):
            await until(lambda: len(script.inventories) == 2)
    assert script.inventories == [
        {"objects": []},
        {"objects": [["pod", "default", "web", "p1", "5"]]},
    ]


async def test_a_whole_edge_in_a_made_up_network_beats_and_is_in_step_by_a_digest(
    cloud: TestCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A beat waits for its sign: a machine that is busy, or slow to write, makes no progress late.
    monkeypatch.setattr(hubconfig, "_SIGN_SHARE", 100.0)
    link = MadeUpLink()
    network = Network(MadeUpNetwork(link).dial, lambda: 0.1)
    world = World(network=network, credentials=MadeUpCredentials())
    told = replace(settings(cloud, tmp_path), heartbeat_s=1.0)
    one = build_edge(told, EdgeMetrics(CollectorRegistry()), world=world)
    beats: list[Beat] = []
    said: list[Message] = []

    def is_in_step() -> bool:
        held = int(inventory.digest(one.store.index), 16)
        return acked(said) and bool(beats) and beats[-1].digest == held

    async with running(one):
        while not is_in_step():
            item = await link.heard()
            if isinstance(item, Beat):
                beats.append(item)
                link.says(BeatAnswer(item.number, 0, wants_digest=True))
            elif isinstance(item, Message):
                said.append(item)
                if "/inventory/" in item.resource:
                    link.says(answer(item, {"updated": 0, "deleted": 0}))
                    link.says(down(Operation.INSERT, "default/pod/web", POD, version="5"))
                elif item.operation is not Operation.RESPONSE:
                    link.says(answer(item, {"Object": None, "Err": None}))
    assert all(beat.progresses for beat in beats)
    [asked] = [message for message in said if "/inventory/" in message.resource]
    assert loads(asked.content) == {"digest": "0" * 16, "count": 0, "newest": {}}
    assert not [message for message in said if "/lease/" in message.resource]


def acked(said: Sequence[Message]) -> bool:
    """Whether what the cloud sent was acknowledged, in the way that it knows."""
    return any("acked" in bytes(message.content).decode() for message in said)


async def test_a_cloud_of_another_cluster_hears_nothing_and_takes_nothing_away(
    cloud: TestCloud, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Promise P11."""
    cloud.protocol, cloud.cluster = PeerProtocol.CLOUDEDGE_V1, "u1"
    script = Recording(POD)
    async with cloud.listening(script), running(edge_of(cloud, tmp_path / "edge")):
        await until(lambda: "default/podpatch/web" in script.patches)

    heard: list[Message] = []

    async def foreign(peer: Peer) -> None:
        with contextlib.suppress(ConnectionClosed):
            await peer.send(down(Operation.DELETE, "default/pod/web", POD, version="9"))
            while True:
                heard.append(await peer.receive())

    cloud.cluster = "u2"
    registry = CollectorRegistry()
    name, labels = "edgecore_connection_failures_total", {"reason": "another_cluster"}
    async with cloud.listening(foreign):
        told = settings(cloud, tmp_path / "edge")
        edge = build_edge(told, EdgeMetrics(registry), enroll=enroll_in_thread)
        async with running(edge):
            await until(lambda: (registry.get_sample_value(name, labels) or 0) >= 2)
            assert list(edge.store.index.keys("pod")) == ["default/pod/web"]
    assert heard == []
    assert "--accept-cluster u2" in str([vars(record) for record in caplog.records])

    cloud.cluster, script.first = "u1", ()
    async with cloud.listening(script), running(edge_of(cloud, tmp_path / "edge")):
        await until(lambda: len(script.inventories) == 2)
    assert script.inventories[1] == {"objects": [["pod", "default", "web", "p1", "5"]]}


async def test_stored_pods_start_without_a_cloud(cloud: TestCloud, tmp_path: Path) -> None:
    script = Recording(POD)
    async with cloud.listening(script), running(edge_of(cloud, tmp_path / "edge")):
        await until(lambda: "default/podpatch/web" in script.patches)
    told = settings(cloud, tmp_path / "edge")
    runtime = app.runtime_of(told)
    offline = build_edge(
        told,
        EdgeMetrics(CollectorRegistry()),
        world=World(runtime=runtime),
        enroll=enroll_in_thread,
    )
    async with running(offline):
        while not await runtime.list_pods():  # noqa: ASYNC110 - the runtime tells only if asked
            await asyncio.sleep(0.005)


async def test_a_folder_serves_one_edgecore(cloud: TestCloud, tmp_path: Path) -> None:
    async with running(edge_of(cloud, tmp_path / "edge")):
        with pytest.raises(ConfigError, match="in use by another edgecore"):
            await edge_of(cloud, tmp_path / "edge").run(asyncio.Event())
    async with running(edge_of(cloud, tmp_path / "edge")):
        pass


async def test_a_folder_that_cannot_be_used_is_told(cloud: TestCloud, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="--data-dir"):
        await edge_of(cloud, tmp_path / "file" / "edge").run(asyncio.Event())


async def test_a_store_that_cannot_be_used_stops_the_start(
    cloud: TestCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(_: EdgeStore) -> EdgeStore:
        raise StoreError("no space")

    monkeypatch.setattr(EdgeStore, "__aenter__", full)
    with pytest.raises(StoreError, match="no space"):
        await edge_of(cloud, tmp_path / "edge").run(asyncio.Event())


async def test_the_daemon_is_ready_without_a_cloud_and_tells_systemd(
    cloud: TestCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.setblocking(False)  # noqa: FBT003
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        [port] = free_ports(1)
        stop = asyncio.Event()
        own = replace(settings(cloud, tmp_path / "edge"), monitor_address=f"{HOST}:{port}")
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(app.run(own, stop))
            assert await loop.sock_recv(systemd, 99) == b"READY=1"
            assert await asyncio.to_thread(get, port, "/readyz") == 200
            assert await asyncio.to_thread(get, port, "/metrics") == 200
            asked = tmp_path / "edge" / SOCKET
            lines = (await asyncio.to_thread(ask, asked, "/readyz?verbose")).decode().splitlines()
            assert {"[+] edge-store", "[+] disk", "[+] container-engine", "ready"} <= set(lines)
            assert any(line.startswith("[ ] cloud: ") for line in lines)
            numbers = (await asyncio.to_thread(ask, asked, "/metrics")).decode()
            assert "edgecore_runtime_up 1.0" in numbers
            assert 'edgecore_mailbox_messages{module="edged"}' in numbers
            told = json.loads(await asyncio.to_thread(ask, tmp_path / "edge" / SOCKET))
            assert {"edgecore", "edgehub", "metamanager", "edged"} <= set(told)
            assert told["edgecore"]["pid"] == os.getpid()
            assert told["edgehub"]["cloud"] == f"{HOST}:{own.websocket_port}"
            stop.set()
        assert await loop.sock_recv(systemd, 99) == b"STOPPING=1"


async def test_a_monitor_address_that_is_taken_is_a_fault_of_the_configuration(
    cloud: TestCloud, tmp_path: Path
) -> None:
    with socket.create_server((HOST, 0)) as taken:
        address = f"{HOST}:{taken.getsockname()[1]}"
        own = replace(settings(cloud, tmp_path), monitor_address=address)
        with pytest.raises(ConfigError, match="in use"):
            await app.run(own, asyncio.Event())


async def test_hollow_edges_are_edges_of_their_own_in_one_process(
    cloud: TestCloud, tmp_path: Path
) -> None:
    script = Recording()
    async with cloud.listening(script):
        hollow = HollowSettings(
            cloud=HOST,
            websocket_port=cloud.websocket_port,
            https_port=cloud.https_port,
            token=cloud.token,
            data_dir=tmp_path / "hollow",
            count=12,
            node_name_prefix="h",
        )
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(app.run_hollow(hollow, stop))
            await until(lambda: len(set(script.nodes)) == 12)
            stop.set()
    assert set(script.nodes) == set(cloud.enrolments) == {f"h-{n}" for n in range(12)}


def get(port: int, path: str) -> int:
    connection = http.client.HTTPConnection(HOST, port, timeout=50)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()
