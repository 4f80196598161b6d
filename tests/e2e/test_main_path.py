"""Pods, ConfigMaps and Secrets on their way to an edge, and status on its way back.

Real: control plane, cloudcore and edgecore as processes, TLS, SQLite, the pods' processes, signals
and kills. The link can be cut by a proxy. Nothing is faked.
"""

import asyncio
import os
import signal
from functools import partial
from pathlib import Path

from deploy.devcluster.api import Api, Object
from deploy.devcluster.daemons import CloudCore
from deploy.devcluster.site import Edge, is_ready, log_lines, restarts, until
from tests.e2e.conftest import Join, pod

FOREVER = "while true; do sleep 0.1; done"
# Kubernetes makes one dollar of two, so four of them are the shell's own process id.
READ_GREETING = """
while true; do
  echo "pid $$$$ reads $(cat "${CLOUDEDGE_VOLUME_GREETING:-/etc/greeting}/text")"
  sleep 0.05
done
"""


def greeting(text: str) -> Object:
    return {"metadata": {"name": "greeting"}, "data": {"text": text}}


def reader(name: str, node: str) -> Object:
    return pod(
        name,
        node,
        script=READ_GREETING,
        container={"volumeMounts": [{"name": "greeting", "mountPath": "/etc/greeting"}]},
        volumes=[{"name": "greeting", "configMap": {"name": "greeting"}}],
    )


def paths(namespace: str) -> tuple[str, str]:
    base = f"/api/v1/namespaces/{namespace}"
    return f"{base}/pods", f"{base}/configmaps"


async def run_reader(
    api: Api, edge: Edge, namespace: str, text: str, name: str = "web"
) -> tuple[Object, int]:
    """Run a pod that prints ``text`` from a ConfigMap; return it and the process that prints."""
    pods, configmaps = paths(namespace)
    if await api.get(f"{configmaps}/greeting") is None:
        await api.create(configmaps, greeting(text))
    await api.create(pods, reader(name, edge.daemon.node))
    found = await ready(api, pods, name)
    return found, pid_of(await prints(edge, found, text))


async def ready(api: Api, pods: str, name: str, **timeout: float) -> Object:
    found = await api.wait(
        f"{pods}/{name}", lambda p: p is not None and is_ready(p), "the pod is Ready", **timeout
    )
    assert found is not None
    return found


def last_line(edge: Edge, found: Object) -> str:
    lines = log_lines(edge.daemon.data_dir, found)
    return lines[-1].partition(" F ")[2] if lines else ""


async def prints(edge: Edge, found: Object, text: str) -> str:
    await until(lambda: text in last_line(edge, found), f"the pod prints {text!r}")
    return last_line(edge, found)


def pid_of(line: str) -> int:
    return int(line.split()[1])


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def test_of_a_hundred_quick_updates_the_edge_ends_on_the_last(
    api: Api, join: Join, namespace: str
) -> None:
    edge = await join()
    _, configmaps = paths(namespace)
    found, _ = await run_reader(api, edge, namespace, "start")
    for number in range(100):
        await api.patch(f"{configmaps}/greeting", {"data": {"text": f"update {number}"}})
    await prints(edge, found, "update 99")
    newest = await api.get(f"{configmaps}/greeting")
    assert newest is not None
    await until(
        lambda: (
            edge.daemon.stored("configmap").get(f"{namespace}/greeting")
            == newest["metadata"]["resourceVersion"]
        ),
        "the edge-store holds the last version",
    )


async def test_a_pod_that_names_a_missing_configmap_waits_and_starts_when_it_is_created(
    api: Api, join: Join, namespace: str
) -> None:
    edge = await join()
    pods, configmaps = paths(namespace)
    await api.create(pods, reader("web", edge.daemon.node))
    waiting = await api.wait(
        f"{pods}/web",
        lambda p: p is not None and "greeting" in str(p["status"].get("containerStatuses", "")),
        "the pod says that it waits for the ConfigMap",
    )
    assert waiting is not None
    assert not is_ready(waiting)
    assert waiting["status"]["phase"] == "Pending"
    await api.create(configmaps, greeting("there at last"))
    found = await ready(api, pods, "web")
    await prints(edge, found, "there at last")


async def test_a_missing_variable_is_told_and_a_created_secret_starts_the_pod(
    api: Api, join: Join, namespace: str
) -> None:
    edge = await join()
    pods, _ = paths(namespace)
    variable = {
        "name": "PASSWORD",
        "valueFrom": {"secretKeyRef": {"name": "login", "key": "password"}},
    }
    script = 'while true; do echo "letters: ${#PASSWORD}"; sleep 0.1; done'
    await api.create(
        pods, pod("web", edge.daemon.node, script=script, container={"env": [variable]})
    )
    await api.wait(
        f"{pods}/web",
        lambda p: (
            p is not None
            and "CreateContainerConfigError" in str(p["status"].get("containerStatuses", ""))
        ),
        "the pod says CreateContainerConfigError",
    )
    await api.create(
        f"/api/v1/namespaces/{namespace}/secrets",
        {"metadata": {"name": "login"}, "stringData": {"password": "12345"}},
    )
    found = await ready(api, pods, "web")
    await prints(edge, found, "letters: 5")


async def test_after_a_sigkill_with_the_cloud_down_the_edge_has_its_pods_and_touches_none(
    api: Api, cloud: CloudCore, join: Join, namespace: str
) -> None:
    edge = await join()
    pods, _ = paths(namespace)
    kept, kept_pid = await run_reader(api, edge, namespace, "from the store", "kept")
    killed, killed_pid = await run_reader(api, edge, namespace, "from the store", "killed")

    await cloud.stop()
    edge.daemon.kill()
    os.kill(killed_pid, signal.SIGKILL)
    await edge.daemon.start()

    await until(
        lambda: pid_of(last_line(edge, killed)) != killed_pid,
        "the pod that died while nobody watched is restarted from the store",
    )
    assert pid_of(last_line(edge, kept)) == kept_pid
    assert is_alive(kept_pid)

    await cloud.start()
    await api.wait(
        f"{pods}/killed",
        lambda p: p is not None and is_ready(p) and restarts(p) == 1,
        "the API server knows of the restart",
    )
    untouched = await ready(api, pods, "kept")
    assert restarts(untouched) == 0
    assert untouched["metadata"]["uid"] == kept["metadata"]["uid"]
    assert is_alive(kept_pid)


async def test_a_restart_of_cloudcore_touches_nothing_that_runs(
    api: Api, cloud: CloudCore, join: Join, namespace: str
) -> None:
    edge = await join()
    pods, configmaps = paths(namespace)
    found, pid = await run_reader(api, edge, namespace, "steady")
    await cloud.restart()
    # That the edge is served again shows that it has reconnected and resynced.
    await api.patch(f"{configmaps}/greeting", {"data": {"text": "still steady"}})
    line = await prints(edge, found, "still steady")
    assert pid_of(line) == pid
    assert restarts(await ready(api, pods, "web")) == 0


async def test_a_deletion_while_the_edge_is_offline_is_carried_out_on_its_return(
    api: Api, join: Join, namespace: str
) -> None:
    edge = await join()
    pods, _ = paths(namespace)
    pids = [
        (await run_reader(api, edge, namespace, "bye", name))[1] for name in ("graceful", "forced")
    ]
    edge.cut()
    await api.delete(f"{pods}/graceful")
    await api.delete(f"{pods}/forced", grace_s=0)
    assert await api.get(f"{pods}/forced") is None
    assert all(map(is_alive, pids))
    edge.mend()
    await api.wait(f"{pods}/graceful", lambda p: p is None, "the pod is gone from the API")
    await until(lambda: not any(map(is_alive, pids)), "the processes have ended")
    await until(lambda: not edge.daemon.stored("pod"), "the edge-store has no pod")
    await until(lambda: not edge.daemon.stored("configmap"), "nor a ConfigMap that none names")


async def test_a_damaged_edge_store_is_filled_again_and_no_container_is_touched(
    api: Api, join: Join, namespace: str
) -> None:
    edge = await join()
    pods, configmaps = paths(namespace)
    found, pid = await run_reader(api, edge, namespace, "kept")
    held = edge.daemon.stored("pod")
    await edge.daemon.stop()
    (edge.daemon.data_dir / "edge-store.db").write_bytes(b"not a database" * 1000)
    await edge.daemon.start()
    await until(lambda: edge.daemon.stored("pod").keys() == held.keys(), "the pod is stored again")
    # That it is served again shows that edged has taken the pod up.
    await api.patch(f"{configmaps}/greeting", {"data": {"text": "still kept"}})
    assert pid_of(await prints(edge, found, "still kept")) == pid
    assert restarts(await ready(api, pods, "web")) == 0


async def test_two_edges_never_see_each_others_secrets(
    api: Api, join: Join, namespace: str
) -> None:
    one, other = await join(), await join()
    pods, _ = paths(namespace)
    secrets = f"/api/v1/namespaces/{namespace}/secrets"
    for name, edge in (("mine", one), ("yours", other)):
        await api.create(
            secrets, {"metadata": {"name": name}, "stringData": {"password": f"{name} 1"}}
        )
        env_from = [{"secretRef": {"name": name}}]
        await api.create(
            pods, pod(name, edge.daemon.node, script=FOREVER, container={"envFrom": env_from})
        )
        await ready(api, pods, name)
    for name in ("mine", "yours"):
        await api.patch(f"{secrets}/{name}", {"stringData": {"password": f"{name} 2"}})
    for name, edge in (("mine", one), ("yours", other)):
        newest = await api.get(f"{secrets}/{name}")
        assert newest is not None
        wanted = {f"{namespace}/{name}": newest["metadata"]["resourceVersion"]}
        await until(
            partial(_holds_secrets, edge, wanted), f"{edge.daemon.node} holds its own Secret only"
        )
    for name, edge in (("yours", one), ("mine", other)):
        assert files_with(edge, f"{name} ".encode()) == []


def files_with(edge: Edge, text: bytes) -> list[Path]:
    """Return the edge's files in which ``text`` stands, while the edge does nothing."""
    with edge.daemon.frozen():  # else files go before they are read
        files = [file for file in edge.daemon.data_dir.rglob("*") if file.is_file()]
        assert files
        return [file for file in files if text in file.read_bytes()]


def _holds_secrets(edge: Edge, wanted: dict[str, str]) -> bool:
    return edge.daemon.stored("secret") == wanted


async def test_a_pod_whose_process_dies_is_restarted_while_the_link_is_cut(
    api: Api, join: Join, namespace: str
) -> None:
    edge = await join()
    pods, configmaps = paths(namespace)
    found, pid = await run_reader(api, edge, namespace, "offline")
    edge.cut()
    os.kill(pid, signal.SIGKILL)
    await until(lambda: pid_of(last_line(edge, found)) != pid, "the edge restarts it alone")
    await api.patch(f"{configmaps}/greeting", {"data": {"text": "changed meanwhile"}})
    edge.mend()
    await prints(edge, found, "changed meanwhile")
    await api.wait(
        f"{pods}/web",
        lambda p: p is not None and is_ready(p) and restarts(p) == 1,
        "the API server knows of the restart",
    )


async def test_a_pod_that_is_replaced_under_its_name_ends_before_the_new_one_starts(
    api: Api, join: Join, namespace: str
) -> None:
    edge = await join()
    pods, _ = paths(namespace)
    first, first_pid = await run_reader(api, edge, namespace, "first")
    edge.cut()
    await api.delete(f"{pods}/web", grace_s=0)
    await api.create(pods, reader("web", edge.daemon.node))
    edge.mend()
    second = await ready(api, pods, "web")
    assert second["metadata"]["uid"] != first["metadata"]["uid"]
    assert pid_of(await prints(edge, second, "first")) != first_pid
    assert not is_alive(first_pid)


async def test_many_pods_on_many_edges_run_and_go(api: Api, join: Join, namespace: str) -> None:
    edges = [await join(runtime="hollow") for _ in range(3)]
    pods, _ = paths(namespace)
    async with asyncio.TaskGroup() as group:
        for number in range(30):
            edge = edges[number % 3]
            group.create_task(api.create(pods, pod(f"p{number}", edge.daemon.node, script=FOREVER)))
    await api.wait(
        pods,
        lambda found: found is not None and all(map(is_ready, found["items"])),
        "all pods are Ready",
    )
    async with asyncio.TaskGroup() as group:
        for number in range(30):
            group.create_task(api.delete(f"{pods}/p{number}"))
    await api.wait(pods, lambda found: found is not None and not found["items"], "no pod is left")
    await until(lambda: not any(edge.daemon.stored("pod") for edge in edges), "no store has a pod")
