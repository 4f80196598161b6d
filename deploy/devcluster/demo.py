"""The main job, played on this machine with real parts: ``make demo``.

A control plane, a cloudcore and two edgecores; a Deployment with a ConfigMap and a Secret goes to
the edges, changes, survives a cut of the link, and goes again. Each step checks itself.

Where a container engine answers, the first edge runs its pods in containers; the second one runs
them as processes, since an engine belongs to one edge. Without an engine both do that.
"""

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

import uvloop

from common.errors import RuntimeServiceError
from deploy.devcluster.api import Api, ApiError, Object, WaitError
from deploy.devcluster.build import BuildError
from deploy.devcluster.controlplane import ControlPlane
from deploy.devcluster.daemons import CloudCore, EdgeCore, process_with
from deploy.devcluster.program import ProgramError
from deploy.devcluster.sandboxes import remove_sandboxes, until_empty, why_not_usable
from deploy.devcluster.site import (
    Edge,
    cri_options,
    is_ready,
    log_lines,
    name_of,
    restarts,
    running_edge,
    until,
)

NAMESPACE: Final = "demo"
NODES: Final = ("edge-a", "edge-b")
PODS: Final = f"/api/v1/namespaces/{NAMESPACE}/pods"
CONFIGMAPS: Final = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
DEPLOYMENTS: Final = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
STEP_TIMEOUT_S: Final = 30.0

ENDPOINT_VARIABLE: Final = "CLOUDEDGE_RUNTIME_ENDPOINT"
"""Environment variable with the address of the container engine: ``unix:///path``."""

DEFAULT_ENDPOINT: Final = "unix:///run/containerd/containerd.sock"

# A process finds its volume by a variable, a container at the path. In a container each run has
# the same process id; hence an id of its own.
GREETER: Final = """
read run < /proc/sys/kernel/random/uuid
while true; do
  text=$(cat "${CLOUDEDGE_VOLUME_GREETING:-/etc/greeting}/text")
  echo "run ${run%%-*} says: $text (password of ${#PASSWORD} letters)"
  sleep 0.2
done
"""


class DemoError(Exception):
    """A step did not end as it should; the message says which and what was seen."""


class Demo:
    """The story, one method a step. Made once everything runs."""

    def __init__(self, api: Api, edges: dict[str, Edge], endpoint: str) -> None:
        """Take what runs.

        Args:
            api: for what a user would do.
            edges: by node name.
            endpoint: of the first edge's container engine; "" where it has none.
        """
        self._api, self._edges, self._endpoint = api, edges, endpoint

    async def apply(self) -> list[Object]:
        """Apply the objects and wait until the pods run on the edges."""
        await self._api.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        await self._api.create(CONFIGMAPS, _configmap("hello from the cloud"))
        await self._api.create(f"/api/v1/namespaces/{NAMESPACE}/secrets", _SECRET)
        await self._api.create(DEPLOYMENTS, _DEPLOYMENT)
        say("applied a ConfigMap, a Secret and a Deployment of two replicas")
        pods = await self._pods(
            lambda items: len(items) == len(NODES) and all(map(is_ready, items)),
            "both pods are Ready",
        )
        for pod in pods:
            say(f"the scheduler put {name_of(pod)} on {pod['spec']['nodeName']}; it is Ready")
        return pods

    async def check_queries(self) -> None:
        """See that the edges missed the ConfigMap and the Secret and asked for them."""
        for name, edge in self._edges.items():
            for kind in ("configmap", "secret"):
                asked = await edge.daemon.metric("edgecore_request_seconds_count", type=kind)
                if asked < 1:
                    raise DemoError(f"{name} has not queried its {kind}")
            say(f"{name} missed the ConfigMap and the Secret, queried them and keeps them")

    async def check_output(self, pods: list[Object], text: str) -> None:
        """See that every pod prints ``text``."""
        for pod in pods:
            line = await self._line(pod, text)
            say(f"{name_of(pod)} prints: {line}")

    async def update(self, pods: list[Object]) -> None:
        """Change the ConfigMap and wait until the pods print the new value."""
        await self._api.patch(f"{CONFIGMAPS}/greeting", {"data": {"text": "good news"}})
        say("updated the ConfigMap")
        await self.check_output(pods, "good news")

    async def cut_and_kill(self, pods: list[Object]) -> Object:
        """Cut one edge off, kill its pod's process, see it restarted without the cloud."""
        pod = next(pod for pod in pods if pod["spec"]["nodeName"] == NODES[0])
        edge = self._edge(pod)
        edge.cut()
        say(f"cut {edge.daemon.node} off from the cloud")
        before = run_in(await self._line(pod, "good news"))
        process = process_with("POD_UID", pod["metadata"]["uid"])
        os.kill(process, signal.SIGKILL)
        say(f"killed the pod's process {process}")
        line = await self._line(pod, "good news", lambda found: run_in(found) != before)
        say(f"{edge.daemon.node} restarted it alone: {line}")
        return pod

    async def mend(self, pod: Object) -> None:
        """Bring the link back and see that the API server learns what happened meanwhile."""
        self._edge(pod).mend()
        say("the link is back")
        await self._api.wait(
            f"{PODS}/{name_of(pod)}",
            lambda found: found is not None and is_ready(found) and restarts(found) == 1,
            "the pod is Ready with one restart",
            timeout_s=STEP_TIMEOUT_S,
        )
        say("the API server knows of the restart, and the pod is Ready")
        await self._in_step()

    async def delete(self) -> None:
        """Delete the Deployment and wait until nothing is left of it anywhere."""
        await self._api.delete(f"{DEPLOYMENTS}/greeter")
        say("deleted the Deployment")
        await self._pods(lambda items: not items, "no pod is left in the API server")
        for name, edge in self._edges.items():
            await until(partial(_is_empty, edge.daemon), f"{name} is empty")
            say(f"{name} is empty: no pod in its store, no process")
        if self._endpoint:
            await until_empty(self._endpoint, STEP_TIMEOUT_S)
            say("the container engine is empty: no container, no sandbox")

    async def _in_step(self) -> None:
        for name, edge in self._edges.items():
            pods = await self._api.items(f"{PODS}?fieldSelector=spec.nodeName={name}")
            wanted = {
                f"{NAMESPACE}/{name_of(pod)}": pod["metadata"]["resourceVersion"] for pod in pods
            }
            await until(
                partial(_holds, edge.daemon, wanted),
                f"the store of {name} equals the API server's {wanted}",
            )
        say("every edge-store equals what the API server holds")

    async def _pods(self, holds: Callable[[list[Object]], bool], what: str) -> list[Object]:
        found = await self._api.wait(
            PODS,
            lambda pods: pods is not None and holds(pods["items"]),
            what,
            timeout_s=STEP_TIMEOUT_S,
        )
        assert found is not None
        pods: list[Object] = found["items"]
        return pods

    def _edge(self, pod: Object) -> Edge:
        return self._edges[pod["spec"]["nodeName"]]

    async def _line(
        self, pod: Object, text: str, holds: Callable[[str], bool] = lambda _: True
    ) -> str:
        """Return the newest line of the pod's log that has ``text`` and fulfils ``holds``."""
        found: list[str] = []

        def look() -> bool:
            found[:] = [
                line.partition(" F ")[2]
                for line in log_lines(self._edge(pod).daemon.data_dir, pod)
                if text in line
            ][-1:]
            return bool(found) and holds(found[0])

        await until(look, f"{name_of(pod)} prints {text!r}")
        return found[0]


def run_in(line: str) -> str:
    """Return which run of the greeter printed the line."""
    return line.split()[1]


def _is_empty(edge: EdgeCore) -> bool:
    return not edge.stored("pod") and not edge.processes()


def _holds(edge: EdgeCore, pods: dict[str, str]) -> bool:
    return edge.stored("pod") == pods


_PROCESS: Final = ("--runtime=process",)
_STARTED_S: Final = time.monotonic()


def say(text: str) -> None:
    """Tell what happens, with the seconds since the start."""
    sys.stdout.write(f"{time.monotonic() - _STARTED_S:6.1f} s  {text}\n")
    sys.stdout.flush()


def _configmap(text: str) -> Object:
    return {"metadata": {"name": "greeting"}, "data": {"text": text}}


_SECRET: Final[Object] = {
    "metadata": {"name": "login"},
    "stringData": {"password": "open-sesame"},
}

_CONTAINER: Final[dict[str, Any]] = {
    "name": "greeter",
    "image": "busybox",
    "command": ["/bin/sh", "-c", GREETER],
    "env": [
        {
            "name": "PASSWORD",
            "valueFrom": {"secretKeyRef": {"name": "login", "key": "password"}},
        },
        {"name": "POD_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
    ],
    "imagePullPolicy": "IfNotPresent",
    "volumeMounts": [{"name": "greeting", "mountPath": "/etc/greeting"}],
}

_DEPLOYMENT: Final[Object] = {
    "metadata": {"name": "greeter"},
    "spec": {
        "replicas": len(NODES),
        "selector": {"matchLabels": {"app": "greeter"}},
        "template": {
            "metadata": {"labels": {"app": "greeter"}},
            "spec": {
                "automountServiceAccountToken": False,
                "terminationGracePeriodSeconds": 1,
                "nodeSelector": {"node-role.kubernetes.io/edge": ""},
                "topologySpreadConstraints": [
                    {
                        "maxSkew": 1,
                        "topologyKey": "kubernetes.io/hostname",
                        "whenUnsatisfiable": "DoNotSchedule",
                        "labelSelector": {"matchLabels": {"app": "greeter"}},
                    }
                ],
                "containers": [_CONTAINER],
                "volumes": [{"name": "greeting", "configMap": {"name": "greeting"}}],
            },
        },
    },
}


async def _free_engine() -> str:
    """Return the endpoint of a container engine for the first edge, "" where there is none."""
    endpoint = os.environ.get(ENDPOINT_VARIABLE, DEFAULT_ENDPOINT)
    reason = await why_not_usable(endpoint, "busybox")
    if reason:
        say(f"runtime: process on both edges; no use of {endpoint}: {reason}")
        return ""
    say(f"runtime: cri at {endpoint} on {NODES[0]}, process on {NODES[1]}")
    return endpoint


async def play(data_dir: Path) -> None:
    """Start everything, play the story, stop everything."""
    async with AsyncExitStack() as stack:
        say("starting etcd, kube-apiserver, kube-controller-manager and kube-scheduler")
        control_plane = await stack.enter_async_context(ControlPlane(data_dir / "control-plane"))
        api = await stack.enter_async_context(Api(control_plane))
        cloud = CloudCore(control_plane, data_dir / "cloudcore")
        stack.push_async_callback(cloud.stop)
        await cloud.start()
        say("cloudcore is ready")
        endpoint = await _free_engine()
        if endpoint:
            # All that is on it at the end is ours, also where a step failed.
            stack.push_async_callback(remove_sandboxes, endpoint)
        edges = {}
        for node in NODES:
            in_containers = endpoint and node == NODES[0]
            options = cri_options(endpoint, data_dir / node) if in_containers else _PROCESS
            token = await cloud.token()
            edges[node] = await stack.enter_async_context(
                running_edge(node, cloud, data_dir / node, token=token, options=options)
            )
        for node in NODES:
            await api.wait(
                f"/api/v1/nodes/{node}",
                lambda found: found is not None and is_ready(found),
                f"{node} is Ready",
                timeout_s=STEP_TIMEOUT_S,
            )
            how = "in containers" if endpoint and node == NODES[0] else "as processes"
            say(f"{node} has joined and is Ready; its pods run {how}")
        demo = Demo(api, edges, endpoint)
        pods = await demo.apply()
        await demo.check_queries()
        await demo.check_output(pods, "hello from the cloud")
        await demo.update(pods)
        pod = await demo.cut_and_kill(pods)
        await demo.mend(pod)
        await demo.delete()
        say("stopping everything")


_FORESEEN: Final = (
    ApiError,
    BuildError,
    DemoError,
    LookupError,
    ProgramError,
    RuntimeServiceError,
    WaitError,
)


def main() -> None:
    """Play the demo; exit code 0 when every step ended as it should, else 1 with what failed."""
    code = 0
    with tempfile.TemporaryDirectory(prefix="cloudedge-demo-") as folder:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(play(Path(folder)))
        except* _FORESEEN as errors:
            for error in errors.exceptions:
                sys.stderr.write(f"the demo failed: {error}\n")
            with contextlib.suppress(OSError):
                _keep_logs(Path(folder))
            code = 1
        except* KeyboardInterrupt:
            code = 130
    if code:
        raise SystemExit(code)
    say("the demo has passed: everything happened as it should, and nothing is left running")


def _keep_logs(folder: Path) -> None:
    """Print the end of the daemons' logs, which go with the folder."""
    for log in sorted(folder.glob("*.log")):
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
        sys.stderr.write(f"--- {log.name}\n{tail}\n")


if __name__ == "__main__":
    main()
