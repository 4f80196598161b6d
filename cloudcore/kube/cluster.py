"""Which cluster this is: the UID of its namespace ``kube-system``.

A cluster that is restored from a backup keeps it; one that is made anew, under whatever name and
address, has another one.

Source: https://opentelemetry.io/docs/specs/semconv/resource/k8s/ (k8s.cluster.uid).
"""

from typing import Final

from cloudcore.kube import kinds
from cloudcore.kube.client import KubeClient
from cloudcore.kube.views import ObjectView, view_as
from common.errors import RemoteError
from common.names import UID
from common.status import failure

_NAMESPACE: Final = "kube-system"


async def read_cluster_uid(client: KubeClient) -> UID:
    """Return what tells this cluster from all others.

    Raises:
        RemoteError: the API server refuses, or is away; 503 where it is so new that the namespace
            is still to be made.
    """
    found = await client.find(kinds.NAMESPACES.path("", _NAMESPACE))
    if found is None:
        raise RemoteError(failure(503, f"there is no namespace {_NAMESPACE} yet"))
    return view_as(found, ObjectView).metadata.uid
