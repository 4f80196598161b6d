"""The kinds of Kubernetes objects that cloudcore reads or writes, and their paths.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-uris
"""

from typing import Final
from urllib.parse import quote

from msgspec import Struct


class ResourceKind(Struct, frozen=True):
    """One kind of object: how it is called, and where the API server keeps it."""

    kind: str
    plural: str
    api_version: str = "v1"
    namespaced: bool = True

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Return the path of an object, or of the whole collection where there is no name.

        Args:
            namespace: of the object; empty for all namespaces of a collection. Has no part in the
                path of a kind that has none.
            name: of the object; it is quoted, so that no name can lead anywhere else.
            subresource: such as ``status``.
        """
        root = "/apis/" if "/" in self.api_version else "/api/"
        parts = [root + self.api_version]
        if self.namespaced and namespace:
            parts += ["namespaces", _segment(namespace)]
        parts.append(self.plural)
        if name:
            parts.append(_segment(name))
        if subresource:
            parts.append(subresource)
        return "/".join(parts)

    def head(self) -> bytes:
        """Return what goes in front of an item of a list, in place of its opening brace.

        Items of a list carry neither kind nor apiVersion, objects in a watch event do, and the
        edge needs them.
        """
        return f'{{"kind":"{self.kind}","apiVersion":"{self.api_version}",'.encode()


def _segment(text: str) -> str:
    # Dots are not quoted by anything, and a URL library takes ".." for a step up.
    return quote(text, safe="") if text.strip(".") else "%2E" * len(text)


PODS: Final = ResourceKind("Pod", "pods")
NODES: Final = ResourceKind("Node", "nodes", namespaced=False)
NAMESPACES: Final = ResourceKind("Namespace", "namespaces", namespaced=False)
CONFIGMAPS: Final = ResourceKind("ConfigMap", "configmaps")
SECRETS: Final = ResourceKind("Secret", "secrets")
SERVICES: Final = ResourceKind("Service", "services")
ENDPOINT_SLICES: Final = ResourceKind("EndpointSlice", "endpointslices", "discovery.k8s.io/v1")
LEASES: Final = ResourceKind("Lease", "leases", "coordination.k8s.io/v1")
EVENTS: Final = ResourceKind("Event", "events")
SERVICE_ACCOUNTS: Final = ResourceKind("ServiceAccount", "serviceaccounts")
PERSISTENT_VOLUMES: Final = ResourceKind("PersistentVolume", "persistentvolumes", namespaced=False)
PERSISTENT_VOLUME_CLAIMS: Final = ResourceKind("PersistentVolumeClaim", "persistentvolumeclaims")
VOLUME_ATTACHMENTS: Final = ResourceKind(
    "VolumeAttachment", "volumeattachments", "storage.k8s.io/v1", namespaced=False
)
