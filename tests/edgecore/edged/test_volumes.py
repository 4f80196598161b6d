"""Contents of volumes: pure, nothing faked."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.names import ResourceType
from edgecore.edged.fields import NodeView
from edgecore.edged.objects import Objects, Ref, TokenRef
from edgecore.edged.volumes import (
    EmptyDir,
    File,
    FilesVolume,
    HostPath,
    VolumeError,
    tokens_of,
    volumes_of,
)
from tests.edgecore.edged.world import config_object, pod_object

NODE = NodeView("n1", "192.0.2.7")
OBJECTS = Objects(
    "default",
    {
        Ref(ResourceType.CONFIGMAP, "web"): config_object("ConfigMap", "web", a="1", b="2"),
        Ref(ResourceType.SECRET, "db"): config_object("Secret", "db", password="aGk="),
        Ref(ResourceType.CONFIGMAP, "none"): None,
    },
    {TokenRef("sa", "", 3600): "t0ken"},
)


def volume(**source: Any) -> Any:
    pod = pod_object("web", serviceAccountName="sa", volumes=[{"name": "v", **source}])
    [made] = volumes_of(pod, OBJECTS, NODE)
    return made


def test_a_configmap_gives_a_file_for_each_key() -> None:
    made = volume(configMap={"name": "web", "defaultMode": 0o600})
    assert made == FilesVolume("v", {"a": File(b"1", 0o600), "b": File(b"2", 0o600)}, secret=False)


def test_items_choose_keys_paths_and_modes() -> None:
    items = [{"key": "a", "path": "deep/./er/x", "mode": 0o400}]
    made = volume(configMap={"name": "web", "items": items})
    assert made.payload == {"deep/er/x": File(b"1", 0o400)}


def test_a_secret_is_only_for_root_to_enter() -> None:
    made = volume(secret={"secretName": "db"})
    assert made == FilesVolume("v", {"password": File(b"hi", 0o644)}, secret=True)


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
    assert made.secret


def test_the_downward_api_tells_of_fields_and_resources() -> None:
    items = [
        {"path": "ns", "fieldRef": {"fieldPath": "metadata.namespace"}},
        {
            "path": "cpu",
            "resourceFieldRef": {"containerName": "c", "resource": "requests.cpu"},
        },
    ]
    payload = volume(downwardAPI={"items": items}).payload
    assert payload == {"ns": File(b"default", 0o644), "cpu": File(b"0", 0o644)}


def test_directories_have_no_contents_of_ours() -> None:
    assert volume(emptyDir={}) == EmptyDir("v")
    assert volume(hostPath={"path": "/x", "type": "File"}) == HostPath("v", "/x", "File")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"configMap": {"name": "none"}}, 'configmap "none" not found'),
        ({"configMap": {"name": "asked-nobody"}}, "could not be asked"),
        ({"configMap": {"name": "web", "items": [{"key": "z", "path": "z"}]}}, "key: z"),
        ({"nfs": {"server": "x"}}, "kind nfs are not supported"),
        ({"projected": {"sources": [{"clusterTrustBundle": {}}]}}, "not supported"),
        ({"downwardAPI": {"items": [{"path": "x", "fieldRef": {"fieldPath": "y"}}]}}, "fieldPath"),
    ],
)
def test_what_keeps_a_volume_from_being_set_up_is_said(source: Any, words: str) -> None:
    with pytest.raises(VolumeError, match=words):
        volume(**source)


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../b", "..data", "..x/y", ""])
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
