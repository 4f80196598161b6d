"""What a container gets to see of its pod's files.

Source: Kubernetes pkg/kubelet/kubelet_pods.go (makeMounts), from which the words of errors are, and
https://kubernetes.io/docs/concepts/storage/volumes/

All functions block: call them in a thread.
"""

import logging
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Final

from msgspec import Struct

from edgecore.edged.objects import MissingError
from edgecore.edged.podview import Object, spec_of
from edgecore.edged.runtime.spec import Mount, Propagation
from edgecore.edged.spec.env import expand
from edgecore.edged.volumes.mounts import Mounter
from edgecore.edged.volumes.podfiles import PodFiles
from edgecore.edged.volumes.subpaths import prepare_subpath

logger = logging.getLogger(__name__)

HOSTS_PATH: Final = "/etc/hosts"
DEFAULT_TERMINATION_PATH: Final = "/dev/termination-log"

_READ_ONLY: Final = frozenset({"configMap", "secret", "projected", "downwardAPI"})
_REFERENCE: Final = re.compile(r"\$(?:\$|\(([^)]*)\))")
_KEPT_MESSAGES: Final = 10
"""Starts whose messages stay: more than containers that have ended are kept."""


class Sources(Struct, frozen=True):
    """Where the mounts of a pod's containers come from."""

    files: PodFiles
    paths: Mapping[str, Path]
    """Where the volumes are, by name."""
    mounter: Mounter


def container_mounts(
    pod: Object, container: Object, attempt: int, variables: Mapping[str, str], sources: Sources
) -> tuple[Mount, ...]:
    """Return the mounts of one start of ``container``, all of them there.

    These are its volumes, ``/etc/hosts`` where ``write_etc_hosts`` made one for the pod, and the
    file for its termination message, which is new and comes last. Volumes of objects are read-only
    whatever the pod says.

    Args:
        pod: whose container it is.
        container: the container's spec.
        attempt: how often it was started before.
        variables: its environment, for ``subPathExpr``.
        sources: of its pod.

    Raises:
        MissingError: a mount cannot be made as the pod wants it.
        OSError: the disk is full, or not writable.
    """
    _make_pod_dir(sources.files)
    mounts = [
        _volume_mount(pod, container, index, variables, sources)
        for index in range(len(container.get("volumeMounts") or ()))
    ]
    taken = {mount.container_path for mount in mounts}
    if HOSTS_PATH not in taken and _has_hosts_file(pod, sources.files):
        mounts.append(Mount("", sources.files.hosts_path, HOSTS_PATH))
    message = _absolute(container.get("terminationMessagePath") or DEFAULT_TERMINATION_PATH)
    path = _new_termination_file(sources.files, container["name"], attempt)
    return (*mounts, Mount("", path, message))


def write_etc_hosts(files: PodFiles, data: bytes) -> None:
    """Let the pod's hosts file have ``data``; running containers see it.

    Raises:
        OSError: the disk is full, or not writable.
    """
    path = files.hosts_path
    with suppress(OSError):
        if path.read_bytes() == data:
            return
    _make_pod_dir(files)
    path.write_bytes(data)  # not beside it and renamed: containers have this very file mounted
    path.chmod(0o644)


def _make_pod_dir(files: PodFiles) -> None:
    """Make the pod's directory where no volume did, closed to everybody else as then."""
    files.pod_dir.mkdir(mode=0o700, parents=True, exist_ok=True)


def _volume_mount(
    pod: Object, container: Object, index: int, variables: Mapping[str, str], sources: Sources
) -> Mount:
    mount = container["volumeMounts"][index]
    volumes = {volume["name"]: volume for volume in spec_of(pod).get("volumes") or ()}
    name = mount["name"]
    if name not in sources.paths or name not in volumes:
        raise MissingError(
            f'cannot find volume "{name}" to mount into container "{container["name"]}"'
        )
    _check_recursive_read_only(mount)
    host_path, inner = sources.paths[name], _sub_path(mount, variables)
    if inner:
        target = sources.files.subpath(name, container["name"], index)
        try:
            host_path = prepare_subpath(host_path, inner, target, sources.mounter)
        except OSError as error:
            # What is wrong tells of the machine, so it is not for the pod's author to read.
            extra = {"pod": sources.files.pod_dir.name, "volume": name, "why": str(error)}
            logger.warning("subPath cannot be used", extra=extra)
            raise MissingError(
                f'failed to prepare subPath for volumeMount "{name}" of container '
                f'"{container["name"]}"'
            ) from error
    return Mount(
        name,
        host_path,
        _absolute(mount["mountPath"]),
        read_only=bool(mount.get("readOnly")) or bool(_READ_ONLY & volumes[name].keys()),
        propagation=_propagation(mount),
    )


def _sub_path(mount: Object, variables: Mapping[str, str]) -> str:
    inner: str = mount.get("subPath") or ""
    if expression := mount.get("subPathExpr"):
        names = {match[1] for match in _REFERENCE.finditer(expression) if match[1] is not None}
        if missing := sorted(name for name in names if not variables.get(name)):
            raise MissingError(f"missing value for {', '.join(missing)}")
        inner = expand(expression, variables)
    if inner.startswith("/"):
        raise MissingError(f"error SubPath `{inner}` must not be an absolute path")
    if ".." in PurePosixPath(inner).parts:
        raise MissingError(f"unable to provision SubPath `{inner}`: must not contain '..'")
    if "\0" in inner:
        raise MissingError(f"unable to provision SubPath {inner!r}")
    return inner


def _propagation(mount: Object) -> Propagation:
    mode = mount.get("mountPropagation") or Propagation.PRIVATE
    try:
        return Propagation(mode)
    except ValueError as error:
        raise MissingError(f'invalid MountPropagation mode: "{mode}"') from error


def _check_recursive_read_only(mount: Object) -> None:
    """Do nothing where mounts inside the volume may stay writable; we can promise no more."""
    mode = mount.get("recursiveReadOnly") or "Disabled"
    if mode == "Disabled":
        return
    wish = f'volume "{mount["name"]}" requested recursive read-only mode, but it is'
    if not mount.get("readOnly"):
        raise MissingError(f"{wish} not read-only")
    if _propagation(mount) is not Propagation.PRIVATE:
        raise MissingError(f'{wish} not compatible with propagation "{mount["mountPropagation"]}"')
    if mode == "Enabled":
        raise MissingError(f"{wish} not supported by this node")
    if mode != "IfPossible":
        raise MissingError(f'unknown recursive read-only mode "{mode}"')


def _has_hosts_file(pod: Object, files: PodFiles) -> bool:
    """Whether the pod's hosts file is another than the machine's."""
    spec = spec_of(pod)
    own = not spec.get("hostNetwork") or bool(spec.get("hostAliases"))
    return own and files.hosts_path.is_file()


def _new_termination_file(files: PodFiles, container: str, attempt: int) -> Path:
    path = files.termination_path(container, attempt)
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    path.write_bytes(b"")
    path.chmod(0o666)  # whoever the container's user is
    files.termination_path(container, attempt - _KEPT_MESSAGES).unlink(missing_ok=True)
    return path


def _absolute(path: str) -> str:
    return path if path.startswith("/") else f"/{path}"
