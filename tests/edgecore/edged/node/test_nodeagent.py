"""The Node's agent: a real bus and a hollow runtime; machine and clock are made up."""

import asyncio
import json
from typing import Any

from msgspec.structs import replace

from common.errors import RuntimeServiceError
from common.status import failure
from edgecore.edged.node.facts import Amount, NodeFacts, Readings
from edgecore.edged.node.lease import Lease
from edgecore.edged.node.node import NodeProfile
from edgecore.edged.node.nodeagent import Machine, NodeAgent
from edgecore.edged.runtime.base import RuntimeVersion
from edgecore.edged.runtime.hollow import HollowRuntime
from tests.edgecore.edged.bus import Bus, bus
from tests.edgecore.edged.fakeimages import FakeImages

FACTS = NodeFacts(2, 8 * 2**30, 100 * 2**30, "amd64", "6.1", "Debian", "m", "s", "b")
HALF = Amount(50, 100)
WELL = Readings(Amount(4 * 2**30, 8 * 2**30), HALF, HALF, HALF)


class BrokenRuntime(HollowRuntime):
    broken = True

    async def version(self) -> RuntimeVersion:
        if self.broken:
            raise RuntimeServiceError("Down", "connection refused")
        return await super().version()


class Agent:
    """The agent, and what it is made with."""

    def __init__(self, b: Bus, runtime: HollowRuntime | None = None) -> None:
        self.readings = WELL
        self.lease = Lease(b.tasks, b.requests, b.link, b.clock, "n1", 10.0)
        self.agent = NodeAgent(
            b.tasks,
            b.requests,
            b.link,
            b.clock,
            runtime or HollowRuntime(),
            machine=Machine(FACTS, lambda: self.readings),
            profile=NodeProfile("n1", "192.0.2.7", 110),
            lease=self.lease,
            look_s=10.0,
            report_s=300.0,
        )

    async def look(self) -> None:
        self.agent.wake()
        await self.settle()

    async def settle(self) -> None:
        while self.agent._agent._task is not None:
            await self.agent._agent._task


def asked(b: Bus) -> list[tuple[str, str]]:
    return [(r.operation.value, r.resource.split("/")[1]) for r in b.world.requests]


def condition(b: Bus, kind: str) -> dict[str, Any]:
    node = b.world.objects["null/node/n1"]
    found: dict[str, Any] = next(c for c in node["status"]["conditions"] if c["type"] == kind)
    return found


def node_info(b: Bus) -> dict[str, Any]:
    info: dict[str, Any] = b.world.objects["null/node/n1"]["status"]["nodeInfo"]
    return info


async def test_a_node_is_registered_and_then_left_alone() -> None:
    async with bus() as b:
        a = Agent(b)
        await a.look()
        await a.look()
        a.agent.close()
    assert asked(b) == [("insert", "node")]
    assert condition(b, "Ready")["status"] == "True"
    assert a.lease.node_uid == b.world.objects["null/node/n1"]["metadata"]["uid"]


class SlowRuntime(HollowRuntime):
    """Takes its time to say its version, and then fails."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.may_answer = asyncio.Event(), asyncio.Event()

    async def version(self) -> RuntimeVersion:
        self.asked.set()
        await self.may_answer.wait()
        raise RuntimeServiceError("Down", "deadline exceeded")


async def test_a_look_tells_how_long_it_lasts_until_it_ends_however_it_ends() -> None:
    async with bus() as b:
        runtime = SlowRuntime()
        a = Agent(b, runtime)
        assert a.agent.looks_for_s() == 0.0
        a.agent.wake()
        await runtime.asked.wait()
        b.clock.seconds += 25.0
        assert a.agent.looks_for_s() == 25.0
        runtime.may_answer.set()
        await a.settle()
        assert a.agent.looks_for_s() == 0.0
        a.agent.close()


async def test_one_that_is_registered_already_gets_the_status_of_now() -> None:
    async with bus() as b:
        b.world.objects["null/node/n1"] = {
            "kind": "Node",
            "metadata": {"name": "n1", "uid": "old", "resourceVersion": "5"},
            "status": {"conditions": [{"type": "Ready", "status": "Unknown"}]},
        }
        a = Agent(b)
        await a.look()
        a.agent.close()
    assert asked(b) == [("insert", "node"), ("query", "node"), ("patch", "nodepatch")]
    assert condition(b, "Ready")["reason"] == "EdgeReady"
    assert a.lease.node_uid == "old"


async def test_the_status_is_sent_when_it_changes_and_every_five_minutes() -> None:
    async with bus() as b:
        a = Agent(b)
        await a.look()
        a.readings = replace(WELL, disk=Amount(1, 100))
        await a.look()
        assert condition(b, "DiskPressure")["status"] == "True"
        b.clock.seconds += 299
        await a.look()
        assert len(asked(b)) == 2
        b.clock.seconds += 1
        await a.look()
        a.agent.close()
    assert asked(b) == [("insert", "node"), ("patch", "nodepatch"), ("patch", "nodepatch")]


async def test_what_the_node_controller_wrote_is_set_right_as_soon_as_it_is_pushed() -> None:
    async with bus() as b:
        a = Agent(b)
        await a.look()
        flipped = json.loads(json.dumps(b.world.objects["null/node/n1"]))
        flipped["status"]["conditions"][3] |= {"status": "Unknown", "reason": "NodeStatusUnknown"}
        b.world.objects["null/node/n1"] = b.world._versioned(flipped)
        a.agent.pushed(b.world.objects["null/node/n1"])
        await a.settle()
        a.agent.close()
    assert condition(b, "Ready")["status"] == "True"


async def test_everything_is_said_again_on_a_new_connection() -> None:
    async with bus() as b:
        a = Agent(b)
        await a.look()
        a.agent.restate()
        await a.settle()
        a.agent.close()
    assert asked(b) == [("insert", "node"), ("patch", "nodepatch")]


async def test_a_deleted_node_is_registered_again_as_another_one() -> None:
    async with bus() as b:
        a = Agent(b)
        await a.look()
        first = a.lease.node_uid
        del b.world.objects["null/node/n1"]
        a.agent.vanished()
        await a.settle()
        second = a.lease.node_uid
        assert second not in {first, ""}
        del b.world.objects["null/node/n1"]  # and without a message: the patch finds out
        a.agent.restate()
        await a.settle()
        a.agent.close()
    assert a.lease.node_uid not in {second, ""}


async def test_a_runtime_that_is_away_makes_the_node_not_ready() -> None:
    async with bus() as b:
        runtime = BrokenRuntime()
        a = Agent(b, runtime)
        await a.look()
        assert condition(b, "Ready")["message"] == "container runtime is down: connection refused"
        runtime.broken = False
        await a.look()
        a.agent.close()
    assert condition(b, "Ready")["status"] == "True"


async def test_the_version_is_unknown_until_the_runtime_answers() -> None:
    async with bus() as b:
        runtime = BrokenRuntime()
        a = Agent(b, runtime)
        await a.look()
        assert node_info(b)["containerRuntimeVersion"] == "unknown"
        runtime.broken = False
        await a.look()
        assert node_info(b)["containerRuntimeVersion"] == str(await runtime.version())
        runtime.broken = True
        await a.look()
        a.agent.close()
    assert node_info(b)["containerRuntimeVersion"].startswith("hollow://")


async def test_images_are_looked_at_once_a_minute() -> None:
    async with bus() as b:
        runtime, images = HollowRuntime(), FakeImages()
        runtime.images = images
        images.add("docker.io/library/app:1", 7)
        a = Agent(b, runtime)
        await a.look()
        listed = b.world.objects["null/node/n1"]["status"]["images"]
        assert listed == [{"names": ["docker.io/library/app:1"], "sizeBytes": 7}]
        images.add("docker.io/library/app:2", 9)
        b.clock.seconds += 59
        await a.look()
        assert b.world.objects["null/node/n1"]["status"]["images"] == listed
        b.clock.seconds += 1
        await a.look()
        a.agent.close()
    assert [i["sizeBytes"] for i in b.world.objects["null/node/n1"]["status"]["images"]] == [9, 7]


async def test_a_pressure_stays_for_five_minutes_after_its_end() -> None:
    async with bus() as b:
        a = Agent(b)
        a.readings = replace(WELL, memory=Amount(50 * 2**20, 8 * 2**30))
        await a.look()
        a.readings = WELL
        b.clock.seconds += 299
        await a.look()
        assert condition(b, "MemoryPressure")["status"] == "True"
        b.clock.seconds += 1
        await a.look()
        a.agent.close()
    assert condition(b, "MemoryPressure")["status"] == "False"


async def test_a_server_that_is_away_is_asked_again_later() -> None:
    async with bus() as b:
        b.world.refuse = lambda _: failure(503, "away")
        a = Agent(b)
        await a.look()
        assert a.agent._agent._timer is not None
        b.world.refuse = lambda _: None
        await a.look()
        a.agent.close()
    assert "null/node/n1" in b.world.objects


async def test_without_a_link_nothing_is_asked() -> None:
    async with bus(connected=False) as b:
        a = Agent(b)
        await a.look()
        assert a.agent._agent._timer is None
    assert b.world.requests == []


async def test_pods_learn_of_the_node_without_a_cloud() -> None:
    async with bus(connected=False) as b:
        view = Agent(b).agent.view
    assert (view.name, view.ip, view.allocatable["cpu"]) == ("n1", "192.0.2.7", "2")
