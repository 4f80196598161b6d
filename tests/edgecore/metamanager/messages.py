"""Messages of the cloud for tests of MetaManager."""

from typing import Any

import msgspec

from common.beehive.message import Message, new, raw
from common.names import ModuleName, Operation

CONFIGMAP = "default/configmap/web"
POD = "default/pod/web"


def content(resource: str, uid: str, version: int, **fields: Any) -> dict[str, Any]:
    namespace, kind, name = resource.split("/")
    metadata = {"name": name, "namespace": namespace}
    if uid:
        metadata["uid"] = uid
    if version:
        metadata["resourceVersion"] = str(version)
    return {"kind": kind, "apiVersion": "v1", "metadata": metadata, **fields}


def message(
    operation: Operation,
    resource: str = CONFIGMAP,
    uid: str = "u1",
    version: int = 1,
    **fields: Any,
) -> Message:
    return carrying(operation, resource, content(resource, uid, version, **fields), version)


def carrying(operation: Operation, resource: str, value: object, version: int = 0) -> Message:
    return new(
        ModuleName.EDGE_CONTROLLER,
        "resource",
        operation,
        resource,
        raw(value),
        resource_version=str(version) if version else "",
    )


def insert(resource: str = CONFIGMAP, uid: str = "u1", version: int = 1, **fields: Any) -> Message:
    return message(Operation.INSERT, resource, uid, version, **fields)


def update(resource: str = CONFIGMAP, uid: str = "u1", version: int = 1, **fields: Any) -> Message:
    return message(Operation.UPDATE, resource, uid, version, **fields)


def delete(resource: str = CONFIGMAP, uid: str = "u1", version: int = 0) -> Message:
    return message(Operation.DELETE, resource, uid, version)


def of_inventory(made: Message) -> Message:
    header = msgspec.structs.replace(made.header, type="inventory")
    return msgspec.structs.replace(made, header=header)


def naming(*configmaps: str, secrets: tuple[str, ...] = (), account: str = "") -> dict[str, Any]:
    """Return the spec of a pod that names these."""
    sources: list[dict[str, Any]] = [{"configMapRef": {"name": name}} for name in configmaps]
    sources += [{"secretRef": {"name": name}} for name in secrets]
    spec: dict[str, Any] = {"containers": [{"name": "c", "envFrom": sources}]}
    return spec | ({"serviceAccountName": account} if account else {})
