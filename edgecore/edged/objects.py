"""The objects that a pod needs before it starts, and what may be wrong with them. Pure."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any, NamedTuple

from msgspec import Struct, field

from common.names import ResourceType
from edgecore.edged.podview import Object


class Ref(NamedTuple):
    """A ConfigMap or Secret in the pod's namespace."""

    kind: ResourceType
    name: str


class TokenRef(NamedTuple):
    """A service account token that a pod asks for."""

    service_account: str
    audience: str
    expiration_s: int


class MissingError(Exception):
    """An object, or a key of it, is not there; the text is kubelet's."""


class UnavailableError(Exception):
    """Whether an object exists could not be asked, so nothing is known of it."""


class Objects(Struct, frozen=True):
    """What was found out about the objects that one pod names."""

    namespace: str
    found: Mapping[Ref, Object | None] = field(default_factory=dict)
    """None: it definitely does not exist. No entry: that could not be asked."""
    tokens: Mapping[TokenRef, str] = field(default_factory=dict)
    services: tuple[Object, ...] = ()
    """The services that the edge-store has, of whatever namespace."""

    def data(self, ref: Ref, *, optional: bool) -> Mapping[str, bytes]:
        """Return the keys and values of an object; none if it may be missing and is.

        Raises:
            MissingError: it must be there and is not.
            UnavailableError: nobody could be asked.
        """
        if ref not in self.found:
            raise UnavailableError(
                f'{ref.kind} "{self.namespace}/{ref.name}" could not be asked for'
            )
        obj = self.found[ref]
        if obj is None:
            if optional:
                return {}
            raise MissingError(f'{ref.kind} "{ref.name}" not found')
        return secret_data(obj) if ref.kind is ResourceType.SECRET else configmap_data(obj)

    def token(self, ref: TokenRef) -> str:
        """Return a service account's token.

        Raises:
            UnavailableError: there is none yet.
        """
        if ref not in self.tokens:
            raise UnavailableError(
                f'token of service account "{self.namespace}/{ref.service_account}" '
                "could not be asked for"
            )
        return self.tokens[ref]


def configmap_data(obj: Object) -> dict[str, bytes]:
    """Return ``data`` and ``binaryData`` of a ConfigMap."""
    text = {key: str(value).encode() for key, value in (obj.get("data") or {}).items()}
    return text | _decoded(obj.get("binaryData") or {})


def secret_data(obj: Object) -> dict[str, bytes]:
    """Return ``data`` of a Secret, decoded."""
    return _decoded(obj.get("data") or {})


def _decoded(values: Mapping[str, Any]) -> dict[str, bytes]:
    try:
        return {key: base64.b64decode(value) for key, value in values.items()}
    except (binascii.Error, TypeError, ValueError) as error:
        raise MissingError(f"a value is not base64: {error}") from error
