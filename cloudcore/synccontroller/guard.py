"""Whether a comparison may delete as much as it would (promise P11, the blast radius). Pure.

What is deleted because it was *not found* may be a sign that something else is wrong: the API
server was restored from an old backup, or is another cluster's. So where a comparison would take
much at a time, it is held: nothing of it is deleted on that node, until somebody who knows better
releases the node, or it has turned out that there is nothing to delete. What was seen being deleted
is no matter of this.
"""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from common.names import NodeID

MANY_PODS: Final = 8
"""A node with fewer pods may lose them all."""

MANY_NODES: Final = 20
"""In a fleet of fewer nodes all may lose something."""

NODES_PER_CENT: Final = 5
WINDOW_S: Final = 600.0
"""Within which nodes that lose something are counted."""


class Plan(Struct, frozen=True):
    """What a comparison would do to one node."""

    pods: int
    """Pods that the node has."""

    ended_pods: int
    deletions: int
    """Of pods, and of ConfigMaps and Secrets that its pods name."""


class Guard:
    """Judges plans, and remembers which nodes are held or released."""

    def __init__(self) -> None:
        """Make a guard that holds nothing."""
        self._losing: dict[NodeID, float] = {}  # when a node was last to lose something
        self._held: dict[NodeID, str] = {}
        self._released: set[NodeID] = set()

    @property
    def held(self) -> Mapping[NodeID, str]:
        """The nodes that are held, and why."""
        return self._held

    def admit(
        self, plans: Mapping[NodeID, Plan], edge_nodes: int, now_s: float
    ) -> Mapping[NodeID, str]:
        """Return on which nodes nothing may be deleted, and why.

        Args:
            plans: what is to be done at once.
            edge_nodes: how many there are in all.
            now_s: monotonic seconds.
        """
        self._losing = {n: at for n, at in self._losing.items() if now_s - at < WINDOW_S}
        losing = {
            node for node, plan in plans.items() if plan.deletions and node not in self._released
        }
        affected = len(losing | self._losing.keys())
        is_wide = edge_nodes >= MANY_NODES and affected * 100 > edge_nodes * NODES_PER_CENT
        for node in losing:
            self._losing[node] = now_s
            plan = plans[node]
            if plan.pods >= MANY_PODS and plan.ended_pods * 2 > plan.pods:
                self._held[node] = f"would end {plan.ended_pods} of {plan.pods} pods"
            elif is_wide:
                self._held.setdefault(
                    node, f"{affected} of {edge_nodes} nodes would lose something"
                )
        return {node: self._held[node] for node in losing if node in self._held}

    def release(self, node: NodeID) -> None:
        """Let the node lose whatever it would, until it is ``settled``."""
        self._released.add(node)
        self._held.pop(node, None)

    def is_released(self, node: NodeID) -> bool:
        """Whether that is so now."""
        return node in self._released

    def settled(self, node: NodeID) -> None:
        """Note that the node has been compared, and nothing was held."""
        self._released.discard(node)
        self._held.pop(node, None)
