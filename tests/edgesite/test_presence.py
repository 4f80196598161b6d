"""How an EdgeSite comes to be connected, on a real bus; controller and MetaManager are the test."""

import asyncio
import logging

import pytest

from common.capabilities import Capability
from common.names import LINK_RESOURCE, GroupName, Operation, PeerProtocol
from edgecore.edgehub.link import LinkLostError
from edgesite.presence import SILENT_S
from tests.edgesite.site import NODE, Bench, content_of, request, told

POD = {"kind": "Pod", "metadata": {"namespace": "default", "name": "web", "uid": "p1"}}
QUERY = request(Operation.QUERY, "default/configmap/greeting")


async def test_both_sides_hear_of_the_connection_in_the_words_of_the_hubs() -> None:
    bench = Bench()
    bench.may_connect.set()
    async with asyncio.TaskGroup() as tasks:
        staying = tasks.create_task(bench.presence.run())
        hello, state = await bench.at_controller(), await bench.at_edge()
        staying.cancel()
    capabilities = sorted({Capability.ACKS, Capability.BEATS, Capability.DIGEST})
    said = {"protocol": PeerProtocol.CLOUDEDGE_V1, "capabilities": capabilities}
    assert (hello.operation, hello.resource) == (Operation.CONNECTED, f"node/{NODE}")
    assert content_of(hello) == said
    assert (state.resource, state.route.group) == (LINK_RESOURCE, GroupName.META)
    assert content_of(state) == {"state": "cloud_connected", **said}


async def test_it_tells_how_it_stands_as_the_hub_of_an_edge_does() -> None:
    bench = Bench()
    assert bench.presence.tell()["connected"] is False
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(bench.presence.run())
        await asyncio.sleep(0)
        assert bench.presence.tell()["failure"] == "the API server has told nothing yet"
        waiting.cancel()
    async with bench.connected():
        await bench.link.up(QUERY)
        told = bench.presence.tell()
        assert (told["connected"], told["waiting"]) == (True, 1)
        assert (bench.link.waiting(), bench.presence.offline_s()) == (1, 0.0)


async def test_to_those_who_ask_a_silent_api_server_is_away() -> None:
    bench = Bench()
    async with bench.connected():
        bench.silence_s = SILENT_S
        told = bench.presence.tell()
        assert (told["connected"], told["failure"]) == (False, "the API server does not answer")
        assert bench.presence.offline_s() == SILENT_S


async def test_a_node_that_another_cloudcore_serves_goes_on_alone_and_comes_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench()
    async with bench.connected() as connection:
        other = {"connection": "an older one"}
        await bench.link.down(told(Operation.DISCONNECTED, f"node/{NODE}", other))
        assert bench.link.connection == connection
        await bench.link.down(told(Operation.INSERT, "default/pod/web", POD))
        await bench.at_edge()
        own = {"connection": connection}
        await bench.link.down(told(Operation.DISCONNECTED, f"node/{NODE}", own))
        assert content_of(await bench.at_edge()) == {"state": "cloud_disconnected"}
        assert (await bench.at_controller()).msg_id not in ("", connection)
        assert (await bench.at_edge()).operation is Operation.CONNECT
        assert bench.link.backlog(NODE) == 0
    assert "give this site a name of its own" in str([vars(one) for one in caplog.records])
    assert bench.edge.connection_failures.value_of("replaced") == 1
    assert bench.edge.connections.value == 2
    assert bench.cloud.dropped.value_of("disconnected") == 1


async def test_who_is_not_admitted_asks_again_and_says_why_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    bench = Bench()
    bench.refusals = [LinkLostError("another_cluster", "not ours") for _ in range(2)]
    async with bench.connected():
        assert bench.link.connected.is_set()
    assert bench.edge.connection_failures.value_of("another_cluster") == 2
    assert len(caplog.records) == 1
    assert vars(caplog.records[0])["error"] == "not ours"
