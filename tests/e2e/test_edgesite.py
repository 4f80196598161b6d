"""An EdgeSite: one process with an API server of its own, and what the demo shows of two daemons.

Real: control plane, the site's daemon as a process, SQLite, the pods' processes, signals and kills.
The way to the API server can be cut by a proxy. Nothing is faked.
"""

import base64
import itertools
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus
from pathlib import Path

import pytest
import yaml

from cloudcore.kube.client import KubeClient
from common.errors import RemoteError
from common.names import NodeID
from deploy.devcluster import credentials
from deploy.devcluster.api import Api, Object
from deploy.devcluster.controlplane import ControlPlane
from deploy.devcluster.daemons import EdgeSite, process_with
from deploy.devcluster.link import Link
from deploy.devcluster.site import is_ready, log_lines, restarts, until
from tests.e2e.conftest import Join, pod

pytestmark = pytest.mark.timeout(180)

MANIFEST = Path(__file__).parents[2] / "deploy" / "edgesite" / "rbac.yaml"
LIMIT_S = 60.0
# A process finds its volume by a variable. Each run has an id of its own.
GREETER = """
read run < /proc/sys/kernel/random/uuid
while true; do
  text=$(cat "${CLOUDEDGE_VOLUME_GREETING}/text")
  echo "run ${run%%-*} says: $text (password of ${#PASSWORD} letters)"
  sleep 0.1
done
"""

_numbers = itertools.count(1)


class Story:
    """A site, and what a user does on its API server."""

    def __init__(self, api: Api, namespace: str, site: EdgeSite, link: Link) -> None:
        self.api, self.site, self.link = api, site, link
        self.namespace = namespace
        self.base = f"/api/v1/namespaces/{namespace}"

    async def apply(self, *names: str) -> None:
        """Make a ConfigMap and a Secret, and pods that read both."""
        await self.api.create(f"{self.base}/configmaps", greeting("hello"))
        secret = {"metadata": {"name": "login"}, "stringData": {"password": "open-sesame"}}
        await self.api.create(f"{self.base}/secrets", secret)
        for name in names:
            await self.api.create(f"{self.base}/pods", self.greeter(name))
        for name in names:
            await self.ready(name)

    def greeter(self, name: str) -> Object:
        password = {"secretKeyRef": {"name": "login", "key": "password"}}
        container = {
            "env": [
                {"name": "PASSWORD", "valueFrom": password},
                {"name": "MARK", "value": self.mark(name)},
            ],
            "volumeMounts": [{"name": "greeting", "mountPath": "/etc/greeting"}],
        }
        volumes = [{"name": "greeting", "configMap": {"name": "greeting"}}]
        return pod(name, self.site.node, script=GREETER, container=container, volumes=volumes)

    async def say(self, text: str) -> None:
        await self.api.patch(f"{self.base}/configmaps/greeting", {"data": {"text": text}})

    async def ready(self, name: str, *, after: int = 0) -> Object:
        """Return the pod once it is Ready after so many restarts."""
        found = await self.api.wait(
            f"{self.base}/pods/{name}",
            lambda one: one is not None and is_ready(one) and restarts(one) == after,
            f"{name} is Ready after {after} restarts",
            timeout_s=LIMIT_S,
        )
        assert found is not None
        return found

    async def gone(self, name: str) -> None:
        await self.api.wait(
            f"{self.base}/pods/{name}",
            lambda one: one is None,
            f"{name} is gone",
            timeout_s=LIMIT_S,
        )

    async def prints(
        self, found: Object, text: str, holds: Callable[[str], bool] = lambda _: True
    ) -> str:
        """Return which run of a pod prints ``text``, as soon as one does that fulfils ``holds``."""
        runs: list[str] = []

        def look() -> bool:
            logs = log_lines(self.site.data_dir, found)[-5:]
            lines = (line.partition(" F ")[2] for line in logs)
            runs[:] = [line.split()[1] for line in lines if text in line][-1:]
            return bool(runs) and holds(runs[0])

        await until(look, f"the pod prints {text!r}", timeout_s=LIMIT_S)
        return runs[0]

    def mark(self, name: str) -> str:
        return f"{self.namespace}-{name}"

    def process(self, name: str) -> int:
        """The process of a pod."""
        return process_with("MARK", self.mark(name))

    def runs(self, name: str) -> bool:
        try:
            self.process(name)
        except LookupError:
            return False
        return True

    async def in_step(self) -> None:
        """See that the edge-store holds the pods of the API server, and no other."""
        await self.api.wait(
            f"{self.base}/pods?fieldSelector=spec.nodeName={self.site.node}",
            # Both anew each time: a status that is told meanwhile makes another version.
            lambda found: found is not None and self.site.stored("pod") == self.versions(found),
            "it holds the same",
            timeout_s=LIMIT_S,
        )

    def versions(self, pods: Object) -> dict[str, str]:
        """Return the versions of the pods of a list, as an edge-store names them."""
        return {
            f"{self.namespace}/{one['metadata']['name']}": one["metadata"]["resourceVersion"]
            for one in pods["items"]
        }


def greeting(text: str) -> Object:
    return {"metadata": {"name": "greeting"}, "data": {"text": text}}


@asynccontextmanager
async def told(
    api: Api,
    namespace: str,
    node: str,
    server: str,
    folder: Path,
    kubeconfig: Callable[[str], Path],
) -> AsyncIterator[Story]:
    """A site whose node is Ready, behind a link; at the end nothing of it is left.

    ``kubeconfig`` gets the address of the API server.
    """
    host, _, port = server.rpartition(":")
    async with Link(int(port)) as link:
        site = EdgeSite(kubeconfig(f"{host}:{link.port}"), node, folder / "site")
        try:
            await site.start()
            await api.wait(
                f"/api/v1/nodes/{node}",
                lambda found: found is not None and is_ready(found),
                f"{node} is Ready",
                timeout_s=LIMIT_S,
            )
            yield Story(api, namespace, site, link)
            await site.stop()
        finally:
            site.dispose()
            await api.delete(f"/api/v1/nodes/{node}")


@pytest.fixture
async def story(
    control_plane: ControlPlane, api: Api, namespace: str, tmp_path: Path
) -> AsyncIterator[Story]:
    """A site that acts as the administrator."""

    def kubeconfig(server: str) -> Path:
        path = tmp_path / "site.kubeconfig"
        path.write_text(control_plane.kubeconfig.read_text().replace(control_plane.server, server))
        path.chmod(0o600)
        return path

    node = f"site-{next(_numbers)}"
    async with told(api, namespace, node, control_plane.server, tmp_path, kubeconfig) as story:
        yield story


async def test_the_scenario_of_the_demo_passes_without_a_link(story: Story) -> None:
    await story.apply("web")
    found = await story.ready("web")
    await story.prints(found, "hello (password of 11 letters)")
    await story.say("good news")
    run = await story.prints(found, "good news")

    story.link.cut()
    os.kill(story.process("web"), signal.SIGKILL)
    await story.prints(found, "good news", lambda other: other != run)
    story.link.mend()
    await story.ready("web", after=1)
    await story.in_step()

    await story.api.delete(f"{story.base}/pods/web")
    await story.gone("web")
    await until(
        lambda: not story.site.stored("pod") and not story.site.processes(),
        "nothing is left of it",
        timeout_s=LIMIT_S,
    )


async def test_the_lease_of_the_node_is_renewed(story: Story) -> None:
    path = f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{story.site.node}"
    first = await story.api.wait(path, lambda lease: lease is not None, "there is a lease")
    assert first is not None
    await story.api.wait(
        path,
        lambda lease: lease is not None and lease["spec"]["renewTime"] > first["spec"]["renewTime"],
        "it is renewed",
        timeout_s=LIMIT_S,
    )


async def test_a_stop_and_a_start_touch_no_pod(story: Story) -> None:
    await story.apply("web")
    before = story.process("web")
    await story.site.restart()
    found = await story.ready("web")
    await story.say("after the restart")
    await story.prints(found, "after the restart")
    assert story.process("web") == before
    story.site.kill()
    await story.site.start()
    await story.say("after the kill")
    await story.prints(found, "after the kill")
    assert story.process("web") == before


async def test_without_the_api_server_its_pods_start_from_the_store_and_then_it_is_in_step(
    story: Story,
) -> None:
    """P6, and P3 with what was deleted and made meanwhile."""
    await story.apply("stays", "goes")
    found = await story.ready("stays")
    story.site.kill()
    for name in ("stays", "goes"):
        os.kill(story.process(name), signal.SIGKILL)
    story.link.cut()
    await story.site.start()
    for name in ("stays", "goes"):
        await until(partial(story.runs, name), f"{name} runs", timeout_s=LIMIT_S)
    stays = story.process("stays")

    await story.api.delete(f"{story.base}/pods/goes", grace_s=0)
    await story.say("from far away")
    await story.api.create(f"{story.base}/pods", story.greeter("comes"))
    story.link.mend()

    await story.ready("comes")
    await story.prints(found, "from far away")
    await until(lambda: not story.runs("goes"), "the deleted pod has ended", timeout_s=LIMIT_S)
    assert story.process("stays") == stays
    await story.in_step()


async def test_what_was_deleted_while_it_was_down_ends_when_it_is_back(story: Story) -> None:
    await story.apply("stays", "goes")
    await story.site.stop()
    before = story.process("stays")
    await story.api.delete(f"{story.base}/pods/goes", grace_s=0)
    await story.api.delete(f"{story.base}/configmaps/greeting")
    await story.api.create(f"{story.base}/configmaps", greeting("another"))
    await story.site.start()
    await story.prints(await story.ready("stays"), "another")
    await until(lambda: not story.runs("goes"), "the deleted pod has ended", timeout_s=LIMIT_S)
    assert story.process("stays") == before
    await story.in_step()


async def test_pods_of_other_edge_nodes_are_none_of_its_business(story: Story) -> None:
    """P4, where a cloudcore, or another site, serves nodes at the same API server."""
    api, other = story.api, f"{story.site.node}-other"
    labels = {"node-role.kubernetes.io/edge": ""}
    await api.create("/api/v1/nodes", {"metadata": {"name": other, "labels": labels}})
    await api.create(f"{story.base}/pods", pod("not-ours", other, script="true"))
    await story.apply("web")
    await api.patch(f"{story.base}/pods/not-ours", {"metadata": {"annotations": {"a": "b"}}})
    await story.say("after the other")
    await story.prints(await story.ready("web"), "after the other")
    assert set(story.site.stored("pod")) == {f"{story.namespace}/web"}
    assert set(story.site.stored("node")) == {f"null/{story.site.node}"}
    await api.delete(f"/api/v1/nodes/{other}")


async def test_the_site_says_how_it_stands(story: Story) -> None:
    await story.apply("web")
    assert await story.site.metric("edgecore_connected") == 1
    assert await story.site.metric("cloudcore_messages_acknowledged_total") > 0


async def test_it_works_with_the_rights_of_the_manifest_and_reaches_no_other_node(
    control_plane: ControlPlane, api: Api, namespace: str, tmp_path: Path
) -> None:
    node = f"site-{next(_numbers)}"
    text = MANIFEST.read_text().replace("site-1", node)
    objects: list[Object] = list(yaml.safe_load_all(text))
    for one in objects:
        await api.create(f"{collection(one)}?fieldValidation=Strict", one)
    secret = await api.wait(
        f"/api/v1/namespaces/kube-system/secrets/edgesite-{node}",
        lambda one: one is not None and "token" in one.get("data", {}),
        "there is a token",
    )
    assert secret is not None
    token = base64.b64decode(secret["data"]["token"]).decode()

    def kubeconfig(server: str) -> Path:
        path = tmp_path / "site.kubeconfig"
        ca_file = control_plane.ca_file
        credentials.write_kubeconfig(path, server=server, ca_file=ca_file, user="site", token=token)
        return path

    async with told(api, namespace, node, control_plane.server, tmp_path, kubeconfig) as story:
        await story.apply("web")
        await story.say("with few rights")
        await story.prints(await story.ready("web"), "with few rights")
        log = story.site.log.read_text()
        assert [line for line in log.splitlines() if "refused" in line] == []
        await api.delete(f"{story.base}/pods/web")
        await story.gone("web")
        async with KubeClient(tmp_path / "site.kubeconfig") as client:
            with pytest.raises(RemoteError) as caught:
                await client.get("/api/v1/nodes/other", as_node=NodeID("other"))
            assert caught.value.status.code == HTTPStatus.FORBIDDEN
    for one in reversed(objects):
        await api.delete(f"{collection(one)}/{one['metadata']['name']}")


async def test_an_edge_becomes_a_site_and_an_edge_again_and_no_pod_is_touched(
    control_plane: ControlPlane, api: Api, namespace: str, join: Join
) -> None:
    edge = (await join()).daemon
    site = EdgeSite(control_plane.kubeconfig, edge.node, edge.data_dir)
    async with Link(1) as link:  # nothing goes over it
        story = Story(api, namespace, site, link)
        await story.apply("web")
        before = story.process("web")
        found = await story.ready("web")
        try:
            await edge.stop()
            await site.start()
            await story.say("at a site")
            await story.prints(found, "at a site")
            await site.stop()
            await edge.start()
            await story.say("at an edge")
            await story.prints(found, "at an edge")
        finally:
            site.kill()
    assert story.process("web") == before


def collection(one: Object) -> str:
    """Where objects like this one are."""
    version, plural = one["apiVersion"], f"{one['kind'].lower()}s"
    namespace = one["metadata"].get("namespace")
    root = f"/{'apis' if '/' in version else 'api'}/{version}"
    return f"{root}/namespaces/{namespace}/{plural}" if namespace else f"{root}/{plural}"
