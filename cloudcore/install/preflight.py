"""What is asked of a cluster before anything is changed in it."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from cloudcore.install.applying import InstallError, Place, places
from cloudcore.install.choices import NAME, Choices, too_new
from cloudcore.install.kustomization import Object
from cloudcore.kube.client import KubeClient
from cloudcore.kube.kinds import ResourceKind
from cloudcore.trust.keptsecrets import NAMESPACE

DEPLOYMENTS: Final = ResourceKind("Deployment", "deployments", "apps/v1")
DEPLOYMENT: Final = DEPLOYMENTS.path(NAMESPACE, NAME)

_REVIEWS: Final = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_VERBS: Final = ("get", "create", "patch")
_POLL_S: Final = 0.5
_DELETION_TIMEOUT_S: Final = 120.0


async def check(client: KubeClient, chosen: Choices, objects: Sequence[Object]) -> str:
    """Judge a cluster and return its Kubernetes version; nothing is changed.

    Raises:
        InstallError: it is too old, or has not got what ``objects`` are made of, or whoever asks
            lacks rights: all that is missing.
        RemoteError: the API server refused, or is away.
    """
    version: dict[str, str] = msgspec.json.decode(await client.get("/version"))
    # Some distributions write "33+".
    minor = int("".join(filter(str.isdigit, version["minor"])) or 0)
    if faults := too_new(chosen, minor):
        raise InstallError("\n".join(faults))
    where = await places(client, objects)
    if missing := await _missing(client, where):
        raise InstallError(
            "whoever the kubeconfig says lacks these rights, of which an administrator has all: "
            + ", ".join(missing)
        )
    return version["gitVersion"]


async def is_anothers(client: KubeClient, objects: Sequence[Object]) -> bool:
    """Whether the Deployment that is there, if any, is not ours: KubeEdge's has the same name."""
    text = await client.find(DEPLOYMENT)
    if text is None:
        return False
    (ours,) = (one for one in objects if one["kind"] == DEPLOYMENTS.kind)
    found: dict[str, Any] = msgspec.json.decode(text)
    return bool(found["spec"]["selector"] != ours["spec"]["selector"])


async def remove_anothers(client: KubeClient) -> None:
    """Delete the Deployment with its pods, and return when they are gone.

    Its edges go on running what they run, and connect again to whoever is there then.

    Raises:
        InstallError: it does not go.
        RemoteError: the API server refused, or is away.
    """
    await client.delete(DEPLOYMENT, b'{"propagationPolicy":"Foreground"}')
    try:
        async with asyncio.timeout(_DELETION_TIMEOUT_S):
            while await client.find(DEPLOYMENT) is not None:  # noqa: ASYNC110 - nobody sets an event
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        raise InstallError(
            f"the Deployment {NAMESPACE}/{NAME} is deleted and does not go: see"
            f" `kubectl -n {NAMESPACE} get pods`, and run this again"
        ) from None


async def _missing(client: KubeClient, where: Iterable[Place]) -> list[str]:
    """Return the rights that whoever asks has not got, as ``patch deployments in kubeedge``."""
    wanted = {(one.kind, one.namespace, verb): None for one in where for verb in _VERBS}
    return [
        f"{verb} {kind.plural}{f' in {namespace}' if namespace else ''}"
        for kind, namespace, verb in wanted
        if not await _may(client, kind, namespace, verb)
    ]


async def _may(client: KubeClient, kind: ResourceKind, namespace: str, verb: str) -> bool:
    attributes = {
        "group": kind.api_version.rpartition("/")[0],
        "resource": kind.plural,
        "namespace": namespace,
        "verb": verb,
    }
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    answer = msgspec.json.decode(await client.create(_REVIEWS, msgspec.json.encode(review)))
    return bool(answer["status"]["allowed"])
