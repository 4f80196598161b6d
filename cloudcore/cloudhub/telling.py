"""What the controller is told of one connection: that it is there, how it does, what it asks. Pure.

The connection comes first, the newest beat before all requests, and the end last.
"""

from cloudcore.cloudhub.beats import Beats
from common.beehive.message import Message, new, raw
from common.names import GroupName, ModuleName, NodeID, Operation


class Telling:
    """Has what the controller has not been told yet; see ``Inbox``."""

    __slots__ = ("_beats", "_node", "_requests", "connection_id")

    def __init__(self, node: NodeID, beats: Beats, hello: object) -> None:
        """Begin with ``hello``, what a connection of ``node`` says of itself."""
        self._node, self._beats = node, beats
        first = self._about(Operation.CONNECTED, hello)
        self._requests = [first]
        self.connection_id = first.msg_id
        """By which the controller knows this connection from others of the node."""

    def add(self, request: Message) -> None:
        """Pass on what the node asks."""
        self._requests.append(request)

    def end(self) -> None:
        """Say that the connection is gone."""
        about = {"connection": self.connection_id}
        self._requests.append(self._about(Operation.DISCONNECTED, about))

    def take_request(self) -> Message | None:
        """Return the next message for the controller; None where there is none."""
        if self._requests and self._requests[0].operation is Operation.CONNECTED:
            return self._requests.pop(0)  # before its first beat
        said = self._beats.take(self.connection_id)
        if said is not None:
            return self._about(Operation.KEEPALIVE, said)
        return self._requests.pop(0) if self._requests else None

    def _about(self, operation: Operation, content: object) -> Message:
        resource = f"node/{self._node}"
        return new(ModuleName.CLOUD_HUB, GroupName.RESOURCE, operation, resource, raw(content))
