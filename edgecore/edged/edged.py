"""The module edged: the pods of the edge-store, run through a runtime and reported upstream."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from common.beehive.context import MessageContext
from common.clock import Clock
from common.metrics import MessageMetrics
from common.names import GroupName, ModuleName
from edgecore.edged.runtime.base import Runtime


@dataclass(frozen=True, slots=True)
class EdgedConfig:
    """What edged must be told. Durations in seconds."""

    node_name: str
    node_ip: str
    data_dir: Path
    """``<data_dir>/pods`` holds volumes, ``<data_dir>/logs`` the containers' output."""
    max_pods: int = 110
    labels: Mapping[str, str] = field(default_factory=dict)
    """Labels of the Node beside those that every edge node has; used when it registers."""
    taints: tuple[Mapping[str, str], ...] = ()
    """``{key, value, effect}``; used when the Node registers."""
    report_events: bool = True
    """Whether Kubernetes Events are sent upstream."""
    lease_period_s: float = 10.0
    """Between two renewals of the node's lease, and two looks at the node's own state."""
    status_period_s: float = 300.0
    """After which the node's status is sent though nothing in it changed."""


class Edged:
    """Run the pods of this node."""

    name, group = ModuleName.EDGED, GroupName.EDGED

    def __init__(
        self,
        context: MessageContext,
        runtime: Runtime,
        clock: Clock,
        config: EdgedConfig,
        metrics: MessageMetrics,
    ) -> None:
        self._context, self._runtime, self._clock = context, runtime, clock
        self._config, self._metrics = config, metrics

    async def run(self) -> None:
        """Serve the mailbox until it is closed and empty; containers go on running."""
        while True:
            await self._context.receive(self.name)
