"""Volumes of real pods: what stands in them, how it changes while they run, and that they go.

Real: control plane, cloudcore, edgecore, containerd with its containers, mounts, the files, and the
tokens of service accounts. Nothing is faked.
"""

from pathlib import Path

from deploy.devcluster.api import Api, Object
from deploy.devcluster.containerd import ContainerEngine
from deploy.devcluster.site import until
from tests.e2e.conftest import Join, pod
from tests.e2e.inside import mounts_below, run
from tests.e2e.podchecks import OBEY, Place, state_of

LABELS = {"app": "web", "tier": "front"}


def mount(name: str, path: str, **more: object) -> Object:
    return {"name": name, "mountPath": path, **more}


def of_everything(node: str, shared: Path) -> Object:
    """A pod with every kind of volume."""
    made = pod(
        "web",
        node,
        script=OBEY,
        container={
            "volumeMounts": [
                mount("config", "/config"),
                mount("items", "/items"),
                mount("config", "/single", subPath="text"),
                mount("secret", "/secret"),
                mount("info", "/info"),
                mount("all", "/all"),
                mount("disk", "/disk"),
                mount("memory", "/memory"),
                mount("shared", "/shared"),
                mount("fixed", "/fixed"),
            ]
        },
        automountServiceAccountToken=True,
        securityContext={"runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 2000},
        volumes=[
            {"name": "config", "configMap": {"name": "config"}},
            {
                "name": "items",
                "configMap": {
                    "name": "config",
                    "defaultMode": 0o400,
                    "items": [
                        {"key": "text", "path": "deep/renamed"},
                        {"key": "other", "path": "script", "mode": 0o555},
                    ],
                },
            },
            {"name": "secret", "secret": {"secretName": "secret"}},
            {
                "name": "info",
                "downwardAPI": {
                    "items": [
                        {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
                        {
                            "path": "limit",
                            "resourceFieldRef": {
                                "containerName": "c",
                                "resource": "limits.memory",
                            },
                        },
                    ]
                },
            },
            {
                "name": "all",
                "projected": {
                    "sources": [
                        {"configMap": {"name": "config", "items": [{"key": "text", "path": "a"}]}},
                        {"secret": {"name": "secret", "items": [{"key": "word", "path": "b"}]}},
                        {"serviceAccountToken": {"path": "token", "audience": "somebody"}},
                    ]
                },
            },
            {"name": "disk", "emptyDir": {}},
            {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "4Mi"}},
            {"name": "shared", "hostPath": {"path": str(shared), "type": "DirectoryOrCreate"}},
            {"name": "fixed", "configMap": {"name": "fixed"}},
        ],
    )
    made["metadata"]["labels"] = dict(LABELS)
    made["spec"]["containers"][0]["resources"] = {"limits": {"memory": "64Mi"}}
    return made


async def test_a_pod_has_its_volumes_with_owners_modes_and_media_and_leaves_none_of_them(
    api: Api, join: Join, container_engine: ContainerEngine, namespace: str, tmp_path: Path
) -> None:
    edge = await join(runtime="cri")
    place, shared = Place(api, edge, namespace), tmp_path / "shared"
    base = place.base
    configmaps = f"{base}/configmaps"
    data = {"text": "first", "other": "echo run"}
    await api.create(configmaps, {"metadata": {"name": "config"}, "data": data})
    fixed = {"metadata": {"name": "fixed"}, "immutable": True, "data": {"text": "for ever"}}
    await api.create(configmaps, fixed)
    secret = {"metadata": {"name": "secret"}, "stringData": {"word": "sesame"}}
    await api.create(f"{base}/secrets", secret)
    await place.create(of_everything(place.node, shared))
    found = await place.ready("web")

    async def sh(command: str) -> str:
        return await run(container_engine, found, command)

    assert await sh("cat /config/text /secret/word /all/a /all/b /single /fixed/text") == (
        "firstsesamefirstsesamefirstfor ever"
    )
    # The group may read what belongs to it, whatever the mode says.
    modes = "stat -L -c '%a %u %g' /items/deep/renamed /items/script /config/text /disk"
    assert await sh(modes) == "440 0 2000\n555 0 2000\n644 0 2000\n2777 0 2000"
    media = "for i in config secret info all memory disk; do stat -f -c %T /$i; done"
    config, *memory, disk = (await sh(media)).split()
    assert config == disk != "tmpfs"
    assert set(memory) == {"tmpfs"}
    assert await sh("df -k /memory | tail -1 | awk '{print $2}'") == "4096"
    assert (await sh("cat /info/labels /info/limit")).splitlines() == [
        'app="web"',
        'tier="front"67108864',
    ]
    assert "Read-only" in await sh("touch /config/new")
    assert await sh("touch /disk/mine /memory/mine; stat -c '%u %g' /disk/mine") == "1000 2000"
    assert shared.is_dir()

    await proves_its_account(api, found, await sh("cat /all/token"), "somebody")
    account = "/var/run/secrets/kubernetes.io/serviceaccount"
    assert await sh(f"cat {account}/namespace") == namespace
    assert "BEGIN CERTIFICATE" in await sh(f"cat {account}/ca.crt")
    token = await sh(f"cat {account}/token")
    await proves_its_account(api, found, token)
    assert token not in (tmp_path / f"{edge.daemon.node}.log").read_text()

    await sees_changes(api, base, found, edge.daemon.data_dir)
    assert await sh("cat /single") == "first"
    assert await sh("cat /config/text /all/a") == "secondsecond"

    folder = edge.daemon.data_dir / "pods" / found["metadata"]["uid"]
    assert mounts_below(folder)
    (shared / "kept").write_text("not the pod's own")
    await api.delete(f"{place.pods}/web")
    await place.gone("web")
    await until(lambda: not folder.exists(), "nothing of the pod is on the disk")
    assert mounts_below(folder) == []
    assert (shared / "kept").exists()


async def sees_changes(api: Api, base: str, found: Object, data_dir: Path) -> None:
    """Change what the pod's volumes show, and wait until they show it."""
    volumes = data_dir / "pods" / found["metadata"]["uid"] / "volumes"
    config = volumes / "kubernetes.io~configmap" / "config"
    info = volumes / "kubernetes.io~downward-api" / "info"
    projected = volumes / "kubernetes.io~projected" / "all"
    generation = (config / "..data").readlink()
    await api.patch(f"{base}/configmaps/config", {"data": {"text": "second"}})
    await api.patch(f"{base}/pods/web", {"metadata": {"labels": {"tier": "back"}}})
    await until(lambda: (config / "text").read_text() == "second", "the ConfigMap is written")
    await until(lambda: "back" in (info / "labels").read_text(), "the labels are written")
    await until(lambda: (projected / "a").read_text() == "second", "it is written there too")
    assert (config / "..data").readlink() != generation
    await until(lambda: not (config / generation).exists(), "what it was is removed")


async def review(api: Api, token: str, audience: str = "") -> Object:
    """Return what the API server thinks of a token."""
    spec = {"token": token, "audiences": [audience] if audience else None}
    answer = await api.create("/apis/authentication.k8s.io/v1/tokenreviews", {"spec": spec})
    status: Object = answer["status"]
    return status


async def proves_its_account(api: Api, found: Object, token: str, audience: str = "") -> None:
    status = await review(api, token, audience)
    metadata = found["metadata"]
    assert status.get("authenticated"), status
    account = f"system:serviceaccount:{metadata['namespace']}:default"
    assert status["user"]["username"] == account
    bound = status["user"]["extra"]
    assert bound["authentication.kubernetes.io/pod-uid"] == [metadata["uid"]]
    assert bound["authentication.kubernetes.io/node-name"] == [found["spec"]["nodeName"]]


async def test_a_volume_that_cannot_be_made_is_told_in_kubelets_words_and_made_when_it_can_be(
    api: Api, join: Join, container_engine: ContainerEngine, namespace: str, tmp_path: Path
) -> None:
    place = Place(api, await join(runtime="cri"), namespace)
    file = tmp_path / "wanted"

    def one(name: str, **volume: object) -> Object:
        mounts = {"volumeMounts": [mount("v", "/v")]}
        return place.pod(name, OBEY, container=mounts, volumes=[{"name": "v", **volume}])

    key = {"key": "missing", "path": "p"}
    await api.create(f"{place.base}/secrets", {"metadata": {"name": "s"}})
    await place.create(
        one("lacks", configMap={"name": "later"}),
        one("keyless", secret={"secretName": "s", "items": [key]}),
        one("pathless", hostPath={"path": str(file), "type": "File"}),
    )
    words = {
        "lacks": 'configmap "later" not found',
        "keyless": "references non-existent secret key: missing",
        "pathless": f"hostPath type check failed: {file} is not a file",
    }
    for name, why in words.items():
        waiting = await place.wait(name, lambda p: state_of(p, "waiting"), "it waits")
        assert state_of(waiting, "waiting")["reason"] == "ContainerCreating"
        failed = f'MountVolume.SetUp failed for volume "v" : {why}'
        event = await place.event(waiting, "FailedMount", why)
        assert (event["type"], event["message"]) == ("Warning", failed)

    later = {"metadata": {"name": "later"}, "data": {"k": "there"}}
    await api.create(f"{place.base}/configmaps", later)
    await api.patch(f"{place.base}/secrets/s", {"stringData": {"missing": "here"}})
    file.write_text("a file")
    for name, path, text in (
        ("lacks", "/v/k", "there"),
        ("keyless", "/v/p", "here"),
        ("pathless", "/v", "a file"),
    ):
        assert await run(container_engine, await place.ready(name), f"cat {path}") == text
