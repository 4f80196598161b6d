"""What a pod names: ConfigMaps, Secrets, service accounts and claims.

Pure, and the one answer for both sides: cloudcore decides by it what a node may see, edgecore what
it must have. Unlike KubeEdge's LocationCache, init and ephemeral containers count.

Source: Kubernetes pkg/api/v1/pod/util.go (VisitPodConfigmapNames, VisitPodSecretNames).
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from msgspec import Struct

_CONTAINER_LISTS: Final = ("initContainers", "containers", "ephemeralContainers")

# Volume plugins whose source may name a Secret, and the field of the source that does.
_VOLUME_SECRET_REFS: Final[dict[str, str]] = {
    "azureFile": "secretName",
    "cephfs": "secretRef",
    "cinder": "secretRef",
    "csi": "nodePublishSecretRef",
    "flexVolume": "secretRef",
    "iscsi": "secretRef",
    "rbd": "secretRef",
    "scaleIO": "secretRef",
    "storageos": "secretRef",
}


class PodRefs(Struct, frozen=True):
    """Names, without the namespace, which is the pod's."""

    configmaps: frozenset[str] = frozenset()
    secrets: frozenset[str] = frozenset()
    service_accounts: frozenset[str] = frozenset()
    claims: frozenset[str] = frozenset()


def pod_refs(pod: Mapping[str, Any]) -> PodRefs:
    """Return what ``pod`` (a Pod as decoded JSON) names, optional references included.

    Fields of an unexpected shape are passed over: a pod that the API server accepted has none.
    """
    spec = _mapping(pod.get("spec"))
    configmaps: set[str] = set()
    secrets: set[str] = {_name(ref) for ref in _mappings(spec.get("imagePullSecrets"))}
    claims: set[str] = set()
    for volume in _mappings(spec.get("volumes")):
        _add_volume(volume, configmaps, secrets)
        claims.add(_text(_mapping(volume.get("persistentVolumeClaim")).get("claimName")))
        if "ephemeral" in volume:
            # The claim of a generic ephemeral volume is called after the pod and the volume.
            claims.add(f"{_text(_mapping(pod.get('metadata')).get('name'))}-{_name(volume)}")
    for container in _containers(spec):
        _add_environment(container, configmaps, secrets)
    service_account = (
        _text(spec.get("serviceAccountName")) or _text(spec.get("serviceAccount")) or "default"
    )
    return PodRefs(
        configmaps=frozenset(configmaps - {""}),
        secrets=frozenset(secrets - {""}),
        service_accounts=frozenset({service_account}),
        claims=frozenset(claims - {""}),
    )


def _add_volume(volume: Mapping[str, Any], configmaps: set[str], secrets: set[str]) -> None:
    configmaps.add(_name(_mapping(volume.get("configMap"))))
    secrets.add(_text(_mapping(volume.get("secret")).get("secretName")))
    for source in _mappings(_mapping(volume.get("projected")).get("sources")):
        configmaps.add(_name(_mapping(source.get("configMap"))))
        secrets.add(_name(_mapping(source.get("secret"))))
    for plugin, field in _VOLUME_SECRET_REFS.items():
        ref = _mapping(volume.get(plugin)).get(field)
        secrets.add(ref if isinstance(ref, str) else _name(_mapping(ref)))


def _add_environment(container: Mapping[str, Any], configmaps: set[str], secrets: set[str]) -> None:
    for source in _mappings(container.get("envFrom")):
        configmaps.add(_name(_mapping(source.get("configMapRef"))))
        secrets.add(_name(_mapping(source.get("secretRef"))))
    for variable in _mappings(container.get("env")):
        value_from = _mapping(variable.get("valueFrom"))
        configmaps.add(_name(_mapping(value_from.get("configMapKeyRef"))))
        secrets.add(_name(_mapping(value_from.get("secretKeyRef"))))


def _containers(spec: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for field in _CONTAINER_LISTS:
        yield from _mappings(spec.get(field))


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _mappings(value: object) -> Iterator[Mapping[str, Any]]:
    return (
        (item for item in value if isinstance(item, Mapping))
        if isinstance(value, list)
        else iter(())
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _name(ref: Mapping[str, Any]) -> str:
    return _text(ref.get("name"))
