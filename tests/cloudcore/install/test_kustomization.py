"""Building a kustomization without kustomize. Real: the files; kubectl, where it is installed."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from cloudcore.install.kustomization import (
    FILE,
    Kustomization,
    KustomizationError,
    Object,
    Patch,
    Target,
    build,
    to_yaml,
)
from cloudcore.install.manifests import read_manifests

FOLDER = Path(__file__).parents[3] / "deploy" / "kubernetes"
COMPONENTS = sorted(one.name for one in (FOLDER / "components").iterdir())
TOGETHER = [name for name in COMPONENTS if name != "service-nodeport"]
KUBECTL = shutil.which("kubectl")

ROLE = "{kind: Role, metadata: {name: r}, rules: [{verbs: [get, list]}]}"


def patched(*steps: dict[str, object]) -> Object:
    patch = Patch(Target("Role", "r"), yaml.safe_dump(list(steps)))
    (found,) = build({"role.yaml": ROLE}, Kustomization(resources=("role.yaml",), patches=(patch,)))
    return found


def key(one: Object) -> tuple[str, str, str]:
    return one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]


@pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed")
@pytest.mark.parametrize("components", [[], *([one] for one in COMPONENTS), TOGETHER], ids=str)
def test_kubectl_makes_the_same_of_our_files(components: Sequence[str], tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "files")
    overlay = {
        "resources": ["../files/base"],
        "components": [f"../files/components/{name}" for name in components],
    }
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / FILE).write_text(yaml.safe_dump(overlay))
    assert KUBECTL is not None
    theirs = subprocess.run(
        [KUBECTL, "kustomize", tmp_path / "mine"], check=True, capture_output=True, text=True
    ).stdout
    ours = build(
        read_manifests(),
        Kustomization(
            resources=("base",), components=tuple(f"components/{name}" for name in components)
        ),
    )
    assert {key(one): one for one in ours} == {key(one): one for one in yaml.safe_load_all(theirs)}


def test_the_example_of_an_overlay_can_be_built() -> None:
    objects = build(read_manifests(), Kustomization(resources=(".",)))
    assert objects[0]["kind"] == "Namespace"
    assert next(one for one in objects if one["kind"] == "Service")["spec"]["type"] == (
        "LoadBalancer"
    )


def test_resources_come_first_then_components_then_patches() -> None:
    files = {
        "base/kustomization.yaml": "resources: [role.yaml]",
        "base/role.yaml": ROLE,
        "more/kustomization.yaml": "resources: [pod.yaml]",
        "more/pod.yaml": "{kind: Pod, metadata: {name: p}, spec: {}}",
    }
    patch = Patch(Target("Pod", "p"), "[{op: add, path: /spec/nodeName, value: n}]")
    made = Kustomization(resources=("base",), components=("more",), patches=(patch,))
    found = build(files, made)
    assert [one["kind"] for one in found] == ["Role", "Pod"]
    assert found[1]["spec"] == {"nodeName": "n"}
    assert list(yaml.safe_load_all(to_yaml(found))) == found


def test_a_patch_adds_and_replaces_in_mappings_and_lists() -> None:
    verbs = "/rules/0/verbs"
    found = patched(
        {"op": "add", "path": f"{verbs}/-", "value": "last"},
        {"op": "add", "path": f"{verbs}/0", "value": "first"},
        {"op": "replace", "path": f"{verbs}/1", "value": "second"},
        {"op": "add", "path": "/metadata/labels", "value": {}},
        {"op": "add", "path": "/metadata/labels/a~1b~0c", "value": "d"},
        {"op": "replace", "path": "/metadata/name", "value": "s"},
    )
    assert found["rules"] == [{"verbs": ["first", "second", "list", "last"]}]
    assert found["metadata"] == {"name": "s", "labels": {"a/b~c": "d"}}


@pytest.mark.parametrize(
    "step",
    [
        {"op": "replace", "path": "/metadata/namespace", "value": "x"},
        {"op": "replace", "path": "/rules/7", "value": {}},
        {"op": "add", "path": "/spec/replicas", "value": 1},
        {"op": "add", "path": "/rules/one", "value": 1},
        {"op": "remove", "path": "/rules"},
    ],
    ids=str,
)
def test_a_patch_that_does_not_fit_is_refused(step: dict[str, object]) -> None:
    with pytest.raises(KustomizationError, match="a patch of Role r does not fit"):
        patched(step)


@pytest.mark.parametrize(
    ("files", "wrong"),
    [
        ({}, "base/kustomization.yaml is not there"),
        ({"base/kustomization.yaml": "namePrefix: x"}, "unknown field `namePrefix`"),
        (
            {"base/kustomization.yaml": "patches: [{target: {kind: A, name: b}, patch: ''}]"},
            "there is no A b to patch",
        ),
    ],
)
def test_what_is_not_understood_is_refused(files: dict[str, str], wrong: str) -> None:
    with pytest.raises(KustomizationError, match=wrong):
        build(files, Kustomization(resources=("base",)))
