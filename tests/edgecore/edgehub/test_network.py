"""EdgeHub in a made-up network, without sockets; MetaManager and the cloud are the test."""

import asyncio
import threading
from typing import Any

from prometheus_client import CollectorRegistry

from common import capabilities
from common.beehive.context import MessageContext
from common.beehive.message import Message, new, raw
from common.clock import Clock
from common.frames import Beat
from common.names import PROGRESS_RESOURCE, GroupName, ModuleName, Operation
from common.wire import loads
from edgecore.edgehub import link
from edgecore.edgehub.client import EdgeHub
from edgecore.edgehub.hubconfig import HubConfig
from edgecore.edgehub.network import Network
from edgecore.metrics import EdgeMetrics
from tests.edgecore.cloud import down
from tests.edgecore.edgehub.links import MadeUpCredentials, MadeUpLink, MadeUpNetwork

HUB, META = ModuleName.EDGE_HUB, ModuleName.META_MANAGER


def test_the_network_is_the_real_one_unless_it_is_said() -> None:
    assert Network().dial is link.dial


def sign(asked: Message) -> Message:
    """Return what MetaManager says where the modules do their work."""
    content = raw({"asked": asked.msg_id, "digest": None})
    return new(META, GroupName.HUB, Operation.KEEPALIVE, PROGRESS_RESOURCE, content)


async def test_a_sign_that_comes_without_a_link_is_for_nobody() -> None:
    context, registry = MessageContext(), CollectorRegistry()
    context.add_module(HUB, GroupName.HUB)
    context.add_module(META, GroupName.META)
    config, network = HubConfig("n1", "cloud", 10000), Network(MadeUpNetwork().dial)
    metrics = EdgeMetrics(registry)
    hub = EdgeHub(context, config, MadeUpCredentials(), Clock(), metrics, network)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(hub.run())
        await context.send(HUB, sign(sign(down(Operation.UPDATE, "default/pod/web", {}))))
        context.close(HUB)
        await running
    samples = [sample for family in registry.collect() for sample in family.samples]
    assert not [s for s in samples if s.name == "edgecore_messages_dropped_total"]  # no message


async def test_a_hub_lives_in_a_network_that_is_made_up() -> None:
    threads = set(threading.enumerate())
    context = MessageContext()
    context.add_module(HUB, GroupName.HUB)
    context.add_module(META, GroupName.META)
    first, second = MadeUpLink(), MadeUpLink(capabilities.NONE)
    network = MadeUpNetwork(first, second)
    drawn: list[float] = []

    def random_unit() -> float:
        drawn.append(1.0)
        return 1.0

    hub = EdgeHub(
        context,
        HubConfig("n1", "cloud", 10000),
        MadeUpCredentials(),
        Clock(),
        EdgeMetrics(CollectorRegistry()),
        Network(network.dial, random_unit),
    )
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(hub.run())
        told = loads((await context.receive(META)).content)
        assert told["capabilities"] == sorted(capabilities.ALL)
        asked = await context.receive(META)
        assert asked.resource == PROGRESS_RESOURCE
        await context.send(HUB, sign(asked))
        assert await first.heard() == Beat(1, progresses=True)
        first.cut()
        states: list[dict[str, Any]] = []
        while len(states) < 2:
            message = await context.receive(META)
            if message.resource == "node/connection":
                states.append(loads(message.content))
        await context.send(HUB, sign(asked))  # late, and on a link without beats: for nobody
        assert [state["capabilities"] for state in states] == [sorted(capabilities.ALL), []]
        context.close(HUB)
        await running
    assert len(network.headers) == 2
    assert len(drawn) == 2  # the phase of the beats, and a pause
    assert set(threading.enumerate()) <= threads  # those of other tests may have ended
