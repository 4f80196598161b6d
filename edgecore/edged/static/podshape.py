"""The shape that a Pod in a file must have, as far as edged relies on it. Pure.

What came through the API server has been checked there. A file has not, and what is a slip in it
(a command that is one text, a number as the value of a variable) is to be said in words that lead
to the line, not to show up later as a pod that does not start.

Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/
"""

from typing import Annotated, Any, Final, Literal

import msgspec

from edgecore.edged.podview import Object

MAX_NAME: Final = 253

_LABEL: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?\Z"
_SUBDOMAIN: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z"

_Label = Annotated[str, msgspec.Meta(pattern=_LABEL, max_length=63)]
_Text = Annotated[str, msgspec.Meta(min_length=1)]
_Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
_Mapping = dict[str, Any] | msgspec.UnsetType


class ShapeError(Exception):
    """A Pod is not as it must be; the text says where, for people."""


class _Shape(msgspec.Struct, rename="camel"):
    """Fields that are not named are taken as they are."""


class _Variable(_Shape):
    name: _Text
    value: str = ""
    value_from: dict[str, dict[str, Any]] = {}


class _ContainerPort(_Shape):
    container_port: _Port
    host_port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0
    protocol: Literal["TCP", "UDP", "SCTP"] = "TCP"


class _Mount(_Shape):
    name: str
    mount_path: _Text
    sub_path: str = ""
    read_only: bool = False


class _Resources(_Shape):
    limits: dict[str, str | int | float] = {}
    requests: dict[str, str | int | float] = {}


class _Handler(_Shape):
    exec: _Mapping = msgspec.UNSET
    http_get: _Mapping = msgspec.UNSET
    tcp_socket: _Mapping = msgspec.UNSET
    grpc: _Mapping = msgspec.UNSET


class _Probe(_Handler):
    initial_delay_seconds: int = 0
    timeout_seconds: int = 0
    period_seconds: int = 0
    success_threshold: int = 0
    failure_threshold: int = 0


_MaybeProbe = _Probe | msgspec.UnsetType


class _Lifecycle(_Shape):
    post_start: _Handler | msgspec.UnsetType = msgspec.UNSET
    pre_stop: _Handler | msgspec.UnsetType = msgspec.UNSET


class _Container(_Shape):
    name: _Label
    image: _Text
    command: list[str] = []
    args: list[str] = []
    env: list[_Variable] = []
    env_from: list[dict[str, dict[str, Any] | str]] = []
    ports: list[_ContainerPort] = []
    volume_mounts: list[_Mount] = []
    resources: _Resources = msgspec.field(default_factory=_Resources)
    working_dir: str = ""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    security_context: dict[str, Any] = {}
    lifecycle: _Lifecycle | msgspec.UnsetType = msgspec.UNSET
    liveness_probe: _MaybeProbe = msgspec.UNSET
    readiness_probe: _MaybeProbe = msgspec.UNSET
    startup_probe: _MaybeProbe = msgspec.UNSET


class _Item(_Shape):
    path: _Text
    field_ref: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    resource_field_ref: _Mapping = msgspec.UNSET


class _Downward(_Shape):
    items: list[_Item] = []


class _Source(_Shape):
    downward: _Downward | msgspec.UnsetType = msgspec.field(
        default=msgspec.UNSET, name="downwardAPI"
    )


class _Projected(_Shape):
    sources: list[_Source] = []


class _Volume(_Source, kw_only=True):
    name: _Label
    projected: _Projected | msgspec.UnsetType = msgspec.UNSET
    host_path: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    empty_dir: _Mapping = msgspec.UNSET


class _Spec(_Shape):
    containers: Annotated[list[_Container], msgspec.Meta(min_length=1)]
    init_containers: list[_Container] = []
    volumes: list[_Volume] = []
    restart_policy: Literal["Always", "OnFailure", "Never"] = "Always"
    termination_grace_period_seconds: Annotated[int, msgspec.Meta(ge=0)] = 30
    host_network: bool = False
    security_context: dict[str, Any] = {}
    tolerations: list[dict[str, Any]] = []


class _Metadata(_Shape):
    name: Annotated[str, msgspec.Meta(pattern=_SUBDOMAIN, max_length=MAX_NAME)]
    namespace: _Label = "default"
    uid: Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Za-z-]*\Z", max_length=64)] = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class _Pod(_Shape):
    api_version: Literal["v1"]
    kind: Literal["Pod"]
    metadata: _Metadata
    spec: _Spec


def check_shape(pod: Object) -> None:
    """Return if ``pod`` has the shape that edged relies on.

    Raises:
        ShapeError: it has not; names that must differ or be there are a part of it.
    """
    try:
        spec = msgspec.convert(pod, _Pod).spec
    except msgspec.ValidationError as error:
        raise ShapeError(str(error)) from error
    containers = [*spec.init_containers, *spec.containers]
    volumes = [volume.name for volume in spec.volumes]
    _check_unique("containers", [container.name for container in containers])
    _check_unique("volumes", volumes)
    for container in containers:
        for mount in container.volume_mounts:
            if mount.name not in volumes:
                raise ShapeError(f"container {container.name} mounts no volume: {mount.name!r}")


def _check_unique(what: str, names: list[str]) -> None:
    if len(set(names)) != len(names):
        raise ShapeError(f"two {what} have the same name")
