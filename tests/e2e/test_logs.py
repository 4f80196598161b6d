"""What both daemons log of a pod with a Secret, at debug and as JSON.

Real: control plane, cloudcore and edgecore as processes, TLS, SQLite, the pod's process. Nothing is
faked.
"""

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from deploy.devcluster.api import Api
from deploy.devcluster.controlplane import ControlPlane
from deploy.devcluster.daemons import CloudCore
from deploy.devcluster.site import is_ready, log_lines, until, whole_lines
from tests.e2e.conftest import Join, pod

ALL = ("--log-level=debug", "--log-format=json")
HIDDEN = "hunter2-and-more"


@pytest.fixture
async def cloud(control_plane: ControlPlane, tmp_path: Path) -> AsyncIterator[CloudCore]:
    daemon = CloudCore(control_plane, tmp_path / "cloudcore", options=ALL)
    await daemon.start()
    yield daemon
    await daemon.stop()


def said(log: Path) -> list[dict[str, Any]]:
    """Return the lines of a log; each is one JSON object, whatever was in it."""
    return [json.loads(line) for line in whole_lines(log.read_text())]


def of_message(log: Path, msg_id: object) -> list[str]:
    """Return what was said of a message, each once: what is not acknowledged soon is sent again."""
    return list(dict.fromkeys(line["msg"] for line in said(log) if line.get("msg_id") == msg_id))


async def test_a_message_can_be_followed_by_its_id_and_no_secret_is_told(
    api: Api, cloud: CloudCore, join: Join, namespace: str
) -> None:
    edge = await join(options=ALL)
    base = f"/api/v1/namespaces/{namespace}"
    encoded = base64.b64encode(HIDDEN.encode()).decode()
    await api.create(f"{base}/secrets", {"metadata": {"name": "s"}, "data": {"password": encoded}})
    secret = {"secretKeyRef": {"name": "s", "key": "password"}}
    await api.create(
        f"{base}/pods",
        pod(
            "web",
            edge.daemon.node,
            script='echo "knows $PASSWORD"; while true; do sleep 1; done',
            container={"env": [{"name": "PASSWORD", "valueFrom": secret}]},
        ),
    )
    found = await api.wait(
        f"{base}/pods/web", lambda one: one is not None and is_ready(one), "the pod is Ready"
    )
    assert found is not None
    await until(
        lambda: any(HIDDEN in line for line in log_lines(edge.daemon.data_dir, found)),
        "the pod has the Secret",
    )

    def sent() -> dict[str, Any] | None:
        return next(
            (
                line
                for line in said(cloud.log)
                if line["msg"].startswith("> ")
                and str(line["key"]).endswith(f"{namespace}/secret/s")
            ),
            None,
        )

    await until(lambda: sent() is not None, "the Secret was sent")
    message = sent()
    assert message is not None
    msg_id = message["msg_id"]
    assert message["node"] == edge.daemon.node
    await until(lambda: "acknowledged" in of_message(cloud.log, msg_id), "it was acknowledged")
    assert of_message(cloud.log, msg_id) == [message["msg"], "acknowledged"]
    assert of_message(edge.daemon.log, msg_id)[:2] == [
        message["msg"].replace(">", "<"),
        "durable: kept",
    ]
    token = edge.daemon.data_dir.with_suffix(".token").read_text().strip()
    for log in (cloud.log, edge.daemon.log):
        text = log.read_text()
        for word in (HIDDEN, encoded, token, token.rpartition(".")[2], "PRIVATE KEY"):
            assert word not in text


async def test_each_turn_of_a_life_is_one_line(
    api: Api, cloud: CloudCore, join: Join, namespace: str
) -> None:
    edge = await join(options=ALL)
    node, pods = edge.daemon.node, f"/api/v1/namespaces/{namespace}/pods"
    await api.create(pods, pod("web", node, script="while true; do sleep 1; done"))
    await api.wait(f"{pods}/web", lambda one: one is not None and is_ready(one), "it is Ready")
    await api.delete(f"{pods}/web", grace_s=0)

    def edge_says(text: str) -> list[dict[str, Any]]:
        return [one for one in said(edge.daemon.log) if one["msg"] == text]

    await until(lambda: bool(edge_says("pod is gone")), "the pod is gone")
    await edge.daemon.restart()

    def cloud_says(text: str) -> list[dict[str, Any]]:
        return [one for one in said(cloud.log) if one["msg"] == text and one.get("node") == node]

    await until(lambda: len(cloud_says("node connected")) == 2, "the node is back")
    await until(lambda: len(edge_says("connected to the cloud")) == 2, "and knows so")
    (ended,) = cloud_says("node disconnected")
    assert ended["why"] == "lost"
    assert ended["connected_s"] > 0
    assert len(cloud_says("certificate issued")) == 1
    for text, times in {
        "edge-store is open": 2,
        "edgecore is ready": 2,
        "edgecore stops; what runs goes on running": 1,
        "connected to the cloud": 2,
        "pod runs": 1,
        "pod is gone": 1,
    }.items():
        assert len(edge_says(text)) == times, text
    assert len([one for one in said(cloud.log) if one["msg"] == "cloudcore is ready"]) == 1
