"""Questions of this node's modules: answered from the edge-store first, at once, or by the cloud.

What the cloud keeps fresh (ConfigMaps and Secrets while a pod names them, the Node, services) is
answered from the store when it is there. Otherwise the cloud is asked, once for all who want the
same at the same time. An answer is durable before anybody gets it; an error is never a value: it
is passed on and never stored.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from msgspec import Struct

from common.beehive.message import Message, reply
from common.beehive.message import raw as to_raw
from common.clock import Clock
from common.errors import ResourceError, StoreError, WireError
from common.names import K8S_CA_RESOURCE, ModuleName, Operation, ResourceType
from common.resource import Resource, parse_resource
from common.status import Status, StatusError, failure, not_found
from common.wire import status_of
from edgecore.edgestore.records import StoredObject
from edgecore.edgestore.store import EdgeStore
from edgecore.metamanager.decide import Outcome
from edgecore.metamanager.keeper import Keeper
from edgecore.metamanager.tokens import is_fresh, token_key, token_row

logger = logging.getLogger(__name__)

PATIENCE_S: Final = 5.0
"""How long one who asks waits. The cloud's answer may come later; it is stored for the next."""

FLIGHT_S: Final = 180.0
"""How long the cloud may take: 1 MiB needs two minutes on a link of 64 kbit/s."""

_LOCAL: Final = frozenset({ResourceType.POD})
_STORE_FIRST: Final = frozenset(
    {ResourceType.CONFIGMAP, ResourceType.SECRET, ResourceType.NODE, ResourceType.SERVICE}
)
_CLOUD_FIRST: Final = frozenset(
    {ResourceType.PERSISTENT_VOLUME, ResourceType.PERSISTENT_VOLUME_CLAIM}
)
_AWAY: Final = frozenset({429, 500, 502, 503, 504})
"""Codes that say nothing about the object: what is stored is the best answer then."""

_LOCAL_SOURCES: Final = frozenset({ModuleName.EDGE_HUB, ModuleName.META_MANAGER})

AskCloud = Callable[[Message, float], Awaitable[Message]]
"""Send a request (with a deadline in seconds) and return the answer; a failure is an answer."""


def is_from_cloud(answer: Message) -> bool:
    """Whether the cloud has given this answer, and not this node in its place."""
    return answer.route.source not in _LOCAL_SOURCES


class Answer(Struct, frozen=True):
    """The content of a reply."""

    content: msgspec.Raw
    version: str = ""
    failure: Status | None = None


class Queries:
    """Answer the queries of one node."""

    def __init__(
        self,
        store: EdgeStore,
        keeper: Keeper,
        ask_cloud: AskCloud,
        acknowledge: Callable[[Message], Awaitable[None]],
        clock: Clock,
    ) -> None:
        """Answer from ``store``; ``keeper`` writes to it.

        Args:
            store: what is known.
            keeper: the one who writes to it.
            ask_cloud: see ``AskCloud``.
            acknowledge: tells the cloud, if it wants to know, that its answer was received and, if
                it is to be, stored; does nothing about an answer that is not the cloud's.
            clock: judges whether a token is fresh.
        """
        self._store, self._keeper, self._clock = store, keeper, clock
        self._ask_cloud, self._acknowledge = ask_cloud, acknowledge
        self.count: Callable[[str], None] = _nowhere
        """Called with the code of each answer."""
        self._flights: dict[str, asyncio.Task[Answer]] = {}  # by key of the row that is wanted

    async def answer(self, request: Message, tasks: asyncio.TaskGroup) -> Message:
        """Return the reply to ``request``: the object, a list, or a Status; within ``PATIENCE_S``.

        Args:
            request: a ``query``.
            tasks: where a question to the cloud lives, which may outlast this call.
        """
        try:
            answer = await self._find(request, tasks)
        except (ResourceError, WireError) as error:
            answer = _failed(failure(400, str(error)))
        except StoreError as error:
            answer = _failed(failure(500, str(error)))
        self.count("200" if answer.failure is None else str(answer.failure.code))
        return reply(
            request, answer.content, source=ModuleName.META_MANAGER, resource_version=answer.version
        )

    async def _find(self, request: Message, tasks: asyncio.TaskGroup) -> Answer:
        if request.resource == K8S_CA_RESOURCE:
            return await self._from_cloud(request, request.resource, tasks, self._pass)
        resource = parse_resource(request.resource, edge_site=True)
        if not resource.name:
            return await self._list(resource.resource_type)
        kind = resource.resource_type
        if kind == ResourceType.SERVICE_ACCOUNT_TOKEN:
            return await self._token(request, tasks)
        if kind in _CLOUD_FIRST:
            answer = await self._from_cloud(request, request.resource, tasks, self._keep)
            return await self._or_stored(answer, request.resource)
        if kind in _LOCAL or kind in _STORE_FIRST:
            stored = await self._store.get(request.resource)
            if stored is not None:
                return _found(stored)
        if kind in _LOCAL:
            return _missing(resource)
        keep = self._keep if kind in _STORE_FIRST else self._pass
        return await self._from_cloud(request, request.resource, tasks, keep)

    async def _list(self, resource_type: str) -> Answer:
        values = [stored.value for stored in await self._store.list_type(resource_type)]
        complete = b"true" if self._store.is_complete else b"false"
        items = b",".join(values)
        return Answer(msgspec.Raw(b'{"complete":%b,"items":[%b]}' % (complete, items)))

    async def _token(self, request: Message, tasks: asyncio.TaskGroup) -> Answer:
        key = token_key(request.resource, request.data())
        stored = await self._store.get(key)
        if stored is not None and is_fresh(stored.value, self._clock.now()):
            return _found(stored)
        answer = await self._from_cloud(request, key, tasks, self._keep_token)
        return await self._or_stored(answer, key)

    async def _or_stored(self, answer: Answer, key: str) -> Answer:
        """Return ``answer``, or what is stored where the cloud could not be asked."""
        if answer.failure is None or answer.failure.code not in _AWAY:
            return answer
        stored = await self._store.get(key)
        return answer if stored is None else _found(stored)

    async def _from_cloud(
        self,
        request: Message,
        key: str,
        tasks: asyncio.TaskGroup,
        keep: Callable[[Message, Message], Awaitable[Answer]],
    ) -> Answer:
        """Return the cloud's answer, shared by all who want ``key`` at the same time."""
        flight = self._flights.get(key)
        if flight is None:
            flight = tasks.create_task(self._fly(request, key, keep), name=f"query {key}")
            self._flights[key] = flight
        done, _ = await asyncio.wait([flight], timeout=PATIENCE_S)
        if not done:
            text = f"the cloud has not answered within {PATIENCE_S:g} s"
            return _failed(failure(504, text))
        return flight.result()

    async def _fly(
        self,
        request: Message,
        key: str,
        keep: Callable[[Message, Message], Awaitable[Answer]],
    ) -> Answer:
        try:
            response = await self._ask_cloud(request, FLIGHT_S)
            answer = await self._judge(request, response, keep)
        except StoreError as error:
            # Neither given nor acknowledged: what is not durable is not known.
            logger.warning("answer cannot be stored", extra={"key": key, "error": str(error)})
            return _failed(failure(500, str(error)))
        finally:
            del self._flights[key]
        await self._acknowledge(response)
        return answer

    async def _judge(
        self,
        request: Message,
        response: Message,
        keep: Callable[[Message, Message], Awaitable[Answer]],
    ) -> Answer:
        """Return the answer that ``response`` gives, after ``keep`` unless it is a failure."""
        try:
            status = status_of(response.content)
            if status is not None:
                return Answer(response.content, failure=status)
            if response.operation is Operation.ERROR:
                return _failed(failure(500, "the cloud answered with an error"))
            return await keep(request, response)
        except WireError as error:
            fields = {"resource": request.resource, "error": str(error)}
            logger.warning("unusable answer", extra=fields)
            return _failed(failure(500, f"unusable answer of the cloud: {error}"))

    async def _keep(self, request: Message, response: Message) -> Answer:
        """Store an object; the answer is what is stored afterwards, which may be newer."""
        outcome = await self._keeper.keep_answer(response.about(request.resource))
        if outcome is Outcome.INVALID:
            raise WireError("not an object with metadata")
        stored = await self._store.get(request.resource)
        if stored is None:  # it was deleted in the meantime
            return _missing(parse_resource(request.resource, edge_site=True))
        return _found(stored)

    async def _keep_token(self, request: Message, response: Message) -> Answer:
        row = token_row(request.resource, request.data(), response.data())
        await self._keeper.put(row)
        return _found(row)

    async def _pass(self, _request: Message, response: Message) -> Answer:
        return Answer(response.content, response.header.resourceversion)


def _found(stored: StoredObject) -> Answer:
    return Answer(msgspec.Raw(stored.value), str(stored.version) if stored.version else "")


def _missing(resource: Resource) -> Answer:
    return _failed(not_found(resource.resource_type, resource.name))


def _failed(status: Status) -> Answer:
    return Answer(to_raw(StatusError(status)), failure=status)


def _nowhere(_code: str) -> None:
    pass
