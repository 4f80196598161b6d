"""Contents of volumes: pure, nothing faked."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.names import ResourceType
from edgecore.edged.objects import Objects, Ref, TokenRef
from edgecore.edged.spec.fields import NodeView
from edgecore.edged.volumes.podfiles import Plugin
from edgecore.edged.volumes.volumes import (
    EmptyDir,
    File,
    FilesVolume,
    HostPath,
    VolumeError,
    tokens_of,
    volumes_of,
)
from tests.edgecore.edged.world import config_object, container, pod_object

NODE = NodeView("n1", "192.0.2.7", {"memory": "1Gi"})
OBJECTS = Objects(
    "default",
    {
        Ref(ResourceType.CONFIGMAP, "web"): config_object("ConfigMap", "web", a="1", b="2"),
        Ref(ResourceType.SECRET, "db"): config_object("Secret", "db", password="aGk="),
        Ref(ResourceType.CONFIGMAP, "none"): None,
    },
    {TokenRef("sa", "", 3600): "t0ken"},
)


def volume(spec: dict[str, Any] | None = None, /, **source: Any) -> Any:
    pod = pod_object(
        "web", serviceAccountName="sa", volumes=[{"name": "v", **source}], **(spec or {})
    )
    [made] = volumes_of(pod | {"status": {}}, OBJECTS, NODE)
    return made


def test_a_configmap_gives_a_file_for_each_key() -> None:
    made = volume(configMap={"name": "web", "defaultMode": 0o600})
    payload = {"a": File(b"1", 0o600), "b": File(b"2", 0o600)}
    assert made == FilesVolume("v", Plugin.CONFIGMAP, payload)
    assert not made.in_memory


def test_items_choose_keys_paths_and_modes() -> None:
    items = [{"key": "a", "path": "deep/./er/x", "mode": 0o400}]
    made = volume(configMap={"name": "web", "items": items})
    assert made.payload == {"deep/er/x": File(b"1", 0o400)}


def test_a_secret_stays_in_memory() -> None:
    made = volume(secret={"secretName": "db"})
    assert made == FilesVolume("v", Plugin.SECRET, {"password": File(b"hi", 0o644)})
    assert made.in_memory


def test_a_projected_volume_joins_its_sources() -> None:
    made = volume(
        projected={
            "sources": [
                {"configMap": {"name": "web", "items": [{"key": "a", "path": "a"}]}},
                {"secret": {"name": "db"}},
                {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}},
                {
                    "downwardAPI": {
                        "items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]
                    }
                },
                {"configMap": {"name": "none", "optional": True}},
            ]
        }
    )
    assert {path: file.data for path, file in made.payload.items()} == {
        "a": b"1",
        "password": b"hi",
        "token": b"t0ken",
        "name": b"web",
    }
    assert (made.plugin, made.in_memory) == (Plugin.PROJECTED, True)


def test_the_downward_api_tells_of_fields_and_resources() -> None:
    items = [
        {"path": "ns", "fieldRef": {"fieldPath": "metadata.namespace"}},
        {
            "path": "cpu",
            "resourceFieldRef": {"containerName": "c", "resource": "requests.cpu"},
        },
    ]
    made = volume(downwardAPI={"items": items})
    assert made.payload == {"ns": File(b"default", 0o644), "cpu": File(b"0", 0o644)}
    assert (made.plugin, made.in_memory) == (Plugin.DOWNWARD_API, True)


def test_directories_have_no_contents_of_ours() -> None:
    assert volume(emptyDir={}) == EmptyDir("v")
    assert volume(emptyDir=None) == EmptyDir("v")
    assert volume(hostPath={"path": "/x", "type": "File"}) == HostPath("v", "/x", "File")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"configMap": {"name": "none"}}, 'configmap "none" not found'),
        ({"configMap": {"name": "asked-nobody"}}, "could not be asked"),
        ({"configMap": {"name": "web", "items": [{"key": "z", "path": "z"}]}}, "config key: z"),
        ({"secret": {"secretName": "db", "items": [{"key": "z", "path": "z"}]}}, "secret key: z"),
        ({"configMap": {"name": "web", "defaultMode": 0o1777}}, "between 0 and 0777"),
        ({"configMap": {"name": "web", "defaultMode": "0644"}}, "between 0 and 0777"),
        ({"emptyDir": {"medium": "HugePages-2Mi"}}, "medium HugePages-2Mi is not supported"),
        ({"emptyDir": {"medium": "Tape"}}, 'unknown storage medium "Tape"'),
        ({"emptyDir": {"medium": "Memory", "sizeLimit": "x"}}, "sizeLimit: not a quantity"),
        ({"hostPath": {"path": "/a/../b"}}, "invalid HostPath `/a/../b`"),
        ({"hostPath": {"path": "/a\0b"}}, "invalid HostPath"),
        ({"image": {"reference": "x"}}, "kind image are not supported"),
        ({"persistentVolumeClaim": {"claimName": "x"}}, "not supported"),
        ({"nfs": {"server": "x"}}, "kind nfs are not supported"),
        ({"projected": {"sources": [{"clusterTrustBundle": {}}]}}, "not supported"),
        ({"downwardAPI": {"items": [{"path": "x", "fieldRef": {"fieldPath": "y"}}]}}, "fieldPath"),
    ],
)
def test_what_keeps_a_volume_from_being_set_up_is_said(source: Any, words: str) -> None:
    with pytest.raises(VolumeError, match=words):
        volume(**source)


@pytest.mark.parametrize(
    "path",
    [
        "../x",
        "/etc/passwd",
        "a/../../b",
        "..data",
        "..x/y",
        "",
        "a\0b",
        "n" * 256,
        "d/" * 2000 + "f",
        "d/" * 100 + "f",
        "/".join(["n" * 200] * 21),
    ],
)
def test_a_path_out_of_the_volume_is_refused(path: str) -> None:
    with pytest.raises(VolumeError, match="invalid path"):
        volume(configMap={"name": "web", "items": [{"key": "a", "path": path}]})


@given(st.text(alphabet="a./", max_size=12))
def test_whatever_the_path_is_the_file_stays_inside(path: str) -> None:
    try:
        payload = volume(configMap={"name": "web", "items": [{"key": "a", "path": path}]}).payload
    except VolumeError:
        return
    [inside] = payload
    assert not inside.startswith(("/", ".."))
    assert ".." not in inside.split("/")


def test_the_tokens_of_a_pod_are_those_of_its_projected_volumes() -> None:
    source = {"serviceAccountToken": {"path": "t", "audience": "vault"}}
    pod = pod_object("web", volumes=[{"name": "v", "projected": {"sources": [source, {}]}}])
    assert tokens_of(pod) == {TokenRef("default", "vault", 3600)}


def test_an_optional_key_may_be_missing() -> None:
    items = [{"key": "z", "path": "z"}, {"key": "a", "path": "a"}]
    payload = volume(configMap={"name": "web", "optional": True, "items": items}).payload
    assert payload == {"a": File(b"1", 0o644)}


def test_a_mode_may_be_none_at_all_and_no_one_elses() -> None:
    items = [{"key": "a", "path": "a", "mode": 0}, {"key": "b", "path": "b", "mode": None}]
    payload = volume(configMap={"name": "web", "defaultMode": None, "items": items}).payload
    assert [file.mode for file in payload.values()] == [0, 0o644]


def test_the_pods_group_may_read_all_files_and_write_its_directories() -> None:
    spec = {"securityContext": {"fsGroup": 2000}}
    made = volume(spec, configMap={"name": "web", "defaultMode": 0o400})
    assert made.group == 2000
    assert {file.mode for file in made.payload.values()} == {0o440}
    assert volume(spec, emptyDir={}) == EmptyDir("v", group=2000)


TOKEN = {"sources": [{"serviceAccountToken": {"path": "token"}}], "defaultMode": 0o644}


@pytest.mark.parametrize(
    ("of_pod", "of_containers", "file"),
    [
        ({}, [None, None], File(b"t0ken", 0o644)),
        ({}, [5, None], File(b"t0ken", 0o644)),
        ({}, [5, 6], File(b"t0ken", 0o644)),
        ({}, [5, 5], File(b"t0ken", 0o600, 5)),
        ({"runAsUser": 5}, [None, 5], File(b"t0ken", 0o600, 5)),
        ({"runAsUser": 0}, [None, None], File(b"t0ken", 0o600, 0)),
        ({"runAsUser": 5}, [None, 6], File(b"t0ken", 0o644)),
        ({"runAsUser": 5, "fsGroup": 2000}, [None, None], File(b"t0ken", 0o640, 5)),
        ({"fsGroup": 2000}, [5, 6], File(b"t0ken", 0o640)),
    ],
)
def test_a_token_is_for_those_to_read_of_whom_the_pod_tells(
    of_pod: dict[str, Any], of_containers: list[int | None], file: File
) -> None:
    init, main = (
        container(name, securityContext={"runAsUser": user} if user is not None else None)
        for name, user in zip(("i", "c"), of_containers, strict=True)
    )
    spec = {"securityContext": of_pod, "initContainers": [init], "containers": [main]}
    assert volume(spec, projected=TOKEN).payload == {"token": file}


@pytest.mark.parametrize(
    ("size_limit", "memory_limit", "size_bytes"),
    [
        (None, None, 2**30),
        ("64Mi", None, 2**26),
        ("64Mi", "32Mi", 2**25),
        ("2Gi", None, 2**30),
        ("0", "32Mi", 2**25),
    ],
)
def test_a_memory_volume_is_no_larger_than_what_the_pod_may_have(
    size_limit: str | None, memory_limit: str | None, size_bytes: int
) -> None:
    limits = {"resources": {"limits": {"memory": memory_limit}}} if memory_limit else {}
    spec = {"containers": [container("c", **limits)]}
    made = volume(spec, emptyDir={"medium": "Memory", "sizeLimit": size_limit})
    assert made == EmptyDir("v", in_memory=True, size_bytes=size_bytes)


def test_room_is_made_for_what_is_mounted_inside() -> None:
    mounts = [{"name": "v", "mountPath": "/d"}, {"name": "w", "mountPath": "/d/in"}]
    spec = {"containers": [container("c", volumeMounts=mounts)]}
    assert volume(spec, configMap={"name": "web"}).nested == ("in",)
    mounts[1]["mountPath"] = "/d/..data"
    with pytest.raises(VolumeError, match="invalid path"):
        volume(spec, configMap={"name": "web"})
