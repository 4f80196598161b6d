"""Nodes join, lose their disk, lose their Node, and are refused.

Real: control plane, cloudcore and edgecore as processes, TLS, enrolment. Nothing is faked.
"""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from deploy.devcluster.api import Api
from deploy.devcluster.daemons import CloudCore
from deploy.devcluster.site import is_ready, name_of, restarts, running_edge, until
from tests.e2e.conftest import Join, pod

FOREVER = "while true; do sleep 0.1; done"


async def test_a_machine_that_lost_its_disk_needs_a_token_that_is_bound_to_its_name(
    api: Api, cloud: CloudCore, join: Join, namespace: str, tmp_path: Path
) -> None:
    edge = await join()
    node, pods = edge.daemon.node, f"/api/v1/namespaces/{namespace}/pods"
    await api.create(pods, pod("web", node, script=FOREVER))
    await api.wait(f"{pods}/web", lambda p: p is not None and is_ready(p), "the pod is Ready")
    edge.daemon.dispose()
    shutil.rmtree(edge.daemon.data_dir)

    async with running_edge(node, cloud, tmp_path / "plain", token=await cloud.token()) as plain:
        fix = f"cloudcore token create --node-name {node}"
        await until(lambda: fix in plain.daemon.log.read_text(), "the log tells the fix")
        assert not plain.daemon.stored("pod")

    bound = await cloud.token(node)
    async with running_edge(node, cloud, tmp_path / "bound", token=bound) as again:
        await until(lambda: bool(again.daemon.stored("pod")), "the pod is stored again")
        await until(lambda: bool(again.daemon.processes()), "and runs again")
        assert bound.rpartition(".")[2] not in again.daemon.log.read_text()


async def test_an_edge_of_another_cluster_keeps_its_pods_until_it_is_told_to_change_over(
    api: Api, cloud: CloudCore, join: Join, namespace: str
) -> None:
    """Promise P11; what the edge remembers makes the cluster another one."""
    edge = await join()
    node, pods = edge.daemon.node, f"/api/v1/namespaces/{namespace}/pods"
    await api.create(pods, pod("web", node, script=FOREVER))
    await api.wait(f"{pods}/web", lambda p: p is not None and is_ready(p), "the pod is Ready")
    running = edge.daemon.processes()
    await edge.daemon.stop()
    with closing(sqlite3.connect(edge.daemon.data_dir / "edge-store.db")) as store:
        store.execute("UPDATE state SET value = 'another' WHERE key = 'cluster'")
        store.commit()
    await api.delete(f"{pods}/web", grace_s=0)

    await edge.daemon.start()
    kube_system = await api.get("/api/v1/namespaces/kube-system")
    assert kube_system is not None
    accept = f"--accept-cluster {kube_system['metadata']['uid']}"
    await until(lambda: accept in edge.daemon.log.read_text(), "the log tells what to do")
    assert edge.daemon.stored("pod")
    assert edge.daemon.processes() == running
    await edge.daemon.stop()

    async with running_edge(
        node,
        cloud,
        edge.daemon.data_dir,
        token="",
        options=("--runtime=process", accept.replace(" ", "=")),
    ) as again:
        await until(lambda: not again.daemon.stored("pod"), "the edge has the cluster's pods: none")
        assert again.daemon.state("cluster") == kube_system["metadata"]["uid"]


async def test_a_token_of_another_name_is_refused(
    cloud: CloudCore, namespace: str, tmp_path: Path
) -> None:
    del namespace
    token = await cloud.token("somebody-else")
    async with running_edge("imposter", cloud, tmp_path / "imposter", token=token) as edge:
        why = "the token is bound to somebody-else, not imposter"
        await until(lambda: why in edge.daemon.log.read_text(), "the log tells why")


async def test_a_node_that_is_deleted_registers_again_and_no_pod_is_touched(
    api: Api, join: Join, namespace: str
) -> None:
    edge = await join()
    node, pods = f"/api/v1/nodes/{edge.daemon.node}", f"/api/v1/namespaces/{namespace}/pods"
    await api.create(pods, pod("web", edge.daemon.node, script=FOREVER))
    before = await api.wait(
        f"{pods}/web", lambda p: p is not None and is_ready(p), "the pod is Ready"
    )
    first = await api.get(node)
    assert first is not None
    assert before is not None
    processes = edge.daemon.processes()
    await api.delete(node)
    await api.wait(
        node,
        lambda n: (
            n is not None and n["metadata"]["uid"] != first["metadata"]["uid"] and is_ready(n)
        ),
        "there is a new Node, and it is Ready",
    )
    await api.create(pods, pod("second", edge.daemon.node, script=FOREVER))
    await api.wait(f"{pods}/second", lambda p: p is not None and is_ready(p), "it gets new pods")
    after = await api.get(f"{pods}/web")
    assert after is not None
    assert (name_of(after), restarts(after)) == ("web", 0)
    assert set(processes) <= set(edge.daemon.processes())


async def test_a_node_without_the_edge_label_is_not_taken_over(
    api: Api, cloud: CloudCore, tmp_path: Path
) -> None:
    node = "not-an-edge"
    await api.create("/api/v1/nodes", {"metadata": {"name": node}})
    try:
        token = await cloud.token(node)
        async with running_edge(node, cloud, tmp_path / node, token=token) as edge:
            label = "node-role.kubernetes.io/edge="
            await until(lambda: label in edge.daemon.log.read_text(), "the log tells the fix")
            found = await api.get(f"/api/v1/nodes/{node}")
            assert found is not None
            assert "labels" not in found["metadata"]
    finally:
        await api.delete(f"/api/v1/nodes/{node}")
