"""A Kubernetes control plane on loopback: etcd, API server, controller manager and scheduler."""

import asyncio
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Final, Self

from deploy.devcluster import build, credentials
from deploy.devcluster.commands import Component, Layout, NodeMonitor, Ports, command
from deploy.devcluster.ports import free_ports
from deploy.devcluster.probe import Probe
from deploy.devcluster.program import Program

START_TIMEOUT_S: Final = 60.0
"""How long a component may take until it is ready, on a busy machine."""

STOP_GRACE_S: Final = 10.0
"""How long a component may take to end when asked, before it is killed."""

EVERYTHING: Final = tuple(Component)
API_ONLY: Final = (Component.ETCD, Component.API_SERVER)
"""Enough for what only reads and writes objects: nothing schedules, nothing fails a node."""

_NO_ARGS: Final[Mapping[Component, Sequence[str]]] = MappingProxyType({})


class ControlPlane:
    """A control plane of its own for whoever enters this context; nothing of it stays behind.

    It is the real thing with TLS, RBAC, the Node authorizer and NodeRestriction. Clients come in
    with a token, or with a certificate that ``ca_file``'s key signed. etcd answers anyone on this
    machine, which is why this is for development only.

    ``async with`` waits until every component is ready, and at its end until every process is
    gone. Where the process that started it dies, the kernel kills them all; hence it belongs to a
    thread that lives as long as it should (see ``tether``).

    Without the controller manager no service accounts are made, so the API server then does not
    ask pods for one.
    """

    kubeconfig: Path
    """The administrator's (group system:masters)."""

    server: str
    """The API server's address: ``https://127.0.0.1:PORT``."""

    token: str
    """The administrator's bearer token."""

    ca_file: Path
    """Proves the API server's certificate; PEM."""

    def __init__(
        self,
        data_dir: Path | None = None,
        *,
        components: Sequence[Component] = EVERYTHING,
        node_monitor: NodeMonitor | None = None,
        extra_args: Mapping[Component, Sequence[str]] = _NO_ARGS,
        programs: Path | None = None,
    ) -> None:
        """Choose ports and write the credentials; nothing runs yet.

        Args:
            data_dir: for objects, credentials and logs. A folder used before is taken up again.
                None makes a temporary one, which is removed at the end.
            components: what to run.
            node_monitor: when a node that is silent counts as lost; None is Kubernetes' default.
            extra_args: further arguments by component.
            programs: the folder that has the four programs; None finds or builds them.

        Raises:
            BuildError: where there are no programs and none can be built.
        """
        programs = programs or build.find_or_build()
        self._temporary = data_dir is None
        self._data = Path(tempfile.mkdtemp(prefix="devcluster-")) if data_dir is None else data_dir
        self._data = self._data.absolute()
        self._data.mkdir(parents=True, exist_ok=True)
        made = credentials.load_or_create(self._data / "pki")
        self._layout = Layout(
            programs=programs,
            data=self._data,
            ports=Ports(*free_ports(len(Ports.__slots__))),
            credentials=made,
        )
        self.server = self._layout.server
        self.ca_file = made.ca_cert
        self.token = made.tokens[credentials.ADMIN]
        self.kubeconfig = self._layout.kubeconfig(credentials.ADMIN)
        self._programs = {
            component: Program(
                component,
                command(
                    component,
                    self._layout,
                    components=components,
                    node_monitor=node_monitor or NodeMonitor(),
                    extra_args=extra_args,
                ),
                self._layout.log(component),
            )
            for component in Component
            if component in components
        }

    async def __aenter__(self) -> Self:
        """Start everything; see ``start``."""
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop everything; see ``stop``."""
        await self.stop()

    async def start(self) -> None:
        """Start all components and return when all are ready.

        Raises:
            ProgramError: if one ends or does not get ready; nothing is left running then.

        Cancellation: nothing is left running.
        """
        for user, token in self._layout.credentials.tokens.items():
            credentials.write_kubeconfig(
                self._layout.kubeconfig(user),
                server=self.server,
                ca_file=self.ca_file,
                user=user,
                token=token,
            )
        try:
            for component in API_ONLY:
                if component in self._programs:
                    await self.start_component(component)
            async with asyncio.TaskGroup() as group:
                for component in self._programs:
                    if component not in API_ONLY:
                        group.create_task(self.start_component(component), name=component)
        except BaseException:
            self._kill_all()
            raise

    async def stop(self) -> None:
        """Stop all components in the reverse order of their start, and wait until all are gone.

        Cancellation: what still runs is killed, and gone when the call returns.
        """
        try:
            for component in reversed(self._programs):
                await self.stop_component(component)
        finally:
            self._kill_all()

    async def start_component(self, component: Component) -> None:
        """Start one component, with its former ports and data, and return when it is ready.

        Raises:
            ProgramError: if it runs already, ends, or does not get ready.
        """
        program = self._programs[component]
        program.start()
        for probe in self._probes(component):
            await program.wait_ready(probe, START_TIMEOUT_S)

    async def stop_component(self, component: Component) -> None:
        """Stop one component, by force after ``STOP_GRACE_S``; it may be started again.

        Cancellation: it is killed, and gone when the call returns.
        """
        await self._programs[component].stop(STOP_GRACE_S)

    def kill_component(self, component: Component) -> None:
        """Kill one component without warning; it is gone when the call returns."""
        self._programs[component].kill()

    def pids(self) -> dict[Component, int]:
        """The process ids of the components that run."""
        return {
            component: program.pid
            for component, program in self._programs.items()
            if program.pid is not None
        }

    def _kill_all(self) -> None:
        for program in reversed(self._programs.values()):
            program.kill()
        if self._temporary:
            shutil.rmtree(self._data, ignore_errors=True)

    def _probes(self, component: Component) -> list[Probe]:
        ports, ca_file = self._layout.ports, self.ca_file

        def is_made(path: str) -> Probe:
            return Probe(ports.api_server, path, ca_file=ca_file, token=self.token)

        match component:
            case Component.ETCD:
                return [Probe(ports.etcd, "/readyz")]
            case Component.API_SERVER:
                return [
                    Probe(ports.api_server, "/readyz", ca_file=ca_file),
                    # It is ready before it has made the namespaces that all rely on; this is the
                    # last of them.
                    is_made("/api/v1/namespaces/default"),
                ]
            case Component.SCHEDULER:
                return [Probe(ports.scheduler, "/readyz", ca_file=ca_file)]
            case Component.CONTROLLER_MANAGER:
                return [
                    Probe(ports.controller_manager, "/healthz", ca_file=ca_file),
                    # It answers before its controllers run; pods need what this one makes.
                    is_made("/api/v1/namespaces/default/serviceaccounts/default"),
                ]
