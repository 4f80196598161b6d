"""Light views of raw objects: what the controllers look at, and nothing else of them.

Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/object-meta/
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from common.errors import RemoteError
from common.names import UID
from common.status import failure


class ObjectKey(NamedTuple):
    """Which object of a kind; ``namespace`` is empty where the kind has none."""

    namespace: str
    name: str


class ObjectMeta(msgspec.Struct, frozen=True):
    """``metadata``, with the API's own spelling."""

    name: str
    uid: UID
    resourceVersion: str  # noqa: N815 - the API's spelling
    namespace: str = ""
    generation: int = 0
    labels: Mapping[str, str] = {}
    deletionTimestamp: str | None = None  # noqa: N815 - the API's spelling

    @property
    def key(self) -> ObjectKey:
        """Which object this is."""
        return ObjectKey(self.namespace, self.name)


class ObjectView(msgspec.Struct, frozen=True):
    """What every object has."""

    metadata: ObjectMeta


_decode: Final = msgspec.json.Decoder(ObjectView).decode


def view_of(raw: bytes | msgspec.Raw) -> ObjectView:
    """Return the view of an object.

    Raises:
        RemoteError: 500, these bytes are not an object of the API.
    """
    try:
        return _decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RemoteError(failure(500, f"not an object of the API: {error}")) from error


def number_of(version: str) -> int:
    """Return a resource version as the number it is, 0 for anything else.

    Source: resource versions of one type may be compared as numbers (KEP-5504, Kubernetes 1.35).
    """
    return int(version) if version.isdecimal() else 0
