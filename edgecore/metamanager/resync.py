"""Getting in step with a cloud that speaks our protocol: say what is here, be sent the difference.

After connecting, and whenever the cloud asks. A cloud that knows digests is given one first, which
is all there is to say where nothing has changed.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from common import capabilities
from common.beehive.message import Message, new, raw
from common.capabilities import Capabilities, Capability
from common.delivery.backoff import Backoff, BackoffPolicy
from common.errors import StoreError, WireError
from common.names import CLUSTER_SCOPE, GroupName, ModuleName, Operation, ResourceType
from common.resource import build_resource
from common.wire import loads_as, status_of
from edgecore.edgestore.store import EdgeStore
from edgecore.metamanager import inventory
from edgecore.metamanager.query import AskCloud

logger = logging.getLogger(__name__)

INVENTORY_S: Final = 60.0
"""How long the cloud may take to compare: it answers only when its caches are in step."""

_RETRY: Final = BackoffPolicy(first_s=1.0, cap_s=30.0)


class Difference(msgspec.Struct, frozen=True):
    """Answer to an inventory: how many objects the cloud sends, and how many it takes back."""

    updated: int = 0
    deleted: int = 0
    differs: bool = False
    """The cloud has something else, and wants to be told what is here."""


class Resync:
    """Says what one edge holds, on each of its connections."""

    def __init__(
        self,
        store: EdgeStore,
        node_name: str,
        ask_cloud: AskCloud,
        acknowledge: Callable[[Message], Awaitable[None]],
        random_unit: Callable[[], float] = random.random,
    ) -> None:
        """Say what is in ``store``.

        Args:
            store: of this edge.
            node_name: of this edge.
            ask_cloud: sends a request and returns the answer.
            acknowledge: tells the cloud that an answer has come, where it wants to know.
            random_unit: numbers in [0, 1) for the pauses.
        """
        self._store, self._ask_cloud, self._acknowledge = store, ask_cloud, acknowledge
        self._random_unit = random_unit
        self._resource = build_resource(
            "", CLUSTER_SCOPE, ResourceType.INVENTORY, node_name, edge_site=True
        )
        self._connection = 0  # counts, so that a task knows its own
        self._capabilities: Capabilities | None = None  # None: nobody there who can be asked
        self._busy_for = 0  # the connection whose task runs
        self._is_list_wanted = False
        self.told: Callable[[], None] = _nothing
        """Called when the cloud has said that this edge is in step."""

    def connected(self, agreed: Capabilities, tasks: asyncio.TaskGroup) -> None:
        """Get in step over a new connection, in a task of ``tasks``."""
        self._connection += 1
        self._capabilities, self._is_list_wanted = agreed, False
        self._start(tasks)

    def disconnected(self) -> None:
        """Stop: the connection is gone, or the new one is to a cloud of another kind."""
        self._connection += 1
        self._capabilities = None

    def asked(self, tasks: asyncio.TaskGroup) -> None:
        """Tell the cloud, which has asked for it, every object that is here."""
        if self._capabilities is None or Capability.DIGEST not in self._capabilities:
            logger.warning("an inventory is asked for by a cloud that did not agree on that")
            return
        self._is_list_wanted = True
        if self._busy_for != self._connection:
            self._start(tasks)

    def _start(self, tasks: asyncio.TaskGroup) -> None:
        self._busy_for = self._connection
        tasks.create_task(self._run(self._connection), name="inventory")

    async def _run(self, connection: int) -> None:
        """Say what is here until it is in step, or the connection is another one.

        Where it is not known that the store lacks nothing, it is asked again until there was no
        difference: what an answer announces may still be on its way.
        """
        backoff = Backoff(_RETRY, self._random_unit)
        while connection == self._connection:
            if not await self._compare(connection):
                await asyncio.sleep(backoff.next_s())
            elif not self._is_list_wanted:
                break
        if self._busy_for == connection:
            self._busy_for = 0

    async def _compare(self, connection: int) -> bool:
        """Ask the cloud for the difference; return whether that is enough."""
        agreed = self._capabilities or capabilities.NONE
        if Capability.DIGEST not in agreed:
            difference = await self._ask(inventory.plain(self._store.index))
            return difference is not None and await self._note(difference)
        if not self._is_list_wanted:
            difference = await self._ask(inventory.brief(self._store.index))
            if difference is None or not difference.differs:
                return difference is not None and await self._note(difference)
            if connection != self._connection:
                return False
        self._is_list_wanted = False
        difference = await self._ask(inventory.full(self._store.index))
        if difference is None:
            self._is_list_wanted = connection == self._connection
            return False
        return await self._note(difference)

    async def _ask(self, held: dict[str, Any]) -> Difference | None:
        """Return the cloud's answer to an inventory; None where there is none."""
        source, group = ModuleName.META_MANAGER, GroupName.META
        request = new(source, group, Operation.QUERY, self._resource, raw(held))
        answer = await self._ask_cloud(request, INVENTORY_S)
        status = status_of(answer.content)
        if status is not None:
            logger.warning("the inventory was not answered", extra={"status": status.message})
            return None
        await self._acknowledge(answer)
        try:
            return loads_as(answer.content, Difference)
        except WireError as error:
            logger.warning("the inventory came to nothing", extra={"error": str(error)})
            return None

    async def _note(self, difference: Difference) -> bool:
        """Note what the cloud says; return whether that is enough."""
        if difference.differs:
            return False
        if not self._store.is_complete:
            if difference != Difference():
                return False
            try:
                await self._store.confirm_complete()
            except StoreError as error:
                logger.warning("the inventory came to nothing", extra={"error": str(error)})
                return False
        self.told()
        logger.info(
            "in step with the cloud",
            extra={"updated": difference.updated, "deleted": difference.deleted},
        )
        return True


def _nothing() -> None:
    """Nobody wants to know."""
