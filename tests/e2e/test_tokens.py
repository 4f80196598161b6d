"""Tokens: for one enrolment, expired, revoked, of a pattern, plain; on several cloudcores.

Real: control plane, cloudcores and edgecores as processes, TLS, the commands. What races is the
enrolment itself, asked for as edgecore does.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from common import pki, subjects
from common.names import NodeID
from deploy.devcluster.api import Api
from deploy.devcluster.controlplane import ControlPlane
from deploy.devcluster.daemons import CloudCore
from deploy.devcluster.ports import LOOPBACK
from deploy.devcluster.site import is_ready, name_of, running_edge, until

SECRETS = "/api/v1/namespaces/kubeedge/secrets"
HOLLOW = ("--runtime=hollow",)
PLAIN = "cloudcore_plain_token_enrolments_total"
pytestmark = pytest.mark.timeout(180)

ROUNDS, MACHINES = 3, 8


@dataclass(frozen=True, slots=True)
class Machine:
    """One that enrols, with a key of its own."""

    node: str
    csr: bytes

    async def enrol(self, cloud: CloudCore, token: str) -> tuple[int, str]:
        """Return the status of the answer, and its words."""
        url = f"https://{LOOPBACK}:{cloud.https_port}/edge.crt"
        headers = {"NodeName": self.node, "Authorization": f"Bearer {token.partition('.')[2]}"}
        async with (
            aiohttp.ClientSession() as session,
            session.get(url, ssl=False, headers=headers, data=self.csr) as response,
        ):
            return response.status, (await response.read()).decode(errors="replace")


def machine(node: str) -> Machine:
    return Machine(node, subjects.new_csr(pki.new_key(), NodeID(node)))


@pytest.fixture
async def clouds(control_plane: ControlPlane, tmp_path: Path) -> AsyncIterator[list[CloudCore]]:
    """Two cloudcores of one cluster."""
    made = [CloudCore(control_plane, tmp_path / f"cloudcore-{number}") for number in range(2)]
    async with AsyncExitStack() as stack:
        for one in made:
            stack.push_async_callback(one.stop)
            await one.start()
        yield made


async def listed(cloud: CloudCore, name: str) -> dict[str, Any]:
    items = json.loads(await cloud.command("token", "list", "--output=json"))
    (found,) = [one for one in items if one["name"] == name]
    assert isinstance(found, dict)
    return found


async def expire(api: Api, name: str, ago: timedelta) -> None:
    """Have the record say that the token has expired a while ago."""
    path = f"{SECRETS}/edgetoken.{name}"
    secret = await api.get(path)
    assert secret is not None
    record = json.loads(base64.b64decode(secret["data"]["record"]))
    record["expires"] = (datetime.now(UTC) - ago).isoformat()
    encoded = base64.b64encode(json.dumps(record).encode()).decode()
    await api.patch(path, {"data": {"record": encoded}})


async def test_of_many_machines_on_two_cloudcores_a_token_for_one_enrols_one(
    clouds: list[CloudCore],
) -> None:
    for number in range(ROUNDS):
        name = f"race-{number}"
        token = await clouds[0].token("", "--single-use", f"--name={name}")
        machines = [machine(f"race-{number}-{one}") for one in range(MACHINES)]
        async with asyncio.TaskGroup() as group:
            tries = [
                group.create_task(one.enrol(clouds[at % 2], token))
                for at, one in enumerate(machines)
            ]
        answers = {one.node: attempt.result() for one, attempt in zip(machines, tries, strict=True)}
        (winner,) = [one for one in machines if answers[one.node][0] == HTTPStatus.OK]
        del answers[winner.node]
        assert {status for status, _ in answers.values()} == {HTTPStatus.UNAUTHORIZED}
        assert all("has been used" in text for _, text in answers.values())
        for cloud in clouds:  # the answer may have got lost
            assert (await winner.enrol(cloud, token))[0] == HTTPStatus.OK
            assert (await machine(winner.node).enrol(cloud, token))[0] == HTTPStatus.UNAUTHORIZED
        used = await listed(clouds[1], name)
        assert (used["state"], used["used"]["node"]) == ("used", winner.node)


async def test_an_edge_joins_by_a_token_for_one_and_the_next_one_is_told_why_not(
    api: Api, cloud: CloudCore, tmp_path: Path
) -> None:
    token = await cloud.token("shop-*", "--single-use", "--name=for-one")
    node = "shop-1"
    async with running_edge(node, cloud, tmp_path / node, token=token, options=HOLLOW):
        await api.wait(
            f"/api/v1/nodes/{node}", lambda n: n is not None and is_ready(n), f"{node} is Ready"
        )
        async with running_edge(
            "shop-2", cloud, tmp_path / "2", token=token, options=HOLLOW
        ) as edge:
            why = "the token for-one was good for one enrolment and has been used"
            await until(lambda: why in edge.daemon.log.read_text(), "the log tells why")
    await api.delete(f"/api/v1/nodes/{node}")
    assert "for-one" in await cloud.command("token", "list")


async def test_a_token_that_is_revoked_or_expired_or_for_others_enrols_nobody(
    api: Api, clouds: list[CloudCore]
) -> None:
    first, second = clouds
    token = await first.token("bad-?", "--name=bad")
    assert (await machine("bad-1").enrol(second, token))[0] == HTTPStatus.OK
    status, text = await machine("bad-10").enrol(second, token)
    assert (status, "bound to bad-?, not bad-10" in text) == (401, True)
    await first.command("token", "revoke", "bad")
    for cloud in clouds:
        status, text = await machine("bad-2").enrol(cloud, token)
        assert (status, "the token bad was revoked" in text) == (401, True)
    assert (await listed(second, "bad"))["state"] == "revoked"

    token = await first.token("", "--name=old")
    await expire(api, "old", timedelta(seconds=1))
    status, text = await machine("bad-3").enrol(second, token)
    assert (status, "expired" in text) == (401, True)
    assert (await listed(second, "old"))["state"] == "expired"


async def test_only_a_hash_of_a_token_is_stored_and_it_is_in_no_log(
    api: Api, cloud: CloudCore
) -> None:
    token = await cloud.token("", "--name=hashed")
    assert (await machine("hashed-1").enrol(cloud, token))[0] == HTTPStatus.OK
    signature = token.rpartition(".")[2]
    stored = await api.items(SECRETS)
    assert "edgetoken.hashed" in map(name_of, stored)
    for secret in stored:
        contents = [base64.b64decode(value) for value in secret.get("data", {}).values()]
        assert not any(signature.encode() in content for content in contents)
    assert signature not in json.dumps(stored) + cloud.log.read_text()


async def test_plain_tokens_are_taken_with_a_warning_unless_they_are_turned_off(
    api: Api, cloud: CloudCore, control_plane: ControlPlane, tmp_path: Path
) -> None:
    secret = await api.wait(
        f"{SECRETS}/tokensecret", lambda s: s is not None, "cloudcore has made KubeEdge's token"
    )
    assert secret is not None
    token = base64.b64decode(secret["data"]["tokendata"]).decode()
    assert (await machine("plain-1").enrol(cloud, token))[0] == HTTPStatus.OK
    assert await cloud.metric(PLAIN) == 1
    assert "a node enrols by a plain token" in cloud.log.read_text()
    strict = CloudCore(control_plane, tmp_path / "strict", options=("--no-plain-tokens",))
    await strict.start()
    try:
        status, text = await machine("plain-2").enrol(strict, token)
        assert (status, "takes no plain tokens" in text) == (401, True)
        named = await strict.token()
        assert (await machine("plain-2").enrol(strict, named))[0] == HTTPStatus.OK
        assert await strict.metric(PLAIN) == 0
    finally:
        await strict.stop()


async def test_a_record_is_cleared_away_some_time_after_its_token_has_expired(
    api: Api, cloud: CloudCore
) -> None:
    await cloud.token("", "--name=ancient")
    await cloud.token("", "--name=recent")
    await expire(api, "ancient", timedelta(days=8))
    await expire(api, "recent", timedelta(days=6))
    await cloud.restart()  # it looks at once, and then every six hours
    await api.wait(f"{SECRETS}/edgetoken.ancient", lambda s: s is None, "the record is gone")
    assert await api.get(f"{SECRETS}/edgetoken.recent") is not None
