"""What stands in a pod's volumes: pure decisions, without touching a disk.

Source: https://kubernetes.io/docs/concepts/storage/volumes/ and projected-volumes/; the errors have
kubelet's words (pkg/volume/{configmap,secret,projected,downwardapi,emptydir,hostpath}).
"""

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, Final, NamedTuple, TypeAlias

from msgspec import Struct

from common.names import ResourceType
from edgecore.edged.objects import MissingError, Objects, Ref, TokenRef, UnavailableError
from edgecore.edged.podview import Object, containers_of, init_containers_of, spec_of
from edgecore.edged.spec.fields import FieldError, NodeView, field_value, resource_value
from edgecore.edged.spec.quantity import parse_quantity
from edgecore.edged.spec.resources import pod_cgroup_limits
from edgecore.edged.volumes.nestedmounts import nested_mount_points
from edgecore.edged.volumes.podfiles import Plugin

DEFAULT_MODE: Final = 0o644
DEFAULT_TOKEN_LIFE_S: Final = 3600

_TOKEN_MODE: Final = 0o600
"""Of a token whose reader is known: its owner, or the pod's group by ``_GROUP_BITS``."""
_GROUP_BITS: Final = 0o440
_LONGEST_NAME: Final = 255
_LONGEST_PATH: Final = 4096
_DEEPEST: Final = 100

_FILES_PLUGINS: Final = {
    "configMap": Plugin.CONFIGMAP,
    "secret": Plugin.SECRET,
    "downwardAPI": Plugin.DOWNWARD_API,
    "projected": Plugin.PROJECTED,
}


class File(NamedTuple):
    """One file of a volume."""

    data: bytes
    mode: int
    owner: int | None = None
    """Numeric user; None: edgecore's."""


Payload: TypeAlias = Mapping[str, File]
"""Files by their path relative to the volume."""


class FilesVolume(Struct, frozen=True):
    """A volume whose files come from objects; ``payload`` is all that shall stand in it."""

    name: str
    plugin: Plugin
    payload: Payload
    group: int | None = None
    """Numeric group of all files; None: edgecore's."""
    nested: tuple[str, ...] = ()
    """Directories in it over which containers mount something else."""

    @property
    def in_memory(self) -> bool:
        """Whether its files may not reach a disk."""
        return self.plugin is not Plugin.CONFIGMAP


class EmptyDir(Struct, frozen=True):
    """A directory that lives as long as the pod."""

    name: str
    in_memory: bool = False
    size_bytes: int = 0
    """What one in memory may take; 0 for the kernel's default."""
    group: int | None = None
    """Numeric group, which may write there; None: edgecore's."""


class HostPath(Struct, frozen=True):
    """A file or directory of this machine."""

    name: str
    path: str
    kind: str
    """``type`` of the spec: empty for no check, ``DirectoryOrCreate``, ``File``, …"""


Volume: TypeAlias = FilesVolume | EmptyDir | HostPath


class VolumeError(Exception):
    """A volume cannot be set up as things are; the text goes into the pod's status."""

    def __init__(self, volume: str, cause: str) -> None:
        super().__init__(f'MountVolume.SetUp failed for volume "{volume}" : {cause}')


def volumes_of(pod: Object, objects: Objects, node: NodeView) -> list[Volume]:
    """Return the pod's volumes, with the contents of those that have some.

    ``fsGroup`` is followed; ``fsGroupChangePolicy`` is about volumes that outlive a pod, of which
    there are none here.

    Raises:
        VolumeError: an object or key is missing, a path leads out of the volume, or the kind of
            volume is not supported.
    """
    volumes = []
    for volume in spec_of(pod).get("volumes") or ():
        try:
            volumes.append(_volume(pod, volume, objects, node))
        except (MissingError, UnavailableError, FieldError) as error:
            raise VolumeError(volume["name"], str(error)) from error
    return volumes


def tokens_of(pod: Object) -> frozenset[TokenRef]:
    """Return the service account tokens that the pod's volumes need."""
    account = spec_of(pod).get("serviceAccountName") or "default"
    return frozenset(
        _token_ref(account, source["serviceAccountToken"])
        for volume in spec_of(pod).get("volumes") or ()
        for source in (volume.get("projected") or {}).get("sources") or ()
        if "serviceAccountToken" in source
    )


def _volume(pod: Object, volume: Object, objects: Objects, node: NodeView) -> Volume:
    if "emptyDir" in volume:
        return _empty_dir(pod, volume["name"], volume["emptyDir"] or {}, node)
    if "hostPath" in volume:
        return _host_path(volume["name"], volume["hostPath"])
    kind = next((kind for kind in _FILES_PLUGINS if kind in volume), None)
    if kind is None:
        plugin = next((key for key in volume if key != "name"), "none")
        raise MissingError(f"volumes of kind {plugin} are not supported by this node")
    source = volume[kind] or {}
    sources = source.get("sources") or [] if kind == "projected" else [{kind: source}]
    mode, group = _mode(source.get("defaultMode"), DEFAULT_MODE), _fs_group(pod)
    payload: dict[str, File] = {}
    for each in sources:
        for path, file in _files(pod, each, objects, node, mode):
            readable = file.mode if group is None else file.mode | _GROUP_BITS
            payload[_checked(path)] = file._replace(mode=readable)
    nested = tuple(_checked(path) for path in nested_mount_points(pod, volume["name"]))
    return FilesVolume(volume["name"], _FILES_PLUGINS[kind], payload, group, nested)


def _empty_dir(pod: Object, name: str, source: Object, node: NodeView) -> EmptyDir:
    medium, group = source.get("medium") or "", _fs_group(pod)
    if not medium:
        return EmptyDir(name, group=group)
    if medium.startswith("HugePages"):
        raise MissingError(f"emptyDir of medium {medium} is not supported by this node")
    if medium != "Memory":
        raise MissingError(f'unknown storage medium "{medium}"')
    quantities = (node.allocatable.get("memory"), source.get("sizeLimit"))
    try:
        limits = [int(parse_quantity(str(quantity or "0"))) for quantity in quantities]
    except ValueError as error:
        raise MissingError(f"sizeLimit: {error}") from error
    limits.append(pod_cgroup_limits(pod).memory_bytes)
    size_bytes = min((limit for limit in limits if limit > 0), default=0)
    return EmptyDir(name, in_memory=True, size_bytes=size_bytes, group=group)


def _host_path(name: str, source: Object) -> HostPath:
    path = source["path"]
    if ".." in PurePosixPath(path).parts:
        raise MissingError(f"invalid HostPath `{path}`: must not contain '..'")
    if "\0" in path:
        raise MissingError(f"invalid HostPath {path!r}")
    return HostPath(name, path, source.get("type") or "")


def _files(
    pod: Object, source: Object, objects: Objects, node: NodeView, mode: int
) -> Iterator[tuple[str, File]]:
    """Yield the files of one source, whether it stands alone or is part of a projected volume."""
    if "configMap" in source:
        ref = Ref(ResourceType.CONFIGMAP, source["configMap"].get("name", ""))
        missing = "configmap references non-existent config key"
        yield from _keys(source["configMap"], objects, ref, mode, missing)
    elif "secret" in source:
        secret = source["secret"]
        ref = Ref(ResourceType.SECRET, secret.get("secretName") or secret.get("name", ""))
        yield from _keys(secret, objects, ref, mode, "references non-existent secret key")
    elif "downwardAPI" in source:
        for item in source["downwardAPI"].get("items") or ():
            value = _downward(pod, item, node)
            yield item["path"], File(value.encode(), _mode(item.get("mode"), mode))
    elif "serviceAccountToken" in source:
        yield source["serviceAccountToken"]["path"], _token_file(pod, source, objects, mode)
    else:
        raise MissingError(f"projected source {', '.join(source)} is not supported by this node")


def _keys(
    source: Object, objects: Objects, ref: Ref, mode: int, missing: str
) -> Iterator[tuple[str, File]]:
    optional = bool(source.get("optional"))
    data = objects.data(ref, optional=optional)
    items = source.get("items")
    if not items:
        yield from ((key, File(value, mode)) for key, value in data.items())
        return
    for item in items:
        if item["key"] in data:
            yield item["path"], File(data[item["key"]], _mode(item.get("mode"), mode))
        elif not optional:
            raise MissingError(f"{missing}: {item['key']}")


def _downward(pod: Object, item: Object, node: NodeView) -> str:
    if "fieldRef" in item:
        return field_value(pod, node, item["fieldRef"].get("fieldPath", ""))
    return resource_value(pod, node, "", item.get("resourceFieldRef") or {})


def _token_file(pod: Object, source: Object, objects: Objects, mode: int) -> File:
    """Return the file of a token, which only its reader may open if the pod says who that is."""
    account = spec_of(pod).get("serviceAccountName") or "default"
    token = objects.token(_token_ref(account, source["serviceAccountToken"]))
    user = _fs_user(pod)
    if user is not None or _fs_group(pod) is not None:
        mode = _TOKEN_MODE
    return File(token.encode(), mode, user)


def _token_ref(account: str, source: Object) -> TokenRef:
    life_s = source.get("expirationSeconds") or DEFAULT_TOKEN_LIFE_S
    return TokenRef(account, source.get("audience", ""), life_s)


def _fs_group(pod: Object) -> int | None:
    group: int | None = (spec_of(pod).get("securityContext") or {}).get("fsGroup")
    return group


def _fs_user(pod: Object) -> int | None:
    """Return the user as whom all containers of the pod run; None if there are several."""
    of_pod = (spec_of(pod).get("securityContext") or {}).get("runAsUser")
    users = set()
    for container in (*init_containers_of(pod), *containers_of(pod)):
        own: int | None = (container.get("securityContext") or {}).get("runAsUser")
        users.add(of_pod if own is None else own)
    return users.pop() if len(users) == 1 else None


def _mode(value: Any, default: int) -> int:
    """Return the mode bits that an object says, which JSON has as a decimal number.

    Raises:
        MissingError: they are none.
    """
    if value is None:
        return default
    if not isinstance(value, int) or not 0 <= value <= 0o777:
        raise MissingError("mode must be a number between 0 and 0777 (octal), both inclusive")
    return value


def _checked(path: str) -> str:
    """Return ``path`` in its shortest form.

    Raises:
        MissingError: it is absolute, leads upwards, or begins with ``..``, which the layout of the
            volume keeps for itself; or it is none that a file system takes.
    """
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or parts[0].startswith(".."):
        raise MissingError(f"invalid path in a volume: {path[:128]!r}")
    too_long = len(path) > _LONGEST_PATH or any(len(part) > _LONGEST_NAME for part in parts)
    if "\0" in path or too_long or len(parts) > _DEEPEST:
        raise MissingError(f"invalid path in a volume: {path[:128]!r}")
    return "/".join(parts)
