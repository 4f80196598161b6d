"""Nodes that hold versions from before a restore of etcd. Pure.

Versions then count anew from a lower one. Until they have passed the highest that a node has, what
the node is told has to be marked, or it would take it for old.
"""

from common.names import NodeID


class Epochs:
    """Up to which version each node has been told of another history."""

    def __init__(self) -> None:
        """Know of no restore."""
        self._overtaken: dict[NodeID, int] = {}

    def note(self, node: NodeID, highest: int) -> None:
        """Note that ``node`` has a version ``highest`` which the API server has yet to reach."""
        self._overtaken[node] = max(highest, self._overtaken.get(node, 0))

    def is_overtaken(self, node: NodeID, version: int) -> bool:
        """Whether ``node`` may have had that version of something else."""
        return bool(self._overtaken) and version <= self._overtaken.get(node, 0)
