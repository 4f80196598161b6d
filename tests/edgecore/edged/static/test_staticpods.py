"""Static pods from real files in a real folder; the bus and the clock are the test's."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from common.metrics import MessageMetrics
from edgecore.edged.podview import uid_of
from edgecore.edged.static.manifests import ManifestError, StaticSet
from edgecore.edged.static.staticpods import MAX_BYTES, ManifestFolder, StaticPods, decode
from tests.edgecore.edged.bus import START, bus

YAML = """\
apiVersion: v1
kind: Pod
metadata:
  name: {name}
spec:
  containers:
  - name: c
    image: {image}
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "manifests").mkdir()
    return tmp_path / "manifests"


def write(path: Path, name: str = "web", image: str = "img") -> Path:
    path.write_text(YAML.format(name=name, image=image))
    return path


def folder(directory: Path) -> ManifestFolder:
    return ManifestFolder(directory, "n1", lambda: START)


def names(found: StaticSet) -> list[str]:
    return [pod["metadata"]["name"] for pod in found.pods]


def test_each_file_is_a_pod_whether_yaml_or_json_or_a_link(directory: Path, tmp_path: Path) -> None:
    write(directory / "a.yaml", "a")
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "b"},
        "spec": {"containers": [{"name": "c", "image": "img"}]},
    }
    (directory / "b.json").write_text(json.dumps(pod))
    (directory / "c").symlink_to(write(tmp_path / "real", "c"))
    write(directory / ".hidden", "hidden")
    (directory / "folder").mkdir()
    made = folder(directory)
    assert made.look() == []
    found, twice = made.pods()
    assert names(found) == ["a-n1", "b-n1", "c-n1"]
    assert found.complete
    assert twice == []


def test_a_look_that_finds_nothing_new_gives_the_same_pods(directory: Path) -> None:
    path = write(directory / "a.yaml")
    made = folder(directory)
    made.look()
    [before] = made.pods()[0].pods
    made.look()
    path.write_text(path.read_text() + "# only a comment\n")
    made.look()
    [after] = made.pods()[0].pods
    assert after is before


def test_a_changed_file_is_another_pod_and_a_removed_one_none(directory: Path) -> None:
    path = write(directory / "a.yaml")
    made = folder(directory)
    made.look()
    [before] = made.pods()[0].pods
    write(path, image="img:2")
    made.look()
    [after] = made.pods()[0].pods
    assert uid_of(after) != uid_of(before)
    path.unlink()
    assert made.look() == []
    assert made.pods()[0] == StaticSet()


def broken(path: Path, how: str) -> None:
    if how == "half":
        path.write_text("apiVersion: v1\nkind: [Po")
    elif how == "other":
        path.write_text("apiVersion: v1\nkind: Secret\n")
    elif how == "large":
        path.write_text("#" * (MAX_BYTES + 1))
    else:
        path.unlink()
        if how == "pipe":
            os.mkfifo(path)
        else:
            path.symlink_to("nowhere")


@pytest.mark.parametrize("how", ["half", "other", "large", "pipe", "dangling"])
def test_a_file_that_cannot_be_used_is_said_once_and_leaves_its_pod_alone(
    directory: Path, how: str
) -> None:
    path = write(directory / "a.yaml")
    made = folder(directory)
    made.look()
    before, _ = made.pods()
    broken(path, how)
    [fault] = made.look()
    assert str(path) in fault
    assert made.look() == []
    found, _ = made.pods()
    assert found.pods == before.pods
    assert not found.complete
    path.unlink()
    write(path)
    assert made.look() == []
    assert made.pods()[0] == before


def test_the_same_fault_in_a_changed_file_is_said_again(directory: Path) -> None:
    path = directory / "a.yaml"
    path.write_text("kind: [")
    made = folder(directory)
    assert len(made.look()) == 1
    path.write_text("kind:  [")
    assert len(made.look()) == 1


def test_a_file_that_changes_while_it_is_read_is_read_the_next_time(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(directory / "a.yaml")
    made = folder(directory)
    stat, writes = Path.stat, iter(range(9))

    def stat_and_write(self: Path) -> os.stat_result:
        found = stat(self)
        write(path, f"web{next(writes)}")
        return found

    with monkeypatch.context() as patched:
        patched.setattr(Path, "stat", stat_and_write)
        assert made.look() == []
    assert made.pods()[0] == StaticSet(complete=False)
    made.look()
    found, _ = made.pods()
    assert names(found) == ["web1-n1"]
    assert found.complete


def test_a_folder_that_is_away_ends_nothing(directory: Path) -> None:
    write(directory / "a.yaml")
    made = folder(directory)
    made.look()
    before, _ = made.pods()
    away = directory.rename(directory.with_name("away"))
    assert len(made.look()) == 1
    assert made.look() == []
    found, _ = made.pods()
    assert found.pods == before.pods
    assert not found.complete
    away.rename(directory)
    assert made.look() == []
    assert made.pods()[0] == before


def test_a_folder_that_was_never_there_says_nothing_of_any_pod(tmp_path: Path) -> None:
    made = folder(tmp_path / "no")
    assert len(made.look()) == 1
    assert made.pods()[0] == StaticSet(complete=False)


def test_of_two_pods_of_one_name_the_first_is_taken(directory: Path) -> None:
    write(directory / "a.yaml", image="img:1")
    write(directory / "b.yaml", image="img:2")
    made = folder(directory)
    made.look()
    found, [twice] = made.pods()
    assert found.pods[0]["spec"]["containers"][0]["image"] == "img:1"
    assert "b.yaml" in twice
    assert "default/web-n1" in twice


@pytest.mark.parametrize("data", [b"{a: b}", b'{"a": "b"}', b'{"a": "b",}', b"a: b"])
def test_a_manifest_is_json_or_yaml_and_yaml_may_look_like_json(data: bytes) -> None:
    assert decode(data) == {"a": "b"}


@pytest.mark.parametrize("data", [b"{" * 200, b'{"a": ', b"a: b: c"])
def test_what_is_neither_is_said(data: bytes) -> None:
    with pytest.raises(ManifestError, match="not YAML"):
        decode(data)


def test_json_alone_costs_no_yaml() -> None:
    code = (
        "import sys, edgecore.edged.static.staticpods as s; s.decode(b'{}'); "
        "assert 'yaml' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


async def look(made: StaticPods) -> None:
    made.wake()
    while made._looker._task is not None:
        await made._looker._task


async def test_who_follows_the_folder_is_told_of_the_first_look_and_of_changes(
    directory: Path,
) -> None:
    told: list[StaticSet] = []
    async with bus() as b:
        made = StaticPods(b.tasks, folder(directory), b.metrics, told.append)
        await look(made)
        await look(made)
        write(directory / "a.yaml")
        await look(made)
        await look(made)
        (directory / "a.yaml").unlink()
        await look(made)
        assert made._looker._timer is not None  # it looks again
        made.close()
    assert [names(found) for found in told] == [[], ["web-n1"], []]


async def test_each_fault_is_counted_once(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    registry = CollectorRegistry()
    metrics = MessageMetrics(registry, "edgecore")
    (directory / "a.yaml").write_text("s3cret: [")
    write(directory / "b.yaml")
    write(directory / "c.yaml")
    told: list[StaticSet] = []
    async with bus() as b:
        made = StaticPods(b.tasks, folder(directory), metrics, told.append)
        await look(made)
        await look(made)
        made.close()
    labels: dict[str, Any] = {"reason": "unusable_manifest"}
    assert registry.get_sample_value("edgecore_refusals_total", labels) == 2
    assert len(caplog.records) == 2
    assert "s3cret" not in str([vars(record) for record in caplog.records])
    assert [len(found.pods) for found in told] == [1]
