"""What an engine shows, in edged's words. Everything is real; the messages are made by hand."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from common.names import UID
from edgecore.edged.runtime.base import ContainerState, ContainerStats, PodStats
from edgecore.edged.runtime.cri import cri_pb2 as cri
from edgecore.edged.runtime.cri import names, observe
from edgecore.edged.runtime.images import FilesystemUsage, Image

MADE = 1_700_000_000_123_456_789
MADE_AT = datetime(2023, 11, 14, 22, 13, 20, 123456, tzinfo=UTC)
LABELS = {
    names.POD_UID: "u",
    names.POD_NAME: "web",
    names.POD_NAMESPACE: "default",
    names.CONTAINER_NAME: "c",
}


def entry(state: cri.ContainerState = cri.CONTAINER_EXITED) -> cri.Container:
    return cri.Container(
        id="i",
        pod_sandbox_id="s",
        metadata=cri.ContainerMetadata(name="c", attempt=3),
        image=cri.ImageSpec(image="busybox"),
        image_ref="sha256:1",
        state=state,
        created_at=MADE,
        labels=LABELS,
        annotations={names.SPEC_HASH: "h"},
    )


def sandbox(id_: str, attempt: int, state: cri.PodSandboxState) -> cri.PodSandbox:
    return cri.PodSandbox(
        id=id_, metadata=cri.PodSandboxMetadata(attempt=attempt), state=state, created_at=attempt
    )


@pytest.mark.parametrize(
    ("ns", "expected"), [(0, None), (-6795364578871345152, None), (MADE, MADE_AT)]
)
def test_no_time_is_no_moment(ns: int, expected: datetime | None) -> None:
    assert observe.moment(ns) == expected


def test_a_list_tells_what_a_container_is() -> None:
    seen = observe.listed(entry(cri.CONTAINER_CREATED))
    assert (seen.id, seen.name, seen.attempt, seen.sandbox_id) == ("i", "c", 3, "s")
    assert (seen.state, seen.created_at) == (ContainerState.CREATED, MADE_AT)
    assert (seen.image, seen.image_id, seen.spec_hash) == ("busybox", "sha256:1", "h")


def test_a_container_of_another_kubelet_has_no_hash_of_ours() -> None:
    bare = entry()
    bare.annotations.clear()
    bare.labels.clear()
    seen = observe.listed(bare)
    assert (seen.name, seen.spec_hash) == ("c", "")


def test_a_status_tells_how_it_ended() -> None:
    status = cri.ContainerStatus(
        id="i",
        state=cri.CONTAINER_EXITED,
        created_at=MADE,
        started_at=MADE,
        finished_at=MADE,
        exit_code=3,
        image=cri.ImageSpec(image="docker.io/library/busybox:latest"),
        image_ref="sha256:2",
        reason="Error",
        message="the engine's",
    )
    seen = observe.detailed(entry(), status, "its own")
    assert (seen.state, seen.exit_code, seen.reason) == (ContainerState.EXITED, 3, "Error")
    assert (seen.started_at, seen.finished_at) == (MADE_AT, MADE_AT)
    assert seen.message == "the engine's: its own"
    assert (seen.image, seen.image_id) == ("docker.io/library/busybox:latest", "sha256:2")


def test_what_runs_has_not_ended() -> None:
    status = cri.ContainerStatus(state=cri.CONTAINER_RUNNING, started_at=MADE, exit_code=7)
    seen = observe.detailed(entry(cri.CONTAINER_RUNNING), status, "")
    assert (seen.state, seen.finished_at, seen.exit_code) == (ContainerState.RUNNING, None, 0)


def test_what_the_engine_lost_sight_of_may_be_alive() -> None:
    assert observe.listed(entry(cri.CONTAINER_UNKNOWN)).state is ContainerState.RUNNING


def test_the_newest_ready_sandbox_counts() -> None:
    old = sandbox("old", 1, cri.SANDBOX_READY)
    ready = sandbox("ready", 2, cri.SANDBOX_READY)
    dead = sandbox("dead", 3, cri.SANDBOX_NOTREADY)
    assert observe.current([]) is None
    assert observe.current([old, dead, ready]) is ready
    assert observe.current([sandbox("a", 1, cri.SANDBOX_NOTREADY), dead]) is dead


def test_the_next_sandbox_gets_a_number_that_none_has() -> None:
    sandboxes = [sandbox("a", 1, cri.SANDBOX_READY), sandbox("b", 5, cri.SANDBOX_NOTREADY)]
    seen = observe.observation(UID("u"), sandboxes, [], ("10.0.0.2",), LABELS)
    assert (seen.sandbox_id, seen.sandbox_ready, seen.sandbox_attempt) == ("a", True, 5)
    assert (seen.namespace, seen.name, seen.ips) == ("default", "web", ("10.0.0.2",))


def test_containers_may_have_no_sandbox_left() -> None:
    seen = observe.observation(UID("u"), [], [observe.listed(entry())], (), LABELS)
    assert (seen.sandbox_id, seen.sandbox_ready, len(seen.containers)) == ("", False, 1)


def test_a_pod_has_all_its_addresses_and_none_of_the_machine() -> None:
    both = cri.PodSandboxNetworkStatus(ip="10.0.0.2", additional_ips=[cri.PodIP(ip="fd00::2")])
    assert observe.ips_of(cri.PodSandboxStatus(network=both)) == ("10.0.0.2", "fd00::2")
    assert observe.ips_of(cri.PodSandboxStatus()) == ()


def test_an_adopted_sandbox_is_known_from_what_containerd_tells() -> None:
    answer = cri.PodSandboxStatusResponse(
        status=cri.PodSandboxStatus(
            metadata=cri.PodSandboxMetadata(name="web"), labels=LABELS, annotations={"a": "b"}
        ),
        info={
            "info": '{"pid": 7, "config": {"hostname": "web", "log_directory": "/logs",'
            ' "linux": {"cgroup_parent": "/kubepods/podu", "security_context": {}}}}'
        },
    )
    assert observe.config_of(answer) == cri.PodSandboxConfig(
        metadata=cri.PodSandboxMetadata(name="web"),
        hostname="web",
        log_directory="/logs",
        labels=LABELS,
        annotations={"a": "b"},
        linux=cri.LinuxPodSandboxConfig(cgroup_parent="/kubepods/podu"),
    )


@pytest.mark.parametrize("info", [{}, {"info": "{}"}, {"info": "no json"}, {"info": "[1]"}])
def test_an_engine_that_does_not_tell_is_not_asked_again(info: dict[str, str]) -> None:
    status = cri.PodSandboxStatus(metadata=cri.PodSandboxMetadata(name="web"))
    made = observe.config_of(cri.PodSandboxStatusResponse(status=status, info=info))
    assert (made.metadata.name, made.hostname, made.log_directory) == ("web", "", "")


def test_only_what_runs_in_a_pod_is_measured() -> None:
    def stats(uid: str, at: int) -> cri.ContainerStats:
        labels = {**LABELS, names.POD_UID: uid} if uid else {}
        return cri.ContainerStats(
            attributes=cri.ContainerAttributes(id="i", labels=labels),
            cpu=cri.CpuUsage(timestamp=at, usage_core_nano_seconds=cri.UInt64Value(value=5)),
            memory=cri.MemoryUsage(working_set_bytes=cri.UInt64Value(value=6)),
            writable_layer=cri.FilesystemUsage(
                used_bytes=cri.UInt64Value(value=7), inodes_used=cri.UInt64Value(value=8)
            ),
        )

    running = ContainerStats("c", MADE_AT, 5, 6, 7, 8)
    assert observe.stats_of([stats("u", MADE), stats("", MADE), stats("v", 0)]) == [
        PodStats(UID("u"), "default", "web", (running,))
    ]


def test_an_image_says_its_user_by_number_or_by_name() -> None:
    root = cri.Image(id="i", repo_tags=["t"], repo_digests=["d"], size=9, uid={"value": 0})
    named = cri.Image(id="j", username="www", pinned=True)
    assert observe.image_of(root) == Image("i", ("t",), ("d",), 9, user=0)
    assert observe.image_of(named) == Image("j", username="www", pinned=True)


def test_a_filesystem_is_known_by_where_it_is() -> None:
    usage = cri.FilesystemUsage(
        fs_id={"mountpoint": "/images"}, used_bytes={"value": 1}, inodes_used={"value": 2}
    )
    assert observe.filesystem_of(usage) == FilesystemUsage(Path("/images"), 1, 2)
