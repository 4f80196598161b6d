"""Probes of containers: who is Ready, who is started again, who is left alone.

Real: control plane, cloudcore, edgecore, containerd with runc and a bridge network, and the
servers that are asked: busybox's in the containers, and for gRPC one in the test that a pod on the
node's network stands for. Nothing is faked.
"""

from pathlib import Path

import pytest
from grpclib.health.check import ServiceStatus
from grpclib.health.service import Health
from grpclib.server import Server

from deploy.devcluster.api import Api, Object
from deploy.devcluster.containerd import ContainerEngine
from deploy.devcluster.ports import free_ports
from deploy.devcluster.site import is_ready, restarts, until
from tests.e2e.conftest import Join
from tests.e2e.inside import run
from tests.e2e.podchecks import OBEY, Place, conditions, last_end, state_of, status_of

SERVE = "mkdir /tmp/www; echo yes > /tmp/www/index.html; exec httpd -f -p 8080 -h /tmp/www"
PORTS = {"ports": [{"name": "web", "containerPort": 8080}]}


@pytest.fixture
async def place(api: Api, join: Join, namespace: str, container_engine: ContainerEngine) -> Place:
    del container_engine  # `join` uses it
    return Place(api, await join(runtime="cri"), namespace)


@pytest.fixture
def told(tmp_path: Path) -> Path:
    """A folder that a container sees at /told: by it a test and a probe talk to each other."""
    folder = tmp_path / "told"
    folder.mkdir()
    return folder


def probed(place: Place, told: Path, name: str, **probes: Object) -> Object:
    """Return a pod that obeys, whose probes see ``told``."""
    container = {"volumeMounts": [{"name": "told", "mountPath": "/told"}], **probes}
    volumes = [{"name": "told", "hostPath": {"path": str(told)}}]
    return place.pod(name, OBEY, container=container, volumes=volumes)


def shell(script: str, **more: object) -> Object:
    """Return a probe that counts what ``script`` says, and not how long a busy machine takes."""
    command = {"command": ["/bin/sh", "-c", script]}
    return {"exec": command, "periodSeconds": 1, "timeoutSeconds": 20, **more}


async def test_a_pod_is_ready_while_its_probe_succeeds(place: Place, told: Path) -> None:
    http = {"httpGet": {"path": "/index.html", "port": "web"}, "periodSeconds": 1}
    tcp = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
    absent = {"httpGet": {"path": "/nothing", "port": 8080}, "periodSeconds": 1}
    by_command = shell("test -e /told/ready || { echo not yet; exit 1; }", failureThreshold=1)
    await place.create(
        probed(place, told, "exec", readinessProbe=by_command),
        place.pod("http", SERVE, container={**PORTS, "readinessProbe": http}),
        place.pod("tcp", SERVE, container={**PORTS, "readinessProbe": tcp}),
        place.pod("absent", SERVE, container={**PORTS, "readinessProbe": absent}),
        place.pod("closed", OBEY, container={"readinessProbe": tcp}),
    )
    for name in ("http", "tcp"):
        await place.ready(name)
    unwell = {
        "exec": "Readiness probe failed: not yet",
        "absent": "Readiness probe failed: HTTP probe failed with statuscode: 404",
        "closed": "Readiness probe failed: dial tcp ",
    }
    for name, words in unwell.items():
        found = await place.wait(name, lambda p: status_of(p).get("started"), "it runs")
        event = await place.event(found, "Unhealthy", words)
        assert event["type"] == "Warning"
        assert event["involvedObject"]["fieldPath"] == "spec.containers{c}"
        told_of = conditions(found)
        assert (told_of["Ready"], told_of["ContainersReady"]) == ("False", "False")
        assert not status_of(found)["ready"]

    (told / "ready").touch()
    await place.ready("exec")
    (told / "ready").unlink()
    found = await place.wait("exec", lambda p: not is_ready(p), "it is not Ready any more")
    assert status_of(found)["started"]
    assert restarts(found) == 0


async def test_a_container_that_is_not_alive_is_started_again(
    place: Place, told: Path, container_engine: ContainerEngine
) -> None:
    # What stands in a container's own files is gone when it is started again.
    alive = shell("test ! -e /tmp/dead || { echo dead; exit 1; }", failureThreshold=2)
    never = shell("echo no; exit 1", failureThreshold=1)
    await place.create(
        probed(place, told, "living", livenessProbe=alive),
        probed(place, told, "unborn", startupProbe=never),
    )
    found = await place.ready("living")
    before = status_of(found)["containerID"]
    await run(container_engine, found, "touch /tmp/dead")
    found = await place.wait("living", lambda p: restarts(p) == 1, "it is started again")
    assert last_end(found)["containerID"] == before
    assert last_end(found)["exitCode"] == 0  # it obeyed
    assert status_of(await place.ready("living"))["containerID"] != before
    await place.event(found, "Unhealthy", "Liveness probe failed: dead")
    killing = await place.event(found, "Killing")
    assert killing["message"] == "Container c failed liveness probe, will be restarted"

    unborn = await place.wait("unborn", lambda p: restarts(p) >= 1, "it is started again")
    await place.event(unborn, "Killing", "Container c failed startup probe, will be restarted")
    assert not is_ready(unborn)
    await place.wait(
        "unborn",
        lambda p: state_of(p, "waiting").get("reason") == "CrashLoopBackOff",
        "it is held back",
    )


async def test_nobody_asks_whether_a_container_lives_before_it_has_started(
    place: Place, told: Path
) -> None:
    startup = shell("echo >> /told/startup; test -e /told/started", failureThreshold=100)
    liveness = shell("echo >> /told/liveness")
    readiness = shell("echo >> /told/readiness")
    await place.create(
        probed(
            place,
            told,
            "slow",
            startupProbe=startup,
            livenessProbe=liveness,
            readinessProbe=readiness,
        )
    )
    asked = told / "startup"
    await until(
        lambda: asked.exists() and len(asked.read_text()) > 3, "it is asked whether it has started"
    )
    found = await place.wait("slow", lambda p: state_of(p, "running"), "it runs")
    assert not status_of(found)["started"]
    assert not (told / "liveness").exists()
    assert not (told / "readiness").exists()
    (told / "started").touch()
    found = await place.ready("slow")
    assert status_of(found)["started"]
    assert (told / "readiness").exists()
    await until((told / "liveness").exists, "it is asked whether it lives")
    assert restarts(found) == 0


class Named:
    """Has the name of a gRPC service; the pod's probe asks for it."""

    def __mapping__(self) -> Object:
        return {"/named/Method": None}


async def test_a_pod_is_ready_while_its_grpc_server_says_that_it_serves(place: Place) -> None:
    health = ServiceStatus()
    port = free_ports(1)[0]
    server = Server([Health({Named(): [health]})])
    await server.start("0.0.0.0", port)  # noqa: S104 - the node's address is asked, whichever it is
    try:
        probe = {"grpc": {"port": port, "service": "named"}, "periodSeconds": 1}
        await place.create(
            place.pod(
                "grpc",
                OBEY,
                hostNetwork=True,
                container={"readinessProbe": probe, "ports": [{"containerPort": port}]},
            )
        )
        found = await place.wait("grpc", lambda p: status_of(p).get("started"), "it runs")
        assert not is_ready(found)
        await place.event(found, "Unhealthy", "Readiness probe failed: ")
        health.set(True)
        await place.ready("grpc")
        health.set(False)
        await place.event(found, "Unhealthy", "service unhealthy (responded with")
        await place.wait("grpc", lambda p: not is_ready(p), "it is not Ready any more")
    finally:
        server.close()
        await server.wait_closed()
