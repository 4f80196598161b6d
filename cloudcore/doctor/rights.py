"""The rights that cloudcore needs of the API server, as questions to it. Pure.

They are those that ``deploy/kubernetes/base`` grants; a test compares the two.

Source: https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/self-subject-access-review-v1/
"""

from collections.abc import Iterator
from typing import Any, Final

from msgspec import Struct

from cloudcore.trust.keptsecrets import NAMESPACE
from common.names import NODES_GROUP

REVIEWS: Final = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


class Right(Struct, frozen=True):
    """A verb on a kind of object."""

    verb: str
    resource: str
    group: str = ""
    namespace: str = ""
    name: str = ""

    def __str__(self) -> str:
        """As ``kubectl auth can-i`` would be asked."""
        kind = f"{self.resource}.{self.group}" if self.group else self.resource
        named = f"{kind}/{self.name}" if self.name else kind
        return f"{self.verb} {named}" + (f" in {self.namespace}" if self.namespace else "")

    def review(self) -> dict[str, Any]:
        """Return the question whether who asks has this right."""
        attributes = {
            "verb": self.verb,
            "resource": self.resource,
            "group": self.group,
            "namespace": self.namespace,
            "name": self.name,
        }
        return {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {k: v for k, v in attributes.items() if v}},
        }


def _rights() -> Iterator[Right]:
    yield Right("get", "namespaces", name="kube-system")
    for resource in ("pods", "configmaps", "secrets", "services"):
        for verb in ("get", "list", "watch"):
            yield Right(verb, resource)
    yield Right("patch", "pods")
    for verb in ("list", "watch"):
        yield Right(verb, "persistentvolumeclaims")
        yield Right(verb, "endpointslices", "discovery.k8s.io")
    for verb in ("get", "list", "watch", "patch", "delete"):
        yield Right(verb, "nodes")
    for verb in ("create", "update", "delete"):
        yield Right(verb, "secrets", namespace=NAMESPACE)
    for verb in ("create", "update"):
        yield Right(verb, "configmaps", namespace=NAMESPACE)
    yield Right("patch", "configmaps", namespace=NAMESPACE, name="edgecertificates")


RIGHTS: Final = tuple(_rights())
"""Under its own name."""

IMPERSONATION: Final = (
    Right("impersonate", "users", name="system:node:any"),
    Right("impersonate", "groups", name=NODES_GROUP),
)
"""In the names of nodes, where that is not constrained by the API server itself."""
