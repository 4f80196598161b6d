"""Acknowledgements: one message for all of a commit, where the cloud knows that. Pure."""

from collections.abc import Sequence

from common.beehive.message import Message, new, raw, reply
from common.capabilities import Capabilities, Capability
from common.names import GroupName, ModuleName, Operation


def acknowledgements(messages: Sequence[Message], capabilities: Capabilities) -> list[Message]:
    """Return what tells the cloud that ``messages`` need not be sent again.

    Args:
        messages: all of one commit; refused ones too, or the cloud would send them for ever.
        capabilities: those of the connection.
    """
    if Capability.ACKS not in capabilities:
        return [reply(message) for message in messages]
    acked = raw({"acked": [message.msg_id for message in messages]})
    source, group = ModuleName.META_MANAGER, GroupName.RESOURCE
    return [new(source, group, Operation.RESPONSE, "", acked)]


def needs_acknowledgement(capabilities: Capabilities) -> bool:
    """Whether the cloud wants to hear that an answer has come, as KubeEdge's does."""
    return Capability.ACKS not in capabilities
