"""A container engine that dies, refuses or was another's before, and a disk that is full.

Real: control plane, cloudcore, edgecore, containerd with runc, kills of all of them, a small file
system that is filled. What an earlier kubelet left is made by bare CRI calls, as it would.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.devcluster import machine
from deploy.devcluster.api import Api, Object
from deploy.devcluster.containerd import ContainerEngine
from deploy.devcluster.site import is_ready, until
from tests.e2e.conftest import Join
from tests.e2e.engineview import engine_view
from tests.e2e.podchecks import OBEY, WAIT_S, Place, conditions, state_of, status_of

pytestmark = pytest.mark.timeout(240)

CONFIG_BYTES = 200 * 1024


async def test_a_dead_engine_is_told_by_the_node_and_survived_by_all_pods(
    container_engine: ContainerEngine, api: Api, join: Join, namespace: str
) -> None:
    edge = await join(runtime="cri")
    place = Place(api, edge, namespace)
    await place.create(place.pod("kept", OBEY))
    await place.ready("kept")
    edgecore = edge.daemon.pid
    async with engine_view(container_engine) as view:
        before = await view.processes()
        # It dies under edgecore.
        container_engine.kill()
        await node_says(place, "False", "container runtime is down")
        await place.create(place.pod("meanwhile", OBEY))
        await container_engine.start()
        await node_says(place, "True")
        await place.ready("meanwhile")
        assert edge.daemon.pid == edgecore, "edgecore was not restarted"
        # It is dead when edgecore starts.
        container_engine.kill()
        await edge.daemon.restart()
        await node_says(place, "False", "container runtime is down")
        assert is_ready(await place.ready("kept")), "what is not known is not told"
        await place.create(place.pod("later", OBEY))
        await container_engine.start()
        await node_says(place, "True")
        await place.ready("later")
        after = await view.processes()
    assert before.items() <= after.items(), "the containers and processes are the same"
    for name in ("kept", "meanwhile"):
        assert status_of(await place.ready(name))["restartCount"] == 0


async def test_restarts_of_edgecore_and_of_the_engine_touch_nothing_that_runs(
    container_engine: ContainerEngine, api: Api, join: Join, namespace: str
) -> None:
    edge = await join(runtime="cri")
    place = Place(api, edge, namespace)
    first = {"name": "first", "image": "busybox", "command": ["/bin/true"]}
    sidecar = {**first, "name": "sidecar", "command": ["/bin/sh", "-c", OBEY]}
    inits = [first, sidecar | {"restartPolicy": "Always"}]
    await place.create(
        place.pod("plain", OBEY),
        place.pod("many", OBEY, initContainers=inits),
        place.pod("deleted", OBEY),
    )
    kept = [await place.ready(name) for name in ("plain", "many")]
    await place.ready("deleted")
    async with engine_view(container_engine) as view:
        before = await view.processes()
        edge.daemon.kill()
        container_engine.kill()
        await container_engine.start()
        await api.delete(f"{place.pods}/deleted", grace_s=0)
        stranger = place.pod("stranger", OBEY)
        stranger["metadata"] |= {"namespace": namespace, "uid": "uid-of-nobody"}
        await view.run_as_kubelet(stranger, edge.daemon.data_dir / "pod-logs")

        await edge.daemon.start()
        uids = sorted(found["metadata"]["uid"] for found in kept)
        await view.until(
            lambda look: sorted(s.uid for s in look.sandboxes) == uids,
            "what the edge-store does not know is removed",
        )
        await edge.daemon.restart()
        await container_engine.stop()
        await container_engine.start()
        # That it ends a pod shows that it has looked at all of them.
        await place.create(place.pod("last", OBEY))
        await place.ready("last")
        await api.delete(f"{place.pods}/last")
        await place.gone("last")
        after = await view.processes()
    assert after.items() <= before.items(), "the containers and processes are the same"
    assert len(after) == len(before) - 2, "of the pod that was deleted nothing runs"
    for name, container in (("plain", "c"), ("many", "c"), ("many", "sidecar")):
        status = status_of(await place.ready(name), container)
        assert status["restartCount"] == 0, status


async def test_what_a_kubelet_left_running_is_taken_over_as_it_is(
    container_engine: ContainerEngine, api: Api, join: Join, namespace: str
) -> None:
    edge = await join(runtime="cri")
    place = Place(api, edge, namespace)
    await edge.daemon.stop()
    await place.create(place.pod("heir", OBEY))
    pod = await api.get(f"{place.pods}/heir")
    assert pod is not None
    async with engine_view(container_engine) as view:
        container_id = await view.run_as_kubelet(pod, edge.daemon.data_dir / "pod-logs")
        before = await view.processes()
        await edge.daemon.start()
        found = await place.ready("heir")
        assert status_of(found)["containerID"] == f"containerd://{container_id}"
        assert status_of(found)["restartCount"] == 0
        assert found["status"]["podIP"]
        assert await view.processes() == before
        await api.delete(f"{place.pods}/heir")
        await place.gone("heir")


@pytest.mark.usefixtures("container_engine")
async def test_what_the_engine_refuses_is_told_in_its_words(
    api: Api, join: Join, namespace: str
) -> None:
    place = Place(api, await join(runtime="cri"), namespace)
    bad_ports = [{"name": "net.ipv4.ip_local_port_range", "value": "no number"}]
    device = {"name": "device", "hostPath": {"path": "/dev/not-there", "type": "CharDevice"}}
    version = await api.version(place.pods)
    await place.create(
        place.pod("sysctl", OBEY, securityContext={"sysctls": bad_ports}),
        place.pod("command", OBEY, container={"command": ["/bin/not-there"]}),
        place.pod("user", OBEY, container={"image": "named", "workingDir": "/etc/passwd"}),
        place.pod(
            "device",
            OBEY,
            volumes=[device],
            container={"volumeMounts": [{"name": "device", "mountPath": "/dev/there"}]},
        ),
    )

    words = "ip_local_port_range"
    found = await place.wait("sysctl", lambda p: words in str(p["status"]), "it says why")
    [condition] = [
        c for c in found["status"]["conditions"] if c["type"] == "PodReadyToStartContainers"
    ]
    assert condition["status"] == "False"
    assert words in condition["message"]
    await place.event(found, "FailedCreatePodSandBox", words)

    # Before it is held back for having failed again, a second later.
    found = await place.first(version, "command", cannot_run, "it says why")
    told = state_of(found, "waiting")
    assert "not-there" in told["message"]
    assert "no such file" in told["message"], told
    await place.event(found, "Failed", "no such file")

    found = await place.first(version, "user", cannot_run, "it says why")
    words = "not a directory"
    assert words in state_of(found, "waiting")["message"], found["status"]
    await place.event(found, "Failed", words)

    found = await place.wait("device", lambda p: "hostPath" in str(p["status"]), "it says why")
    await place.event(found, "FailedMount", "/dev/not-there is not a character device")
    assert conditions(found)["Ready"] == "False"


@pytest.mark.usefixtures("container_engine")
async def test_a_full_disk_is_told_and_what_waited_for_room_goes_on_by_itself(
    api: Api, join: Join, namespace: str, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "volumes") as disk:
        edge = await join(runtime="cri", options=(f"--root-dir={disk}",))
        place = Place(api, edge, namespace)
        edgecore = edge.daemon.pid
        data = {"data": {"text": "x" * CONFIG_BYTES}}
        await api.create(f"{place.base}/configmaps", {"metadata": {"name": "large"}, **data})
        await place.create(reader(place, "before"))
        await place.ready("before")
        fill(disk)
        await place.create(reader(place, "waits"))
        found = await place.wait("waits", lambda p: "No space left" in str(p["status"]), "why")
        assert state_of(found, "waiting")["reason"] == "ContainerCreating"
        await place.event(found, "FailedMount", "No space left on device")
        assert is_ready(await place.ready("before"))
        (disk / "ballast").unlink()
        await place.ready("waits")
        assert edge.daemon.pid == edgecore
        assert status_of(await place.ready("before"))["restartCount"] == 0
        for name in ("before", "waits"):
            await api.delete(f"{place.pods}/{name}")
            await place.gone(name)


@pytest.mark.usefixtures("container_engine")
async def test_a_full_edge_store_takes_nothing_in_until_there_is_room(
    api: Api, join: Join, namespace: str
) -> None:
    edge = await join(runtime="cri")
    place = Place(api, edge, namespace)
    await edge.daemon.stop()
    data_dir = edge.daemon.data_dir
    moved = data_dir.rename(data_dir.with_name("moved"))
    with small_disk(data_dir) as disk:
        shutil.copytree(moved, disk, dirs_exist_ok=True)
        await edge.daemon.start()
        edgecore = edge.daemon.pid
        await place.create(place.pod("before", OBEY))
        await place.ready("before")
        fill(disk)
        await place.create(*(place.pod(f"new-{number}", OBEY) for number in range(3)))
        log = edge.daemon.log
        await until(
            lambda: "messages cannot be stored" in log.read_text(), "it says that it is full"
        )
        assert is_ready(await place.ready("before"))
        (disk / "ballast").unlink()
        for number in range(3):
            await place.ready(f"new-{number}")
        assert edge.daemon.pid == edgecore
        assert status_of(await place.ready("before"))["restartCount"] == 0
        for name in ("before", *(f"new-{number}" for number in range(3))):
            await api.delete(f"{place.pods}/{name}")
            await place.gone(name)
        await edge.daemon.stop()


def cannot_run(found: Object) -> bool:
    """Whether the engine has refused to start the pod's container."""
    return bool(state_of(found, "waiting").get("reason") == "RunContainerError")


async def node_says(place: Place, status: str, words: str = "") -> None:
    """Return once the Node's condition Ready is ``status``, for a reason with these words."""

    def holds(node: Object | None) -> bool:
        found = (node or {})["status"]["conditions"]
        ready = next(c for c in found if c["type"] == "Ready")
        return bool(ready["status"] == status and words in ready["message"])

    what = f"Ready={status} {words}"
    await place.api.wait(f"/api/v1/nodes/{place.node}", holds, what, timeout_s=WAIT_S)


def reader(place: Place, name: str) -> Object:
    """Return a pod that shows a large ConfigMap to its container."""
    return place.pod(
        name,
        OBEY,
        volumes=[{"name": "large", "configMap": {"name": "large"}}],
        container={"volumeMounts": [{"name": "large", "mountPath": "/etc/large"}]},
    )


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of 8 MiB at ``folder`` while the context lasts."""
    folder.mkdir(exist_ok=True)
    machine.run("mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        machine.run("umount", "--lazy", str(folder))


def fill(disk: Path) -> None:
    """Leave no room."""
    with (disk / "ballast").open("wb", buffering=0) as ballast:
        size = 1024 * 1024
        while size:
            try:
                ballast.write(bytes(size))
            except OSError:
                size //= 2
