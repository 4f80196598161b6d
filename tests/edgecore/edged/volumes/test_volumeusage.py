"""Limits of ``emptyDir`` volumes on a real disk."""

from pathlib import Path
from typing import Any

import pytest

from edgecore.edged.volumes.podfiles import Plugin, PodFiles
from edgecore.edged.volumes.volumeusage import empty_dir_over_limit
from tests.edgecore.edged.world import pod_object

MIB = 1024 * 1024


@pytest.fixture
def files(tmp_path: Path) -> PodFiles:
    made = PodFiles(tmp_path / "pod", tmp_path / "logs")
    for name in ("a", "b"):
        made.volume_dir(Plugin.EMPTY_DIR, name).mkdir(parents=True)
    return made


def over_limit(files: PodFiles, **volumes: Any) -> str:
    pod = pod_object("web", volumes=[{"name": n, "emptyDir": d} for n, d in volumes.items()])
    return empty_dir_over_limit(files, pod)


def test_the_volume_that_is_too_large_is_named_with_its_limit(files: PodFiles) -> None:
    (files.volume_dir(Plugin.EMPTY_DIR, "b") / "file").write_bytes(bytes(2 * MIB))
    limits = {"a": {"sizeLimit": "1Mi"}, "b": {"sizeLimit": "1Mi"}}
    assert over_limit(files, **limits) == ('Usage of EmptyDir volume "b" exceeds the limit "1Mi".')
    assert over_limit(files, a={"sizeLimit": "1Mi"}, b={"sizeLimit": "4Mi"}) == ""


@pytest.mark.parametrize("source", [{}, None, {"sizeLimit": "0"}, {"sizeLimit": "x"}])
def test_what_has_no_limit_keeps_it(files: PodFiles, source: Any) -> None:
    (files.volume_dir(Plugin.EMPTY_DIR, "a") / "file").write_bytes(bytes(MIB))
    assert over_limit(files, a=source) == ""


def test_a_volume_that_is_not_there_yet_is_within_its_limit(files: PodFiles) -> None:
    assert over_limit(files, none={"sizeLimit": "1"}) == ""
