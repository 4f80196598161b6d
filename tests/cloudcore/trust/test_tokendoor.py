"""The door for who shows a token. Real: tokens, and the records on the API server."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from cloudcore.kube import kinds
from cloudcore.kube.client import KubeClient
from cloudcore.metrics import CloudMetrics
from cloudcore.trust import tokenrecord, tokens
from cloudcore.trust.keptsecrets import NAMESPACE
from cloudcore.trust.tokendoor import Ticket, TokenDoor
from cloudcore.trust.tokenrecord import Asker, Kept, TokenRecord, Use
from cloudcore.trust.tokenrecords import TokenRecords
from cloudcore.trust.tokens import TokenError
from common import issuing
from common.errors import RemoteError
from common.names import NodeID
from deploy.devcluster.controlplane import ControlPlane
from tests.cloudcore.cluster import unique

NOW = datetime.now(UTC).replace(microsecond=0)
LATER = NOW + timedelta(hours=1)
AUTHORITY = issuing.new_authority(NOW)
STORE = Asker(NodeID("store-1"), "its key")
OTHER = Asker(NodeID("store-2"), "another key")
PLAIN = "cloudcore_plain_token_enrolments_total"


class Doors:
    """What cloudcores have that share their records."""

    def __init__(self, client: KubeClient) -> None:
        self.client, self.records = client, TokenRecords(client)
        self.registry = CollectorRegistry()
        self._metrics = CloudMetrics(self.registry)

    def door(self, *, plain_tokens: bool = True) -> TokenDoor:
        return TokenDoor(
            self.records,
            lambda: (AUTHORITY,),
            self._metrics,
            lambda: NOW,
            plain_tokens=plain_tokens,
        )

    async def token(self, *, node: str = "", single_use: bool = False) -> str:
        """The JWT of a new token."""
        name = unique("t")
        jwt = tokens.new_named_token(AUTHORITY, LATER, name, "id").partition(".")[2]
        record = TokenRecord(
            digest=tokenrecord.digest_of(jwt), expires=LATER, node=node, single_use=single_use
        )
        await self.records.create(name, record)
        return jwt

    async def enrol(self, jwt: str, asker: Asker) -> Ticket:
        """Do what a request does, on a cloudcore of its own."""
        door = self.door()
        ticket = await door.find(door.look_at(jwt, asker.node), asker)
        await door.use(ticket)
        return ticket

    async def record(self, jwt: str) -> Kept:
        kept = await self.records.find(name_of(jwt))
        assert kept is not None
        return kept


def name_of(jwt: str) -> str:
    name = tokens.check_token(AUTHORITY, jwt, NOW).name
    assert name is not None
    return name


def plain(node: str = "") -> str:
    return tokens.new_token(AUTHORITY, NOW, node=node).partition(".")[2]


@pytest.fixture
async def doors(client: KubeClient) -> Doors:
    namespace = {"metadata": {"name": NAMESPACE}}
    with suppress(RemoteError):  # it is there
        await client.create(kinds.NAMESPACES.path(), msgspec.json.encode(namespace))
    return Doors(client)


@pytest.mark.e2e
async def test_a_token_for_many_lets_in_many_and_tells_the_first(doors: Doors) -> None:
    jwt = await doors.token(node="store-*")
    for asker in (STORE, OTHER, STORE):
        assert not (await doors.enrol(jwt, asker)).is_bound
    assert (await doors.record(jwt)).record.used == Use("store-1", NOW, "its key")
    with pytest.raises(TokenError, match=r"bound to store-\*, not shop"):
        await doors.enrol(jwt, Asker(NodeID("shop"), "k"))


@pytest.mark.e2e
async def test_a_token_for_one_lets_in_one_and_that_again(doors: Doors) -> None:
    jwt = await doors.token(single_use=True)
    for _ in range(2):
        await doors.enrol(jwt, STORE)
    for asker in (OTHER, Asker(STORE.node, OTHER.key_hash), Asker(OTHER.node, STORE.key_hash)):
        with pytest.raises(TokenError, match="has been used"):
            await doors.enrol(jwt, asker)


@pytest.mark.e2e
async def test_a_token_of_an_exact_name_is_bound_to_that_node(doors: Doors) -> None:
    assert (await doors.enrol(await doors.token(node="store-1"), STORE)).is_bound
    assert (await doors.enrol(plain("store-1"), STORE)).is_bound
    assert not (await doors.enrol(plain(), STORE)).is_bound


@pytest.mark.e2e
async def test_of_many_that_show_a_token_for_one_at_the_same_moment_one_is_let_in(
    doors: Doors,
) -> None:
    jwt = await doors.token(single_use=True)
    door = doors.door()
    askers = [Asker(NodeID(f"n{number}"), f"key {number}") for number in range(6)]
    tickets = [await door.find(door.look_at(jwt, asker.node), asker) for asker in askers]
    let_in: list[str] = []

    async def use(ticket: Ticket) -> None:
        try:
            await doors.door().use(ticket)
        except TokenError:
            return
        let_in.append(ticket.asker.node)

    async with asyncio.TaskGroup() as group:
        for ticket in tickets:
            group.create_task(use(ticket))
    used = (await doors.record(jwt)).record.used
    assert used is not None
    assert let_in == [used.node]


@pytest.mark.e2e
async def test_who_asks_twice_at_the_same_moment_with_one_key_is_let_in_twice(
    doors: Doors,
) -> None:
    jwt = await doors.token(single_use=True)
    door = doors.door()
    tickets = [await door.find(door.look_at(jwt, STORE.node), STORE) for _ in range(2)]
    async with asyncio.TaskGroup() as group:
        for ticket in tickets:
            group.create_task(door.use(ticket))


@pytest.mark.e2e
@pytest.mark.parametrize("is_for_one", ["yes", ""])
async def test_a_token_that_is_revoked_or_deleted_meanwhile_lets_nobody_in(
    doors: Doors, is_for_one: str
) -> None:
    door = doors.door()
    for end in ("revoke", "delete"):
        jwt = await doors.token(single_use=bool(is_for_one))
        ticket = await door.find(door.look_at(jwt, STORE.node), STORE)
        if end == "revoke":
            await doors.records.revoke(name_of(jwt), NOW)
        else:
            name = tokenrecord.secret_name(name_of(jwt))
            await doors.client.delete(kinds.SECRETS.path(NAMESPACE, name))
        with pytest.raises(TokenError, match=f"{end}d"):
            await door.use(ticket)
        with pytest.raises(TokenError, match=f"{end}d"):
            await doors.enrol(jwt, STORE)


@pytest.mark.e2e
async def test_an_older_token_of_the_same_name_is_refused(doors: Doors) -> None:
    jwt = await doors.token()
    older = tokens.new_named_token(AUTHORITY, LATER, name_of(jwt), "before").partition(".")[2]
    with pytest.raises(TokenError, match="replaced"):
        await doors.enrol(older, STORE)


@pytest.mark.e2e
async def test_a_record_that_others_write_all_the_time_is_told(
    doors: Doors, control_plane: ControlPlane
) -> None:
    jwt = await doors.token()

    class Late(TokenRecords):
        async def note(self, kept: Kept, use: Use) -> bool:
            del kept, use
            return False

    async with KubeClient(control_plane.kubeconfig) as client:
        door = TokenDoor(
            Late(client),
            lambda: (AUTHORITY,),
            CloudMetrics(CollectorRegistry()),
            lambda: NOW,
            plain_tokens=True,
        )
        ticket = await door.find(door.look_at(jwt, STORE.node), STORE)
        with pytest.raises(RemoteError, match=r"409.*written by others"):
            await door.use(ticket)


@pytest.mark.e2e
async def test_a_plain_token_is_counted_and_told_in_the_log(
    doors: Doors, caplog: pytest.LogCaptureFixture
) -> None:
    jwt = plain()
    await doors.enrol(jwt, STORE)
    assert doors.registry.get_sample_value(PLAIN) == 1
    (line,) = [record for record in caplog.records if "plain token" in record.message]
    assert line.levelname == "WARNING"
    await doors.enrol(await doors.token(), STORE)
    assert doors.registry.get_sample_value(PLAIN) == 1


@pytest.mark.parametrize("node", ["", "store-1"])
async def test_where_plain_tokens_are_not_taken_the_refusal_tells_what_to_do(node: str) -> None:
    door = Doors(KubeClient(None)).door(plain_tokens=False)  # a client that is not connected
    with pytest.raises(TokenError, match=r"no plain tokens.*cloudcore token create"):
        door.look_at(plain(node), STORE.node)


async def test_a_token_is_in_no_repr_and_foreign_ones_are_refused_before_anybody_is_asked() -> None:
    door = Doors(KubeClient(None)).door()
    jwt = plain()
    shown = door.look_at(jwt, STORE.node)
    assert jwt not in repr(shown) + repr(Ticket(shown, STORE, None))
    with pytest.raises(TokenError, match="not one of this cluster"):
        door.look_at(jwt[:-4], STORE.node)
    with pytest.raises(TokenError, match="bound to store-2, not store-1"):
        door.look_at(plain("store-2"), STORE.node)
