"""What stands in a pod's volumes: pure decisions, without touching a disk.

Source: https://kubernetes.io/docs/concepts/storage/volumes/ and projected-volumes/; the errors have
kubelet's words (pkg/volume/{configmap,secret,projected,downwardapi}).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final, NamedTuple, TypeAlias

from common.names import ResourceType
from edgecore.edged.fields import FieldError, NodeView, field_value, resource_value
from edgecore.edged.objects import MissingError, Objects, Ref, TokenRef, UnavailableError
from edgecore.edged.podview import Object, spec_of

DEFAULT_MODE: Final = 0o644
DEFAULT_TOKEN_LIFE_S: Final = 3600


class File(NamedTuple):
    """One file of a volume."""

    data: bytes
    mode: int


Payload: TypeAlias = Mapping[str, File]
"""Files by their path relative to the volume."""


@dataclass(frozen=True, slots=True)
class FilesVolume:
    """A volume whose files come from objects; ``payload`` is all that shall stand in it."""

    name: str
    payload: Payload
    secret: bool
    """Whether only root may enter it."""


@dataclass(frozen=True, slots=True)
class EmptyDir:
    """A directory that lives as long as the pod."""

    name: str


@dataclass(frozen=True, slots=True)
class HostPath:
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
    name = volume["name"]
    if "emptyDir" in volume:
        return EmptyDir(name)
    if "hostPath" in volume:
        return HostPath(name, volume["hostPath"]["path"], volume["hostPath"].get("type") or "")
    if "projected" in volume:
        source = volume["projected"]
        sources = source.get("sources") or []
        secret = any("secret" in s or "serviceAccountToken" in s for s in sources)
    elif kind := next((k for k in ("configMap", "secret", "downwardAPI") if k in volume), None):
        source = volume[kind] or {}
        sources, secret = [{kind: source}], kind == "secret"
    else:
        plugin = next((key for key in volume if key != "name"), "none")
        raise MissingError(f"volumes of kind {plugin} are not supported by this node")
    mode = source.get("defaultMode", DEFAULT_MODE)
    payload: dict[str, File] = {}
    for each in sources:
        for path, file in _files(pod, each, objects, node, mode):
            payload[_checked(path)] = file
    return FilesVolume(name, payload, secret)


def _files(
    pod: Object, source: Object, objects: Objects, node: NodeView, mode: int
) -> Iterator[tuple[str, File]]:
    """Yield the files of one source, whether it stands alone or is part of a projected volume."""
    if "configMap" in source:
        ref = Ref(ResourceType.CONFIGMAP, source["configMap"].get("name", ""))
        yield from _keys(source["configMap"], objects, ref, mode)
    elif "secret" in source:
        secret = source["secret"]
        name = secret.get("secretName") or secret.get("name", "")
        yield from _keys(secret, objects, Ref(ResourceType.SECRET, name), mode)
    elif "downwardAPI" in source:
        for item in source["downwardAPI"].get("items") or ():
            value = _downward(pod, item, node)
            yield item["path"], File(value.encode(), item.get("mode", mode))
    elif "serviceAccountToken" in source:
        account = spec_of(pod).get("serviceAccountName") or "default"
        ref_token = _token_ref(account, source["serviceAccountToken"])
        token = objects.token(ref_token)
        yield source["serviceAccountToken"]["path"], File(token.encode(), mode)
    else:
        raise MissingError(f"projected source {', '.join(source)} is not supported by this node")


def _keys(source: Object, objects: Objects, ref: Ref, mode: int) -> Iterator[tuple[str, File]]:
    optional = bool(source.get("optional"))
    data = objects.data(ref, optional=optional)
    items = source.get("items")
    if not items:
        yield from ((key, File(value, mode)) for key, value in data.items())
        return
    for item in items:
        if item["key"] in data:
            yield item["path"], File(data[item["key"]], item.get("mode", mode))
        elif not optional:
            raise MissingError(f"references non-existent {ref.kind} key: {item['key']}")


def _downward(pod: Object, item: Object, node: NodeView) -> str:
    if "fieldRef" in item:
        return field_value(pod, node, item["fieldRef"].get("fieldPath", ""))
    return resource_value(pod, node, "", item.get("resourceFieldRef") or {})


def _token_ref(account: str, source: Object) -> TokenRef:
    life_s = source.get("expirationSeconds") or DEFAULT_TOKEN_LIFE_S
    return TokenRef(account, source.get("audience", ""), life_s)


def _checked(path: str) -> str:
    """Return ``path`` in its shortest form.

    Raises:
        MissingError: it is absolute, leads upwards, or begins with ``..``, which the layout of the
            volume keeps for itself.
    """
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or parts[0].startswith(".."):
        raise MissingError(f"invalid path in a volume: {path[:128]!r}")
    return "/".join(parts)
