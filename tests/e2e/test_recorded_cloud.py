"""edgecore to a recorded cloud: what a real KubeEdge cloud said is answered as it was recorded.

Real: TLS, WebSocket, the whole edge with its edge-store. The cloud is a double that says the
recorded `down` lines in their order, each push when the one before was acknowledged (KubeEdge sends
one at a time), and gives the recorded answers to what the edge asks. The containers are hollow.
"""

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry
from websockets.exceptions import ConnectionClosed

from edgecore.app import build_edge, enroll_in_thread
from edgecore.config import EdgeCoreSettings, RuntimeName
from edgecore.metrics import EdgeMetrics
from tests.edgecore.cloud import HOST, Peer, TestCloud, until
from tests.transcript import NODE, Line, lines

Json = dict[str, Any]

ACKNOWLEDGED: Final = {"query", "insert", "update"}
RECORDED: Final = lines()
PUSHES: Final = [line for line in RECORDED if line.direction == "down" and not line.parent_id]
REQUESTS: Final = {
    line.msg_id: line for line in RECORDED if line.direction == "up" and not line.parent_id
}
ANSWERS: Final = {
    (REQUESTS[line.parent_id].operation, line.resource): line
    for line in RECORDED
    if line.direction == "down" and line.parent_id
}
RECORDED_ACKS: Final = {
    line.parent_id: line for line in RECORDED if line.direction == "up" and line.parent_id
}


class RecordedCloud:
    """Says the recorded lines, and keeps what the edge says."""

    def __init__(self) -> None:
        self.requests: list[Json] = []
        self.acks: dict[str, Json] = {}  # by the id of what is acknowledged
        self.answered: dict[str, str] = {}  # id of an answer -> operation of its request
        self.pushed = 0
        self.may_push = asyncio.Event()
        self.heard = asyncio.Event()

    async def __call__(self, peer: Peer) -> None:
        with contextlib.suppress(ConnectionClosed):
            async with asyncio.TaskGroup() as tasks:
                pushing = tasks.create_task(self.push(peer))
                async for text in peer.connection:
                    await self.hear(peer, json.loads(text))
                pushing.cancel()

    async def push(self, peer: Peer) -> None:
        await self.may_push.wait()
        for line in PUSHES:
            await say(peer, line.message)
            while line.msg_id not in self.acks:
                self.heard.clear()
                await self.heard.wait()
            self.pushed += 1

    async def hear(self, peer: Peer, message: Json) -> None:
        route, header = message["route"], message["header"]
        if route["operation"] == "response":
            self.acks[header["parent_msg_id"]] = message
            self.heard.set()
        elif route["operation"] != "keepalive":
            self.requests.append(message)
            await self.answer(peer, message)

    async def answer(self, peer: Peer, request: Json) -> None:
        route = request["route"]
        recorded = ANSWERS.get((route["operation"], route["resource"]))
        if recorded is None:
            return
        msg_id = f"answer-{len(self.answered)}"
        self.answered[msg_id] = route["operation"]
        header = recorded.message["header"] | {
            "msg_id": msg_id,
            "parent_msg_id": request["header"]["msg_id"],
        }
        await say(peer, recorded.message | {"header": header})

    def asked(self, operation: str, resource: str) -> list[Json]:
        return [
            request
            for request in self.requests
            if (request["route"]["operation"], request["route"]["resource"])
            == (operation, resource)
        ]


async def say(peer: Peer, message: Json) -> None:
    await peer.connection.send(json.dumps(message) + "\n")


def without_ids(message: Json) -> Json:
    header = dict.fromkeys(message["header"], "")
    return {"header": header, "route": message["route"], "content": message["content"]}


async def test_each_recorded_line_is_answered_as_recorded(tmp_path: Path) -> None:
    folder = tmp_path / "cloud"
    folder.mkdir()
    cloud, recorded = TestCloud(folder), RecordedCloud()
    async with cloud.listening(recorded):
        settings = EdgeCoreSettings(
            node_name=NODE,
            cloud=HOST,
            websocket_port=cloud.websocket_port,
            https_port=cloud.https_port,
            token=cloud.token,
            data_dir=tmp_path / "edge",
            runtime=RuntimeName.HOLLOW,
            node_ip=HOST,
        )
        edge = build_edge(settings, EdgeMetrics(CollectorRegistry()), enroll=enroll_in_thread)
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(edge.run(stop))
            await until(lambda: bool(recorded.asked("insert", f"null/node/{NODE}")))
            recorded.may_push.set()
            await until(lambda: recorded.pushed == len(PUSHES))
            await until(lambda: all_acknowledged(recorded))
            index = dict(edge.store.index.entries)
            stop.set()
    for line in PUSHES:
        ack = recorded.acks[line.msg_id]
        assert without_ids(ack) == without_ids(RECORDED_ACKS[line.msg_id].message), line.resource
        assert ack["header"]["msg_id"] != line.msg_id
    # The recording ends with everything deleted: only the Node is left.
    assert {key.split("/")[1] for key in index} == {"node"}
    # What a KubeEdge edge says too, is said in its words.
    for request in recorded.requests:
        assert request["route"]["source"] == "edged"
        assert request["route"]["group"] == "meta"
        assert "parent_msg_id" not in request["header"]


def all_acknowledged(recorded: RecordedCloud) -> bool:
    """Whether the edge acknowledged just those answers that a KubeEdge edge acknowledges."""
    wanted = {msg_id for msg_id, verb in recorded.answered.items() if verb in ACKNOWLEDGED}
    got = {msg_id for msg_id in recorded.acks if msg_id.startswith("answer-")}
    assert got <= wanted
    return got == wanted


def test_the_recording_acknowledges_as_we_do() -> None:
    answers = [line for line in RECORDED if line.direction == "down" and line.parent_id]
    for line in answers:
        is_acknowledged = line.msg_id in RECORDED_ACKS
        assert is_acknowledged is (REQUESTS[line.parent_id].operation in ACKNOWLEDGED), line
    assert isinstance(answers[0], Line)
