"""Objects for tests of the edge-store."""

from edgecore.edgestore.records import StoredObject


def stored(
    key: str = "default/configmap/web", *, uid: str = "u1", version: int = 1, value: bytes = b"{}"
) -> StoredObject:
    namespace, kind, name = key.split("/", 2)
    return StoredObject(key, kind, namespace, name, uid, version, value)
