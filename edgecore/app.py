"""The edge daemon: the only place that builds the modules and knows them all.

At start the edge-store opens, edged starts the stored pods from it, and only then does anybody talk
to the cloud, which may be away for as long as it likes.
"""

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from datetime import datetime
from functools import partial
from typing import Final, Protocol, runtime_checkable

from msgspec import Struct, field
from msgspec.structs import replace

from common import systemd
from common.beehive.context import MessageContext
from common.beehive.module import Module, run_modules
from common.clock import Clock, rfc3339
from common.health import Health
from common.metrics import Figures, show_process
from common.monitor import monitor
from common.names import ModuleName
from common.progress import Turns
from common.settings import DaemonSettings
from edgecore.config import EdgeCoreSettings, HollowSettings, NodeSettings, RuntimeName
from edgecore.datadir import SOCKET, locked
from edgecore.edged.edged import Edged
from edgecore.edged.edgedconfig import EdgedConfig
from edgecore.edged.local.logrotate import LogLimits
from edgecore.edged.node.nodeagent import Machine
from edgecore.edged.node.nodesetup import PodNetwork
from edgecore.edged.runtime.base import Runtime
from edgecore.edged.runtime.hollow import HollowRuntime
from edgecore.edgehub.client import EdgeHub
from edgecore.edgehub.enrollconfig import EnrollConfig, Task
from edgecore.edgehub.enrollprocess import CarryOut, in_process_of_its_own
from edgecore.edgehub.hubconfig import HubConfig
from edgecore.edgehub.identity import Identity
from edgecore.edgehub.network import Credentials, Network
from edgecore.edgehub.pin import Pin
from edgecore.edgehub.timekeeper import Timekeeper
from edgecore.edgestore.keyfile import credential
from edgecore.edgestore.store import FILE_NAME, EdgeStore, StoreThreads
from edgecore.figures import Facts
from edgecore.kubeedge.adopting import adopt
from edgecore.metamanager.manager import MetaManager
from edgecore.metrics import EdgeMetrics

logger = logging.getLogger(__name__)

HOLLOW_THREADS: Final = 4
"""Pairs of store threads that hollow edges share: commits wait for the disk, not for the CPU."""

_BEAT_S: Final = 1.0
_JUDGED: Final = (ModuleName.EDGED, ModuleName.META_MANAGER, ModuleName.EDGE_HUB)
"""Modules that take their messages at once, whatever the link and the runtime do."""
_MIB: Final = 1024 * 1024


@runtime_checkable
class Telling(Protocol):
    """A module that tells how it does."""

    def tell(self) -> Mapping[str, object]:
        """Return what JSON can hold; called in any thread."""


class Edge:
    """The modules of one edge, wired. ``run`` may be called once."""

    def __init__(
        self,
        settings: NodeSettings,
        context: MessageContext,
        store: EdgeStore,
        modules: Sequence[Module],
        facts: Facts | None = None,
    ) -> None:
        """Hold what ``build_edge`` made; ``modules`` in the order in which they stop."""
        self.facts = facts
        self.settings, self.context, self.store = settings, context, store
        self._modules = modules
        self.is_open = asyncio.Event()
        """Set when the store is open and the modules start."""

    def report_to(self, health: Health, now: datetime) -> None:
        """Have ``health`` tell in its status of this process, begun ``now``, and of its modules."""
        health.report("edgecore", partial(_process, self.settings.node_name, rfc3339(now)))
        for module in self._modules:
            if isinstance(module, Telling):
                health.report(type(module).__name__.lower(), module.tell)
        health.judge("disk", lambda: self.store.fault)
        if self.facts is not None:
            health.judge("container-engine", self.facts.runtime_fault)
            health.remark("cloud", partial(_link, self.facts))

    async def run(
        self,
        stop: asyncio.Event,
        beside: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        """Run until ``stop`` is set. Containers go on running.

        Args:
            stop: ends it.
            beside: what is open for as long as the folder is this process's.

        Raises:
            ConfigError: another edgecore uses the same folder, or it cannot be used.
            StoreError: the edge-store cannot be used; the text says what to do.
            BaseExceptionGroup: a module failed.
        """
        with locked(self.settings.data_dir), beside():
            adoption = self.settings.adoption()
            if adoption is not None:
                await adopt(adoption)
            async with self.store:
                self.is_open.set()
                await run_modules(self.context, self._modules, stop, grace_s=self.settings.grace_s)


class World(Struct, frozen=True):
    """What an edge stands in, as far as it is not that of this machine."""

    runtime: Runtime | None = None
    """What runs the pods; what the settings name if None."""
    machine: Machine | None = None
    clock: Clock | None = None
    store: EdgeStore | None = None
    """One in the folder that the settings name if None."""
    network: Network = field(default_factory=Network)
    credentials: Credentials | None = None
    """The node's certificate, got for a token, if None."""


def build_edge(
    settings: EdgeCoreSettings,
    metrics: EdgeMetrics,
    *,
    world: World | None = None,
    threads: StoreThreads | None = None,
    enroll: CarryOut = in_process_of_its_own,
) -> Edge:
    """Return one edge; nothing is opened before it runs.

    Args:
        settings: what it is told.
        metrics: where it counts; edges of one process share it.
        world: what it stands in; this machine if None.
        threads: of the edge-store, to be shared between edges; own ones if None.
        enroll: how the node gets its certificate.
    """
    world = world or World()
    clock = world.clock or Clock()
    context = MessageContext()
    store = world.store or store_of(settings, threads)
    edged, metamanager = node_modules(
        settings, context, store, metrics, replace(world, clock=clock)
    )
    enrolled = EnrollConfig(
        settings.node_name, settings.cloud, settings.https_port, str(settings.data_dir / "pki")
    )
    identity = Identity(
        enrolled,
        settings.read_token,
        Timekeeper(store, clock),
        enroll,
        world.network.dial,
    )
    dial = world.network.dial if world.credentials else identity.dial
    pin = Pin(dial, store, settings.accept_cluster)
    hub = EdgeHub(
        context,
        HubConfig(
            settings.node_name,
            settings.cloud,
            settings.websocket_port,
            heartbeat_s=settings.heartbeat_s,
            capabilities=settings.capabilities,
        ),
        world.credentials or identity,
        clock,
        metrics,
        replace(world.network, dial=pin.dial),
    )
    facts = Facts(
        pods=edged.phases,
        offline_s=hub.offline_s,
        waiting=hub.waiting,
        objects=lambda: len(store.index.entries),
        runtime_fault=edged.runtime_fault,
        clock_offset_s=lambda: clock.offset_s,
        pending=context.pending,
        store=settings.data_dir / FILE_NAME,
        certificate=enrolled.node_file,
    )
    return Edge(settings, context, store, (edged, metamanager, hub), facts)


def store_of(settings: NodeSettings, threads: StoreThreads | None = None) -> EdgeStore:
    """Return the edge-store in the folder that ``settings`` name; it is not open yet."""
    return EdgeStore(settings.data_dir, threads, credential(os.environ))


def node_modules(
    settings: NodeSettings,
    context: MessageContext,
    store: EdgeStore,
    metrics: EdgeMetrics,
    world: World,
) -> tuple[Edged, MetaManager]:
    """Return the modules of a node, whatever joins them to the API server."""
    clock = world.clock or Clock()
    edged = Edged(
        context,
        world.runtime or runtime_of(settings),
        clock,
        edged_config(settings),
        metrics,
        machine=world.machine,
    )
    metamanager = MetaManager(
        context, store, settings.node_name, clock, metrics, world.network.random_unit
    )
    return edged, metamanager


def edged_config(settings: NodeSettings) -> EdgedConfig:
    """Return what edged is told of ``settings``."""
    return EdgedConfig(
        node_name=settings.node_name,
        node_ip=settings.address(),
        root_dir=settings.root_dir or settings.data_dir,
        logs_dir=settings.logs_dir(),
        max_pods=settings.max_pods,
        labels=settings.labels,
        taints=settings.taint_objects(),
        network=PodNetwork(
            settings.cluster_dns,
            settings.cluster_domain,
            settings.resolv_conf,
            settings.cgroup_driver,
        ),
        thresholds=settings.thresholds(),
        images=settings.image_policy(),
        parallel_pulls=settings.parallel_pulls,
        logs=LogLimits(settings.container_log_max_mib * _MIB, settings.container_log_max_files),
        static_pods_dir=settings.static_pods_dir,
        local_address=settings.local_endpoint(),
        data_dir=settings.data_dir,
    )


async def run(settings: EdgeCoreSettings, stop: asyncio.Event) -> None:
    """Run one edge as a daemon until ``stop`` is set; raises as ``Edge.run`` does."""
    registry, health = Figures(), Health()
    edge = build_edge(settings, EdgeMetrics(registry))
    edge.report_to(health, Clock().now())
    if edge.facts is not None:
        edge.facts.show(registry)

    def told() -> AbstractContextManager[object]:
        return monitor(None, health, registry, settings.data_dir / SOCKET)

    await serve(settings, [edge], Shown(health, registry, told), stop)


async def run_hollow(settings: HollowSettings, stop: asyncio.Event) -> None:
    """Run hollow edges in this process until ``stop`` is set; raises as ``Edge.run`` does."""
    registry = Figures()
    metrics = EdgeMetrics(registry)
    with ExitStack() as opened:
        pool = [StoreThreads() for _ in range(min(HOLLOW_THREADS, settings.count))]
        for threads in pool:
            opened.callback(threads.close)
        edges = [
            build_edge(one, metrics, threads=pool[number % len(pool)], enroll=enroll_in_thread)
            for number, one in enumerate(settings.edges())
        ]
        await serve(settings, edges, Shown(Health(), registry), stop)


class Shown(Struct, frozen=True):
    """What a process tells of its edges."""

    health: Health
    registry: Figures
    beside: Callable[[], AbstractContextManager[object]] = nullcontext
    """Open while an edge holds its folder."""


async def serve(
    settings: DaemonSettings, edges: Sequence[Edge], shown: Shown, stop: asyncio.Event
) -> None:
    """Run ``edges``, and tell of them to whoever asks and to systemd, until ``stop`` is set."""
    health = shown.health
    health.set_condition("edge-store", "is being opened")
    show_process(shown.registry, "edgecore")
    with monitor(settings.monitor_endpoint(), health, shown.registry):
        async with asyncio.TaskGroup() as tasks:
            beat = tasks.create_task(_beat(health), name="health")
            tell = tasks.create_task(_tell_systemd(edges, health, stop), name="sd_notify")
            alive = tasks.create_task(systemd.keep_alive(partial(_turns, edges)), name="watchdog")
            async with asyncio.TaskGroup() as running:
                for edge in edges:
                    running.create_task(
                        edge.run(stop, shown.beside), name=f"edge {edge.settings.node_name}"
                    )
            beat.cancel()
            tell.cancel()
            alive.cancel()


def _turns(edges: Sequence[Edge]) -> dict[ModuleName, Turns]:
    # Of many edges in one process, which systemd does not start, the last one speaks for all.
    found: dict[ModuleName, Turns] = {}
    for edge in edges:
        found |= edge.context.turns(*_JUDGED)
    return found


def _process(node_name: str, started: str) -> Mapping[str, object]:
    # Not at the top: it is half a MiB, for whoever asks.
    from importlib.metadata import version  # noqa: PLC0415

    return {
        "node": node_name,
        "version": version("cloudedge"),
        "pid": os.getpid(),
        "since": started,
        "installedIn": sys.prefix,
    }


def _link(facts: Facts) -> str:
    offline_s = facts.offline_s()
    return f"away for {offline_s:.0f} s; pods go on" if offline_s else "connected, or not tried yet"


async def _beat(health: Health) -> None:
    while True:
        health.beat()
        await asyncio.sleep(_BEAT_S)


async def _tell_systemd(edges: Sequence[Edge], health: Health, stop: asyncio.Event) -> None:
    """Say READY once the stores are open, also offline, and STOPPING when it stops."""
    for edge in edges:
        await edge.is_open.wait()
    health.set_condition("edge-store")
    logger.info("edgecore is ready", extra={"edges": len(edges)})
    systemd.notify("READY=1")
    await stop.wait()
    systemd.notify("STOPPING=1")
    logger.info("edgecore stops; what runs goes on running")


async def enroll_in_thread(task: Task) -> str:
    """Carry out ``task`` in this process: what it imports is shared by all edges in it."""
    # Not at the top: a single edge does without these 10 MiB.
    from edgecore.edgehub import enroll  # noqa: PLC0415

    return await asyncio.to_thread(enroll.carry_out, task)


def runtime_of(settings: NodeSettings) -> Runtime:
    """Return what runs the pods, as ``settings`` say; it is not open yet."""
    match settings.runtime:
        case RuntimeName.HOLLOW:
            return HollowRuntime()
        case RuntimeName.PROCESS:
            # Not at the top, as with the next one: an edge has one runtime.
            from edgecore.edged.runtime.process import ProcessRuntime  # noqa: PLC0415

            return ProcessRuntime(
                settings.data_dir / "process",
                log_bytes=settings.container_log_max_mib * _MIB,
                log_files=settings.container_log_max_files,
            )
        case RuntimeName.CRI:
            # Not at the top: an edge without a container engine does without gRPC's 8 MiB.
            from edgecore.edged.runtime.cri.runtime import CriRuntime  # noqa: PLC0415

            return CriRuntime(settings.runtime_endpoint)
