"""What an EdgeSite knows of its API server. Client and store are made up."""

import asyncio
import json
from typing import cast

import pytest

from cloudcore.kube.client import KubeClient
from cloudcore.kube.figures import RequestFigures
from common.errors import RemoteError
from common.metrics import Figures
from common.status import failure
from edgecore.edgehub.link import LinkLostError
from edgecore.edgehub.pin import Membership
from edgesite.server import ApiServer


class Client:
    """Has a namespace kube-system, or cannot be asked."""

    is_away = False

    async def find(self, path: str) -> bytes | None:
        assert path == "/api/v1/namespaces/kube-system"
        if self.is_away:
            raise RemoteError(failure(503, "away"))
        metadata = {"name": "kube-system", "uid": "u1", "resourceVersion": "1"}
        return json.dumps({"metadata": metadata}).encode()


class Memory:
    """Keeps one cluster."""

    def __init__(self, cluster: str | None) -> None:
        self.cluster = cluster

    async def state(self, key: str) -> str | None:
        return self.cluster if key == "cluster" else None

    async def set_state(self, key: str, value: str) -> None:
        assert key == "cluster"
        self.cluster = value


class Stage:
    """An API server of cluster ``u1``, and a store of ``cluster``."""

    def __init__(self, cluster: str | None = None) -> None:
        self.client, self.memory = Client(), Memory(cluster)
        self.asked, self.synced, self.now_s = RequestFigures(Figures()), asyncio.Event(), 100.0
        self.server = ApiServer(
            cast("KubeClient", self.client),
            self.asked,
            Membership(self.memory),
            lambda: self.synced,
            lambda: self.now_s,
        )


async def test_nothing_is_listened_to_before_the_caches_are_in_step() -> None:
    stage = Stage()
    async with asyncio.TaskGroup() as tasks:
        admitting = tasks.create_task(stage.server.admit())
        await asyncio.sleep(0)
        assert not admitting.done()
        stage.synced.set()
    assert stage.memory.cluster == "u1"


async def test_another_cluster_is_not_listened_to() -> None:
    stage = Stage("u2")
    stage.synced.set()
    with pytest.raises(LinkLostError, match="--accept-cluster u1"):
        await stage.server.admit()


async def test_nor_is_one_that_cannot_say_which_it_is() -> None:
    stage = Stage()
    stage.synced.set()
    stage.client.is_away = True
    with pytest.raises(LinkLostError) as caught:
        await stage.server.admit()
    assert caught.value.reason == "api_server"


async def test_it_is_silent_from_its_last_answer_on() -> None:
    stage = Stage()
    assert stage.server.silence_s() == 0.0
    stage.asked.made("GET", 200, 98.0, 99.0)
    stage.asked.made("GET", 503, 99.0, 99.5)
    assert stage.server.silence_s() == 1.0
    assert stage.server.tell() == "answered 1 s ago"


async def test_what_the_caches_lack_comes_first() -> None:
    stage = Stage()
    stage.server.caches.set_condition("caches", "no list yet")
    assert stage.server.tell() == "caches: no list yet"
