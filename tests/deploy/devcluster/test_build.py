"""Finding and building the control plane. Files, locks and processes are real; ``go`` is faked.

The real build takes minutes. It is what ``make controlplane`` does, and the tests of the control
plane run what comes out of it.
"""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from deploy.devcluster import build
from deploy.devcluster.commands import Component
from tests.deploy.devcluster.fakego import FakeGo

DEADLINE_S = 20.0


def ignore(_line: str) -> None:
    pass


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv(build.ASSETS_VARIABLE, raising=False)
    monkeypatch.setenv(build.CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeGo:
    fake = FakeGo(tmp_path / "bin")
    fake.install()
    monkeypatch.setenv("PATH", str(fake.folder), prepend=os.pathsep)
    return fake


def make_assets(folder: Path, *, without: Component | None = None) -> Path:
    folder.mkdir()
    for name in Component:
        if name != without:
            (folder / name).touch(mode=0o755)
    return folder


def test_a_folder_of_ready_programs_is_used_and_nothing_is_built(
    tmp_path: Path, cache: Path, go: FakeGo, monkeypatch: pytest.MonkeyPatch
) -> None:
    assets = make_assets(tmp_path / "assets")
    monkeypatch.setenv(build.ASSETS_VARIABLE, str(assets))
    assert build.find_or_build(ignore) == assets
    assert not cache.exists()
    assert go.calls == []


def test_a_program_missing_from_the_given_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assets = make_assets(tmp_path / "assets", without=Component.SCHEDULER)
    monkeypatch.setenv(build.ASSETS_VARIABLE, str(assets))
    with pytest.raises(build.BuildError, match=r"no program kube-scheduler; add .* or unset"):
        build.find_or_build(ignore)


def test_a_given_folder_that_does_not_exist_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(build.ASSETS_VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(build.BuildError, match="nowhere, which has no program etcd"):
        build.find_or_build(ignore)


def test_all_four_names_lead_to_what_was_built(cache: Path, go: FakeGo) -> None:
    folder = build.find_or_build(ignore)
    assert folder.parent == cache
    assert {(folder / name).read_text() for name in Component} == {"built\n"}
    assert "gitVersion=v1.36.3" in go.calls[0]


def test_it_is_built_once(cache: Path, go: FakeGo) -> None:
    assert build.find_or_build(ignore) == build.find_or_build(ignore)
    assert len(go.calls) == 1
    assert cache.exists()


def test_a_change_of_what_it_is_made_from_means_another_build(
    cache: Path, go: FakeGo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = build.find_or_build(ignore)
    source = tmp_path / "source"
    source.mkdir()
    for name in ("go.mod", "go.sum", "main.go"):
        (source / name).write_bytes((Path(build.__file__).parent / name).read_bytes())
    (source / "main.go").write_text("package main")
    monkeypatch.setattr(build, "_SOURCE", source)
    assert build.find_or_build(ignore) != before
    assert len(go.calls) == 2
    assert cache.exists()


def test_a_failed_build_says_what_go_said_and_leaves_nothing(cache: Path, go: FakeGo) -> None:
    go.install(before='echo "main.go:7: no space left on device" >&2', exit_code=1)
    with pytest.raises(build.BuildError, match="no space left on device"):
        build.find_or_build(ignore)
    assert [path.suffix for path in cache.iterdir()] == [".lock"]


def test_a_build_is_announced_with_an_estimate_and_its_progress_shown(
    cache: Path, go: FakeGo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "_REPORT_EVERY_S", 0.0)
    # A clock that stands still: on a busy machine also a stand-in takes its seconds.
    monkeypatch.setattr(build, "time", SimpleNamespace(monotonic=lambda: 7.0))
    lines: list[str] = []
    folder = build.find_or_build(lines.append)
    assert len(go.calls) == 1
    assert folder.parent == cache
    first, *progress, last = lines
    assert "v1.36.3" in first
    assert "minutes" in first
    assert progress == [
        "  0s: 1 modules downloaded, 0 of about 2500 packages compiled",
        "  0s: 1 modules downloaded, 1 of about 2500 packages compiled",
    ]
    assert str(folder) in last


def in_thread(report: Callable[[str], None], found: list[Path]) -> threading.Thread:
    thread = threading.Thread(target=lambda: found.append(build.find_or_build(report)))
    thread.start()
    return thread


def test_whoever_comes_second_waits_and_builds_nothing(
    cache: Path, go: FakeGo, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    go.install(before=f'read _ <"{gate}"')
    found: list[Path] = []
    first_builds, second_waits = threading.Event(), threading.Event()

    def first_reports(line: str) -> None:
        if line.startswith("building"):
            first_builds.set()

    def second_reports(line: str) -> None:
        if line.startswith("another process"):
            second_waits.set()

    first = in_thread(first_reports, found)
    assert first_builds.wait(DEADLINE_S)
    second = in_thread(second_reports, found)
    assert second_waits.wait(DEADLINE_S)
    gate.write_text("go on\n")
    first.join(DEADLINE_S)
    second.join(DEADLINE_S)
    assert len(go.calls) == 1
    assert len(set(found)) == 1
    assert len(found) == 2
    assert found[0].parent == cache


def test_the_cache_lies_where_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(build.CACHE_VARIABLE, raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert build.cache_folder() == tmp_path / ".cache" / "cloudedge"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert build.cache_folder() == tmp_path / "xdg" / "cloudedge"
    monkeypatch.setenv(build.CACHE_VARIABLE, str(tmp_path / "own"))
    assert build.cache_folder() == tmp_path / "own"
