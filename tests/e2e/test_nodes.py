"""``cloudcore nodes`` shows who is connected and who is gone; ``cloudcore doctor`` finds all well.

Real: control plane, cloudcore and edgecores as processes with their command lines, TLS, enrolment.
Nothing is faked.
"""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from common.clock import parse_rfc3339
from deploy.devcluster.api import Api
from deploy.devcluster.daemons import CloudCore
from deploy.devcluster.ports import LOOPBACK
from deploy.devcluster.site import is_ready, running_edge

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

STAYS, LEAVES = "nodes-stays", "nodes-leaves"


async def nodes(cloud: CloudCore) -> dict[str, dict[str, Any]]:
    listed = json.loads(await cloud.command("nodes", "--output=json"))
    return {one["node"]: one for one in listed}


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    """Return when ``holds``; a node counts as connected for 40 seconds after its last beat."""
    async with asyncio.timeout(150):
        while not await holds():  # noqa: ASYNC110 - a command is asked, which tells nobody
            await asyncio.sleep(0.5)


async def test_who_is_connected_and_who_is_gone_is_told_with_when(
    api: Api, cloud: CloudCore, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        edges = {}
        for name in (STAYS, LEAVES):
            stack.push_async_callback(api.delete, f"/api/v1/nodes/{name}")
            running = running_edge(name, cloud, tmp_path / name, token=await cloud.token())
            edges[name] = await stack.enter_async_context(running)
        for name in edges:
            await api.wait(f"/api/v1/nodes/{name}", lambda n: n is not None and is_ready(n), name)

        before: dict[str, dict[str, Any]] = {}

        async def both_in_step() -> bool:
            before.update(await nodes(cloud))
            return all(before[name]["backlog"] == 0 for name in edges)

        await eventually(both_in_step)
        for name in edges:
            one = before[name]
            assert (one["ready"], one["cloudcore"]) == ("True", socket.gethostname())
            assert one["offlineSince"] is None
            assert "cloudedge" in one["version"]
            left = parse_rfc3339(one["certificateUntil"]) - parse_rfc3339(one["connectedSince"])
            assert left > timedelta(days=300)

        await require_sound(cloud)

        await edges[LEAVES].daemon.stop()

        async def one_is_gone() -> bool:
            return (await nodes(cloud))[LEAVES]["offlineSince"] is not None

        await eventually(one_is_gone)
        after = await nodes(cloud)
        assert moment(after[LEAVES]["offlineSince"]) >= moment(before[LEAVES]["connectedSince"])
        assert (after[LEAVES]["cloudcore"], after[LEAVES]["backlog"]) == (None, None)
        kept = ("cloudcore", "connectedSince", "offlineSince", "backlog")
        assert [after[STAYS][key] for key in kept] == [before[STAYS][key] for key in kept]


async def require_sound(cloud: CloudCore) -> None:
    """A doctor finds the addresses, ports and certificates of a running cloudcore in order."""
    where = (f"--websocket-port={cloud.websocket_port}", f"--https-port={cloud.https_port}")
    address = f"--advertise-address={LOOPBACK}"
    said = json.loads(await cloud.command("doctor", "--json", address, *where))
    found = {one["name"]: one["verdict"] for one in said["findings"]}
    for name in ("websocket-port", "https-port", f"certificate-of {LOOPBACK}", "node-versions"):
        assert found[name] == "OK", said


def moment(text: str) -> datetime:
    return parse_rfc3339(text)
