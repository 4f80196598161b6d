"""Where the files of a pod are. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from edgecore.edged.env import environment, expand
from edgecore.edged.fields import NodeView
from edgecore.edged.objects import MissingError, Objects
from edgecore.edged.podview import Object, spec_hash, spec_of, uid_of
from edgecore.edged.runtime.spec import ContainerConfig, Mount

_READ_ONLY = frozenset({"configMap", "secret", "projected", "downwardAPI"})


@dataclass(frozen=True, slots=True)
class PodFiles:
    """The directories of one pod under edged's data directory."""

    volumes_dir: Path
    log_dir: Path

    def log_path(self, container: str, attempt: int) -> Path:
        """Return the log of one start of a container, as kubelet names it."""
        return self.log_dir / container / f"{attempt}.log"


def pod_files(data_dir: Path, pod: Object) -> PodFiles:
    """Return where the files of ``pod`` are."""
    metadata, uid = pod["metadata"], uid_of(pod)
    name = f"{metadata['namespace']}_{metadata['name']}_{uid}"
    return PodFiles(data_dir / "pods" / uid, data_dir / "logs" / "pods" / name)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the containers of a pod are made from."""

    objects: Objects
    paths: Mapping[str, Path]
    """Where the volumes are, by name."""


def container_config(
    pod: Object, container: Object, attempt: int, prepared: Prepared, node: NodeView, log: Path
) -> tuple[ContainerConfig, tuple[str, ...]]:
    """Return how to start ``container``, and the names that could not become variables.

    Raises:
        MissingError: something that it needs is not there.
        UnavailableError: something that it needs could not be asked for.
    """
    made = environment(pod, container, prepared.objects, node)
    config = ContainerConfig(
        name=container["name"],
        attempt=attempt,
        image=container.get("image", ""),
        spec_hash=spec_hash(container),
        log_path=log,
        command=tuple(expand(part, made.variables) for part in container.get("command") or ()),
        args=tuple(expand(part, made.variables) for part in container.get("args") or ()),
        env=tuple(made.variables.items()),
        working_dir=container.get("workingDir", ""),
        mounts=_mounts(pod, container, prepared.paths, made.variables),
    )
    return config, made.skipped


def _mounts(
    pod: Object, container: Object, paths: Mapping[str, Path], variables: Mapping[str, str]
) -> tuple[Mount, ...]:
    volumes = {volume["name"]: volume for volume in spec_of(pod).get("volumes") or ()}
    mounts = []
    for mount in container.get("volumeMounts") or ():
        name = mount["name"]
        if name not in paths:
            continue  # a runtime that wants no files
        inner = mount.get("subPath") or expand(mount.get("subPathExpr", ""), variables)
        if inner.startswith("/") or ".." in PurePosixPath(inner).parts:
            raise MissingError(f"invalid subPath of volume {name}: {inner[:128]!r}")
        read_only = bool(mount.get("readOnly")) or bool(_READ_ONLY & volumes[name].keys())
        mounts.append(Mount(name, paths[name] / inner, mount["mountPath"], read_only))
    return tuple(mounts)
