"""Apply objects to a cluster, one after another, and tell what became of each."""

from collections.abc import AsyncGenerator, Sequence
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Final

import msgspec
from msgspec import Struct

from cloudcore.install.kustomization import Object
from cloudcore.kube.client import KubeClient
from cloudcore.kube.kinds import ResourceKind
from common.errors import EdgeError, RemoteError
from common.status import failure

MANAGER: Final = "cloudedge"
"""In whose name fields are set: what others have set since is theirs."""

_HINTS: Final = {
    "monitoring.coreos.com/v1": "the CRDs of the Prometheus operator: install it first",
    "admissionregistration.k8s.io/v1": "a newer Kubernetes",
}


class InstallError(EdgeError):
    """Something cannot be installed; it tells what helps."""


class Outcome(StrEnum):
    """What became of an object."""

    CREATED = "created"
    CHANGED = "changed"
    UNCHANGED = "unchanged"


class Place(Struct, frozen=True):
    """Where an object has its place in the API."""

    kind: ResourceKind
    namespace: str
    name: str

    @property
    def path(self) -> str:
        """The object's path."""
        return self.kind.path(self.namespace, self.name)

    def __str__(self) -> str:
        """Return it as people read it."""
        return f"{self.kind.kind} {f'{self.namespace}/' if self.namespace else ''}{self.name}"


async def places(client: KubeClient, objects: Sequence[Object]) -> list[Place]:
    """Return where each of ``objects`` has its place, in their order, as the API server says.

    Raises:
        InstallError: the cluster does not know kinds of theirs; all are named.
        RemoteError: the API server refused, or is away.
    """
    served: dict[str, dict[str, ResourceKind]] = {}
    found, missing = [], set[str]()
    for one in objects:
        version, kind = one["apiVersion"], one["kind"]
        if version not in served:
            served[version] = await _kinds(client, version)
        if kind in served[version]:
            metadata = one["metadata"]
            found.append(
                Place(served[version][kind], metadata.get("namespace", ""), metadata["name"])
            )
        else:
            needed = _HINTS.get(version, "what has that kind")
            missing.add(f"this cluster has no {kind} of {version}; it needs {needed}")
    if missing:
        raise InstallError("\n".join(sorted(missing)))
    return found


async def apply(
    client: KubeClient, objects: Sequence[Object], *, force: bool = False
) -> AsyncGenerator[tuple[Place, Outcome], None]:
    """Apply ``objects`` in their order and yield what became of each, as soon as it is known.

    Args:
        client: of the cluster.
        objects: what is to be there.
        force: take over fields that others have set to something else.

    Raises:
        InstallError: somebody else has set a field, and there is no ``force``; or as ``places``.
        RemoteError: the API server refused. What was yielded before has been done.
    """
    for place, one in zip(await places(client, objects), objects, strict=True):
        before = await client.find(place.path)
        try:
            after = await client.apply(
                place.path, msgspec.json.encode(one), manager=MANAGER, force=force
            )
        except RemoteError as error:
            raise _explained(place, error) from error
        yield place, _outcome(before, after)


def _outcome(before: bytes | None, after: bytes) -> Outcome:
    if before is None:
        return Outcome.CREATED
    return Outcome.UNCHANGED if _wanted(before) == _wanted(after) else Outcome.CHANGED


def _wanted(text: bytes) -> Object:
    """Return an object without what the API server notes of it, and what controllers say of it."""
    found: Object = msgspec.json.decode(text)
    for noted in ("resourceVersion", "generation", "managedFields"):
        found["metadata"].pop(noted, None)
    found.pop("status", None)
    return found


def _explained(place: Place, error: RemoteError) -> EdgeError:
    status = error.status
    if status.code == HTTPStatus.CONFLICT and status.reason == "Conflict":
        return InstallError(
            f"{place}: others have set what would be set: {status.message}. To take it over:"
            " --take-over; or set it in the options as they did"
        )
    return RemoteError(failure(status.code, f"{place}: {status.message}", reason=status.reason))


async def _kinds(client: KubeClient, version: str) -> dict[str, ResourceKind]:
    """Return the kinds of an API version by name; none where there is no such version."""
    text = await client.find(f"/{'apis' if '/' in version else 'api'}/{version}")
    resources: list[dict[str, Any]] = msgspec.json.decode(text)["resources"] if text else []
    return {
        one["kind"]: ResourceKind(one["kind"], one["name"], version, one["namespaced"])
        for one in resources
        if "/" not in one["name"]
    }
