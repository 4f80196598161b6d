"""Static pods: manifests in a folder, with and without a cloud, and how the cluster sees them.

Real: control plane, cloudcore, edgecore, containerd and its containers. Nothing is faked but a link
that is cut.
"""

import json
from contextlib import suppress
from pathlib import Path

from deploy.devcluster.api import Api, Object
from deploy.devcluster.containerd import ContainerEngine
from deploy.devcluster.sandboxes import sandboxes
from deploy.devcluster.site import Edge, is_ready, until, whole_lines
from tests.e2e.conftest import Join
from tests.e2e.podchecks import OBEY, Place

MIRROR = "kubernetes.io/config.mirror"


def manifest(namespace: str, says: str) -> str:
    script = f"echo {says} $POD_UID; {OBEY}"
    variable = {"name": "POD_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}
    container = {"name": "c", "image": "busybox", "imagePullPolicy": "Never", "env": [variable]}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "local", "namespace": namespace, "labels": {"app": "local"}},
            "spec": {
                "terminationGracePeriodSeconds": 1,
                "containers": [{**container, "command": ["/bin/sh", "-c", script]}],
            },
        }
    )


def printed(edge: Edge) -> list[str]:
    """Return what static pods have printed, in any order."""
    lines: list[str] = []
    for folder in (edge.daemon.data_dir / "pod-logs").glob("*_local-*"):
        # It may be removed while we look.
        with suppress(FileNotFoundError):
            logs = [log.read_text() for log in sorted((folder / "c").glob("*.log"))]
            lines += [line for log in logs for line in whole_lines(log)]
    return [line.split(" ", 3)[3] for line in lines]


def container_id(found: Object) -> str:
    return str(found["status"]["containerStatuses"][0]["containerID"])


async def test_a_manifest_runs_without_a_cloud_and_is_shown_as_a_mirror_as_long_as_it_is_there(
    api: Api, join: Join, container_engine: ContainerEngine, namespace: str, tmp_path: Path
) -> None:
    folder = tmp_path / "manifests"
    folder.mkdir()
    edge = await join(runtime="cri", options=(f"--static-pods-dir={folder}",))
    place, name = Place(api, edge, namespace), f"local-{edge.daemon.node}"
    file = folder / "local.yaml"

    edge.cut()
    file.write_text(manifest(namespace, "first"))
    await until(lambda: len(printed(edge)) == 1, "it runs without a cloud")
    assert await api.get(f"{place.pods}/{name}") is None

    edge.mend()
    mirror = await place.ready(name)
    assert mirror["metadata"]["annotations"][MIRROR]
    assert mirror["metadata"]["ownerReferences"][0]["kind"] == "Node"
    assert mirror["spec"]["nodeName"] == edge.daemon.node
    # Its own UID is not that of the mirror, which came after it.
    assert mirror["metadata"]["uid"] not in printed(edge)[0]

    await api.delete(f"{place.pods}/{name}")
    again = await place.wait(
        name,
        lambda p: p["metadata"]["uid"] != mirror["metadata"]["uid"] and is_ready(p),
        "another mirror has come",
    )
    assert container_id(again) == container_id(mirror)

    await edge.daemon.restart()
    file.with_name("other.yaml").write_text("kind: [")  # which harms no other
    await api.delete(f"{place.pods}/{name}")
    after = await place.wait(
        name,
        lambda p: p["metadata"]["uid"] != again["metadata"]["uid"] and is_ready(p),
        "the new edgecore has made a mirror",
    )
    assert container_id(after) == container_id(mirror)
    assert len(printed(edge)) == 1
    file.with_name("other.yaml").unlink()

    file.write_text(manifest(namespace, "second"))
    changed = await place.wait(
        name,
        lambda p: is_ready(p) and container_id(p) != container_id(mirror),
        "another pod has taken its place",
    )
    assert changed["metadata"]["annotations"][MIRROR] != mirror["metadata"]["annotations"][MIRROR]
    await until(lambda: any("second" in line for line in printed(edge)), "it says the new word")
    assert len(await sandboxes(container_engine.endpoint)) == 1

    file.unlink()
    await place.gone(name)
    await until(lambda: not printed(edge), "its log is gone with it")
    assert not await sandboxes(container_engine.endpoint)
