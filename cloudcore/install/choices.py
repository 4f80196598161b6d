"""What is chosen of the manifests, and what is set in them. Pure."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

import yaml
from msgspec import Struct

from cloudcore.install.kustomization import (
    Kustomization,
    Object,
    Patch,
    Target,
    build,
)
from common.errors import ConfigError

NAME: Final = "cloudcore"
"""Of the Deployment, the Service, the ServiceAccount and its roles."""

_FOLDER: Final = "components/"
_SERVICE: Final = "service-"
_CONTAINER: Final = "/spec/template/spec/containers/0"

LEAST_MINOR: Final = 30
"""Base has a ValidatingAdmissionPolicy, which Kubernetes has since 1.30."""

COMPONENTS: Final[Mapping[str, int]] = {
    "cloud-daemonsets": 36,
    "constrained-impersonation": 36,
    "networkpolicy": LEAST_MINOR,
    "node-protection": LEAST_MINOR,
    "servicemonitor": LEAST_MINOR,
}
"""What can be asked for, each with the minor version of the oldest Kubernetes that takes it."""


class ServiceType(StrEnum):
    """How edges reach cloudcore from outside of the cluster."""

    LOAD_BALANCER = "LoadBalancer"
    NODE_PORT = "NodePort"
    CLUSTER_IP = "ClusterIP"


class Choices(Struct, frozen=True):
    """What whoever installs has chosen."""

    image: str
    replicas: int
    advertise_address: tuple[str, ...]
    service_type: ServiceType
    components: tuple[str, ...]


def objects(files: Mapping[str, str], chosen: Choices) -> list[Object]:
    """Return what is to be applied, in that order.

    Raises:
        ConfigError: there is no such component.
    """
    if unknown := [one for one in chosen.components if one not in COMPONENTS]:
        known = ", ".join(COMPONENTS)
        raise ConfigError([f"--components: {one!r} is none of {known}" for one in unknown])
    return build(files, _overlay(chosen))


def too_new(chosen: Choices, minor: int) -> list[str]:
    """Return what a Kubernetes 1.``minor`` lacks of what is chosen."""
    wanted = {"cloudcore": LEAST_MINOR} | {one: COMPONENTS[one] for one in chosen.components}
    return [
        f"{what} needs Kubernetes 1.{least} or newer, and this is 1.{minor}"
        for what, least in wanted.items()
        if minor < least
    ]


def _overlay(chosen: Choices) -> Kustomization:
    names = list(chosen.components)
    if chosen.service_type is not ServiceType.CLUSTER_IP:
        names.insert(0, _SERVICE + chosen.service_type.lower())
    return Kustomization(
        resources=("base",),
        components=tuple(_FOLDER + name for name in dict.fromkeys(names)),
        patches=(
            _patch(
                "Deployment",
                [
                    (f"{_CONTAINER}/image", chosen.image),
                    (f"{_CONTAINER}/env/0/value", ",".join(chosen.advertise_address)),
                    ("/spec/replicas", chosen.replicas),
                ],
            ),
        ),
    )


def _patch(kind: str, values: Sequence[tuple[str, Any]]) -> Patch:
    steps = [{"op": "replace", "path": path, "value": value} for path, value in values]
    return Patch(Target(kind, NAME), yaml.safe_dump(steps))
