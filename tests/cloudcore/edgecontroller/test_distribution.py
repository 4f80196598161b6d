"""What is sent of a change, to whom, and what is marked.

Real: caches, locations, routing, the bus. The hub is a mailbox that the test reads.
"""

import asyncio

from msgspec.structs import replace

from cloudcore.edgecontroller.distribution import Distribution
from cloudcore.edgecontroller.epochs import Epochs
from cloudcore.kube.cache import Change, ChangeType
from cloudcore.kube.views import ObjectKey
from common.beehive.message import Message
from common.names import UID, NodeID, Operation, PeerProtocol, ResourceType
from tests.cloudcore.cluster import load
from tests.cloudcore.synccontroller.stage import NODE, Stage

OTHER = NodeID("n2")


class Scene(Stage):
    """Two nodes, each with a pod that names the ConfigMap ``conf``."""

    def __init__(self) -> None:
        super().__init__()
        self.epochs, self.synced = Epochs(), asyncio.Event()
        self.synced.set()
        self.distribution = Distribution(self.state, self.sender, self.epochs, self.synced)
        for node in (NODE, OTHER):
            self.add_node(node)
            self.connect(node)
            self.add_pod(f"on-{node}", node, configmaps=("conf",))

    def change(self, *, is_restored: bool = False) -> Change:
        key = self.add_configmap("conf", version="50")
        now = self.state.configmaps.cache.get(key)
        assert now is not None
        uid = now.view.metadata.uid
        return Change(ChangeType.MODIFIED, key, uid, now, now, is_restored=is_restored)

    async def told(self, change: Change) -> list[Message]:
        await self.distribution.tell(self.state.configmaps, change)
        return await self.sent()


def marked(messages: list[Message]) -> dict[str, bool]:
    """Whether each node was told as by a comparison."""
    return {
        one.resource.split("/")[1]: one.header.type == ResourceType.INVENTORY for one in messages
    }


async def test_all_who_need_it_share_one_content() -> None:
    scene = Scene()
    messages = await scene.told(scene.change())
    assert marked(messages) == {NODE: False, OTHER: False}
    assert messages[0].content is messages[1].content


async def test_nothing_is_sent_before_the_caches_are_in_step() -> None:
    scene = Scene()
    scene.synced.clear()
    assert await scene.told(scene.change()) == []


async def test_what_nobody_needs_is_not_sent() -> None:
    scene = Scene()
    change = replace(scene.change(), key=ObjectKey("ns", "another"))
    assert await scene.told(change) == []


async def test_a_node_that_has_versions_of_another_history_is_told_as_by_a_comparison() -> None:
    scene = Scene()
    scene.epochs.note(OTHER, 50)
    messages = await scene.told(scene.change())
    assert marked(messages) == {NODE: False, OTHER: True}


async def test_what_counts_anew_is_told_to_all_as_by_a_comparison() -> None:
    scene = Scene()
    messages = await scene.told(scene.change(is_restored=True))
    assert marked(messages) == {NODE: True, OTHER: True}


async def test_of_what_was_not_kept_its_end_is_told_by_a_skeleton() -> None:
    scene = Scene()
    change = replace(scene.change(), type=ChangeType.DELETED, now=None, before=None)
    messages = await scene.told(change)
    assert [one.operation for one in messages] == [Operation.DELETE] * 2
    assert load(messages[0].content)["metadata"] == {
        "name": "conf",
        "namespace": "ns",
        "uid": change.uid,
    }
    assert messages[0].header.resourceversion == ""


async def test_kubeedges_edges_are_told_of_no_services() -> None:
    scene = Scene()
    scene.connect(OTHER, protocol=PeerProtocol.KUBEEDGE)
    services, key = scene.state.services, ObjectKey("ns", "front")
    now = scene.put(services, key, "uid-front")
    scene.state.locations.set_service(key, UID("uid-front"))
    await scene.distribution.tell(
        services, Change(ChangeType.ADDED, key, UID("uid-front"), now, None)
    )
    assert marked(await scene.sent()) == {NODE: False}


async def test_only_who_is_connected_hears_that_a_node_without_the_label_is_gone() -> None:
    scene = Scene()
    for node in (NODE, NodeID("elsewhere")):
        await scene.distribution.tell_of_end(scene.state.nodes, node, UID("uid"))
    messages = await scene.sent()
    assert [(one.operation, one.resource) for one in messages] == [
        (Operation.DELETE, f"node/{NODE}/null/node/{NODE}")
    ]
