"""A request of a node, what a handler has to serve it, and what it answers."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Final, Protocol

import msgspec
from msgspec import Struct, field

from cloudcore.edgecontroller.reader import ObjectReader
from cloudcore.edgecontroller.routing import Delivery
from cloudcore.edgecontroller.state import ClusterState
from cloudcore.kube.client import KubeClient
from cloudcore.kube.views import ObjectKey
from common import wire
from common.beehive.message import OK, Message
from common.clock import Clock
from common.errors import RemoteError, WireError
from common.names import CLUSTER_SCOPE, NodeID
from common.resource import Resource
from common.status import failure

MAX_CONTENT_BYTES: Final = 4 * 1024 * 1024
"""The API server takes 3 MiB. To make values of 32 MiB of brackets takes seconds, in which nobody
is served."""


class Call(Struct, frozen=True):
    """One message of one node."""

    node: NodeID
    resource: Resource
    message: Message

    @property
    def key(self) -> ObjectKey:
        """Which object it is about."""
        namespace = self.resource.namespace
        return ObjectKey("" if namespace == CLUSTER_SCOPE else namespace, self.resource.name)

    def data(self) -> bytes:
        """Return the JSON in the content, also where it is a string of JSON.

        Raises:
            RemoteError: 400, it is neither; 413, it is longer than any object.
        """
        size = len(memoryview(self.message.content))
        if size > MAX_CONTENT_BYTES:
            text = f"a content of {size} bytes, allowed are {MAX_CONTENT_BYTES}"
            raise RemoteError(failure(413, text))
        try:
            data = self.message.data()
            wire.check_depth(data)  # what was in a string was not looked at by the codec
        except WireError as error:
            raise RemoteError(failure(400, str(error))) from error
        return data

    def value(self) -> Any:
        """Return the content as a Python value.

        Raises:
            RemoteError: 400, it is not JSON.
        """
        try:
            return wire.loads(self.data())
        except WireError as error:
            raise RemoteError(failure(400, str(error))) from error

    def mapping(self) -> dict[str, Any]:
        """Return the content, which has to be a JSON object.

        Raises:
            RemoteError: 400, it is none.
        """
        value = self.value()
        if not isinstance(value, dict):
            raise RemoteError(failure(400, "the content is not a JSON object"))
        return value

    def object(self) -> dict[str, Any]:
        """Return the content, which has to be the object that the resource names.

        Raises:
            RemoteError: 400, it is no JSON object; 422, it is another one than the resource's.
        """
        value = self.mapping()
        metadata = value.get("metadata")
        if not isinstance(metadata, dict):
            raise self.invalid("the object has no metadata")
        key = self.key
        if metadata.get("name") != key.name:
            raise self.invalid("metadata.name is not the name in the resource")
        if (metadata.get("namespace") or key.namespace) != key.namespace:
            raise self.invalid("metadata.namespace is not the namespace in the resource")
        return value

    def invalid(self, why: str) -> RemoteError:
        """Return the error that says what is wrong with the content."""
        kind, name = self.resource.resource_type, self.resource.name
        return RemoteError(failure(422, f"{kind} {name}: {why}", kind=kind, name=name))


class Withdrawal(Struct, frozen=True):
    """An object that the node believes in and that does not exist: it is told so."""

    delivery: Delivery
    content: msgspec.Raw


class Answer(Struct, frozen=True):
    """What goes back to the node."""

    content: msgspec.Raw = field(default_factory=lambda: OK)
    resource_version: str = ""
    source: str = ""
    """Who answers, where it is not the controller."""

    withdrawals: tuple[Withdrawal, ...] = ()


class Inventories(Protocol):
    """Compares what a node holds with what it should have; see ``cloudcore.synccontroller``."""

    async def answer(self, node: NodeID, content: object) -> dict[str, int]:
        """Send ``node`` the difference to ``content`` and return how large it was."""


class Services(Struct, frozen=True):
    """What handlers work with."""

    client: KubeClient
    state: ClusterState
    reader: ObjectReader
    clock: Clock
    inventories: Inventories
    renewals: dict[NodeID, datetime] = field(default_factory=dict)
    """The ``renewTime`` that each node's lease has, as far as it is known."""


Handler = Callable[[Call, Services], Awaitable[Answer]]
