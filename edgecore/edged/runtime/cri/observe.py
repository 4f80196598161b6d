"""What an engine shows, in edged's words. Pure.

Source: Kubernetes pkg/kubelet/kuberuntime/helpers.go and kuberuntime_container.go.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from common.names import UID
from edgecore.edged.runtime.base import (
    ContainerState,
    ContainerStats,
    ContainerStatus,
    PodObservation,
    PodStats,
)
from edgecore.edged.runtime.cri import cri_pb2 as cri
from edgecore.edged.runtime.cri import names
from edgecore.edged.runtime.images import FilesystemUsage, Image

_NS: Final = 1_000_000_000

_STATES: Final[dict[cri.ContainerState, ContainerState]] = {
    cri.CONTAINER_CREATED: ContainerState.CREATED,
    cri.CONTAINER_RUNNING: ContainerState.RUNNING,
    cri.CONTAINER_EXITED: ContainerState.EXITED,
    # It may be alive: no second one is to be started beside it.
    cri.CONTAINER_UNKNOWN: ContainerState.RUNNING,
}


class _Linux(msgspec.Struct):
    cgroup_parent: str = ""


class _Config(msgspec.Struct):
    hostname: str = ""
    log_directory: str = ""
    linux: _Linux = msgspec.field(default_factory=_Linux)


class _Info(msgspec.Struct):
    config: _Config = msgspec.field(default_factory=_Config)


def uid_of(labels: Mapping[str, str]) -> UID:
    """Return the pod that something belongs to; empty for what is no kubelet's."""
    return UID(labels.get(names.POD_UID, ""))


def listed(entry: cri.Container) -> ContainerStatus:
    """Return what a list tells of a container: enough for one that did not start yet."""
    return ContainerStatus(
        entry.id,
        entry.labels.get(names.CONTAINER_NAME) or entry.metadata.name,
        entry.metadata.attempt,
        _STATES[entry.state],
        entry.pod_sandbox_id,
        image=entry.image.image,
        image_id=entry.image_ref,
        spec_hash=entry.annotations.get(names.SPEC_HASH, ""),
        created_at=moment(entry.created_at),
    )


def detailed(entry: cri.Container, status: cri.ContainerStatus, message: str) -> ContainerStatus:
    """Return all that there is to say of a container.

    Args:
        entry: of the list; it alone tells the sandbox.
        status: of this container, maybe newer than ``entry``.
        message: what the container itself left as its last words.
    """
    has_ended = status.state == cri.CONTAINER_EXITED
    return ContainerStatus(
        entry.id,
        entry.labels.get(names.CONTAINER_NAME) or entry.metadata.name,
        entry.metadata.attempt,
        _STATES[status.state],
        entry.pod_sandbox_id,
        image=status.image.image,
        image_id=status.image_ref,
        spec_hash=entry.annotations.get(names.SPEC_HASH, ""),
        created_at=moment(status.created_at),
        started_at=moment(status.started_at),
        finished_at=moment(status.finished_at) if has_ended else None,
        exit_code=status.exit_code if has_ended else 0,
        reason=status.reason if has_ended else "",
        message=": ".join(filter(None, (status.message, message))) if has_ended else "",
    )


def current(sandboxes: Iterable[cri.PodSandbox]) -> cri.PodSandbox | None:
    """Return the sandbox that counts: the newest one that is ready, else the newest."""
    return max(sandboxes, key=lambda s: (s.state == cri.SANDBOX_READY, s.created_at), default=None)


def observation(
    uid: UID,
    sandboxes: Iterable[cri.PodSandbox],
    containers: Iterable[ContainerStatus],
    ips: tuple[str, ...],
    labels: Mapping[str, str],
) -> PodObservation:
    """Return the pod that these make up.

    Args:
        uid: of the pod.
        sandboxes: all of the pod; there may be none, or several.
        containers: all of the pod, those of older sandboxes included.
        ips: of the sandbox that counts.
        labels: of any of them.
    """
    sandboxes = tuple(sandboxes)
    sandbox = current(sandboxes)
    return PodObservation(
        uid,
        labels.get(names.POD_NAMESPACE, ""),
        labels.get(names.POD_NAME, ""),
        sandbox_id=sandbox.id if sandbox else "",
        sandbox_ready=sandbox is not None and sandbox.state == cri.SANDBOX_READY,
        # The next one is to have a number that none of them has.
        sandbox_attempt=max((s.metadata.attempt for s in sandboxes), default=0),
        ips=ips,
        containers=tuple(containers),
    )


def ips_of(status: cri.PodSandboxStatus) -> tuple[str, ...]:
    """Return the addresses of a sandbox; none where it uses the machine's network."""
    if not status.network.ip:
        return ()
    return (status.network.ip, *(more.ip for more in status.network.additional_ips))


def config_of(answer: cri.PodSandboxStatusResponse) -> cri.PodSandboxConfig:
    """Return what containers must know of a sandbox that an earlier edgecore or a kubelet made.

    containerd tells how it was made; CRI-O does not, and does not ask for it either.
    """
    try:
        made = msgspec.json.decode(answer.info.get("info", "{}"), type=_Info).config
    except msgspec.DecodeError:
        made = _Config()
    return cri.PodSandboxConfig(
        metadata=answer.status.metadata,
        hostname=made.hostname,
        log_directory=made.log_directory,
        labels=answer.status.labels,
        annotations=answer.status.annotations,
        linux=cri.LinuxPodSandboxConfig(cgroup_parent=made.linux.cgroup_parent),
    )


def stats_of(stats: Iterable[cri.ContainerStats]) -> list[PodStats]:
    """Return what pods take, of what their running containers take; the others have no reading."""
    pods: dict[UID, list[cri.ContainerStats]] = {}
    for one in stats:
        uid = uid_of(one.attributes.labels)
        if uid and one.cpu.timestamp > 0:
            pods.setdefault(uid, []).append(one)
    return [
        PodStats(
            uid,
            group[0].attributes.labels.get(names.POD_NAMESPACE, ""),
            group[0].attributes.labels.get(names.POD_NAME, ""),
            tuple(_container_stats(one) for one in group),
        )
        for uid, group in pods.items()
    ]


def image_of(image: cri.Image) -> Image:
    """Return an image of this machine."""
    return Image(
        image.id,
        tuple(image.repo_tags),
        tuple(image.repo_digests),
        image.size,
        user=image.uid.value if image.HasField("uid") else None,
        username=image.username,
        pinned=image.pinned,
    )


def filesystem_of(usage: cri.FilesystemUsage) -> FilesystemUsage:
    """Return what images take."""
    return FilesystemUsage(
        Path(usage.fs_id.mountpoint), usage.used_bytes.value, usage.inodes_used.value
    )


def moment(ns: int) -> datetime | None:
    """Return the moment that an engine means; None where it did not come yet.

    Engines say 0 for that, or what their language has for no time at all, long before 1970.
    """
    if ns <= 0:
        return None
    seconds, rest = divmod(ns, _NS)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1000)


def _container_stats(stats: cri.ContainerStats) -> ContainerStats:
    labels = stats.attributes.labels
    return ContainerStats(
        labels.get(names.CONTAINER_NAME) or stats.attributes.metadata.name,
        moment(stats.cpu.timestamp) or datetime.fromtimestamp(0, UTC),
        stats.cpu.usage_core_nano_seconds.value,
        stats.memory.working_set_bytes.value,
        stats.writable_layer.used_bytes.value,
        stats.writable_layer.inodes_used.value,
    )
