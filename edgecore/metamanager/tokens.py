"""Service account tokens: which request a stored one answers, and how long it is good. Pure.

A token is kept as it was answered, by service account and by what was asked for. An old one is
worth more than none: a pod that starts while the cloud is away gets it even if it has expired
(KubeEdge deletes it, and such a pod never starts).

Source: https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-request-v1/
"""

import hashlib
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from common.clock import parse_rfc3339
from common.errors import WireError
from common.names import ResourceType
from common.wire import loads, loads_as
from edgecore.edgestore.records import StoredObject

RENEWED_BELOW: Final = 0.2
"""Part of a token's life that may be left before another one is asked for, as kubelet does."""

_CLOCKS_DIFFER: Final = timedelta(minutes=5)
_DEFAULT_LIFE_S: Final = 3600


class _BoundObject(msgspec.Struct, frozen=True):
    uid: str = ""


class _Spec(msgspec.Struct, frozen=True):
    expiration_s: int | None = msgspec.field(default=None, name="expirationSeconds")
    bound_object: _BoundObject | None = msgspec.field(default=None, name="boundObjectRef")


class _Status(msgspec.Struct, frozen=True):
    token: str
    expiration: str = msgspec.field(name="expirationTimestamp")


class _Request(msgspec.Struct, frozen=True):
    spec: _Spec = _Spec()


class _Answer(_Request, frozen=True, kw_only=True):
    status: _Status


def token_key(resource: str, request: bytes) -> str:
    """Return the key of the row for the answer to ``request``, a TokenRequest.

    Args:
        resource: ``namespace/serviceaccounttoken/name``.
        request: JSON.

    Raises:
        WireError: it is no TokenRequest.
    """
    loads_as(request, _Request)
    document: dict[str, Any] = loads(request)
    # Sorted, so that the same wish has the same key in whatever order it is spelled.
    spec = msgspec.json.encode(document.get("spec"), order="sorted")
    return f"{resource}/{hashlib.sha256(spec).hexdigest()[:32]}"


def token_row(resource: str, request: bytes, answer: bytes) -> StoredObject:
    """Return the row that keeps ``answer``; its UID is that of the pod the token is bound to.

    Raises:
        WireError: there is no token in the answer.
    """
    loads_as(answer, _Answer)
    bound = loads_as(request, _Request).spec.bound_object
    namespace, _, account = resource.split("/", 2)
    return StoredObject(
        key=token_key(resource, request),
        resource_type=ResourceType.SERVICE_ACCOUNT_TOKEN,
        namespace=namespace,
        name=account,
        uid=bound.uid if bound is not None else "",
        version=0,
        value=answer,
    )


def is_fresh(answer: bytes, now: datetime) -> bool:
    """Whether the token in ``answer`` has enough of its life left.

    A token that seems to live longer than it was made for says that this clock is wrong: then it is
    not fresh either.
    """
    try:
        token = loads_as(answer, _Answer)
        expiration = parse_rfc3339(token.status.expiration)
        left = expiration - now
    except (WireError, ValueError, TypeError):
        return False
    life = timedelta(seconds=token.spec.expiration_s or _DEFAULT_LIFE_S)
    return life * RENEWED_BELOW < left <= life + _CLOCKS_DIFFER
