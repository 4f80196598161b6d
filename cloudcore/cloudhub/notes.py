"""What is counted and logged of a node's messages. No content is."""

import logging
from collections.abc import Sequence
from typing import Final

from cloudcore.cloudhub.closing import Close
from cloudcore.metrics import CloudMetrics
from common.beehive.message import Message
from common.names import NodeID

logger: Final = logging.getLogger(__name__)


def closed(metrics: CloudMetrics, node: NodeID, close: Close) -> None:
    """Note why a connection ends, where that is worth a word."""
    if close.counted_as:
        metrics.refused.inc(close.counted_as)
        logger.warning(
            "connection closed", extra={"node": node, "code": close.code, "reason": close.text}
        )


def refused(metrics: CloudMetrics, node: NodeID, reason: str, detail: str) -> None:
    """Note a request that is not carried out."""
    metrics.refused.inc(reason)
    logger.warning("message refused", extra={"node": node, "reason": reason, "detail": detail})


def dropped(metrics: CloudMetrics, node: NodeID, reason: str, message: Message, level: int) -> None:
    """Note a message that goes no further."""
    metrics.dropped.inc(reason)
    logger.log(
        level,
        "message dropped",
        extra={
            "node": node,
            "reason": reason,
            "operation": message.operation,
            "resource": message.resource,
        },
    )


def trace(direction: str, node: NodeID, message: Message) -> None:
    """Log that a message came (``<``) or goes (``>``), where somebody wants to see each."""
    if logger.isEnabledFor(logging.DEBUG):
        logger.debug("%s %s", direction, message.operation, extra=message.traced(node))


def landed(node: NodeID, msg_ids: Sequence[str]) -> None:
    """Log that the node has made messages durable, where somebody wants to see each."""
    if logger.isEnabledFor(logging.DEBUG):
        for msg_id in msg_ids:
            logger.debug("acknowledged", extra={"node": node, "msg_id": msg_id[:64]})
