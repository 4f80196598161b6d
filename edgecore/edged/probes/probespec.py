"""The probes of a pod's spec, with all that the spec leaves to its defaults. Pure.

Source: https://kubernetes.io/docs/reference/generated/kubernetes-api/v1.36/#probe-v1-core
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from msgspec import Struct

from edgecore.edged.podview import (
    Object,
    containers_of,
    init_containers_of,
    is_sidecar,
    restart_policy_of,
)


class ProbeKind(StrEnum):
    """What a probe is for, as events name it."""

    STARTUP = "Startup"
    LIVENESS = "Liveness"
    READINESS = "Readiness"


_FIELDS: Final = {
    ProbeKind.STARTUP: "startupProbe",
    ProbeKind.LIVENESS: "livenessProbe",
    ProbeKind.READINESS: "readinessProbe",
}


class Probe(Struct, frozen=True):
    """A probe of a pod's spec, with the API server's defaults for what it does not say."""

    kind: ProbeKind
    handler: Object
    """What to do: has ``exec``, ``httpGet``, ``tcpSocket`` or ``grpc``."""
    timeout_s: float
    period_s: float
    initial_delay_s: float
    success_threshold: int
    failure_threshold: int
    grace_s: float | None
    """How long a container has to end that failed it; None: as long as the pod says."""


class Probed(Struct, frozen=True):
    """A container of a pod's spec that has probes."""

    container: Object
    probes: Mapping[ProbeKind, Probe]
    subject: str
    """How the event about a failed container begins."""
    sequel: str
    """How it ends."""


def probes_of(pod: Object) -> dict[str, Probed]:
    """Return the containers of ``pod`` that have probes, by name, sidecars among them."""
    sidecars = [c for c in init_containers_of(pod) if is_sidecar(c)]
    found = {c["name"]: _probed(pod, c) for c in [*containers_of(pod), *sidecars]}
    return {name: probed for name, probed in found.items() if probed.probes}


def _probed(pod: Object, container: Object) -> Probed:
    probes = {
        kind: _probe(kind, container[field])
        for kind, field in _FIELDS.items()
        if container.get(field)
    }
    name = container["name"]
    if is_sidecar(container):
        return Probed(container, probes, f"Init container {name}", "")
    policy = container.get("restartPolicy") or restart_policy_of(pod)
    sequel = "" if policy == "Never" else ", will be restarted"
    return Probed(container, probes, f"Container {name}", sequel)


def _probe(kind: ProbeKind, spec: Object) -> Probe:
    grace = spec.get("terminationGracePeriodSeconds")
    return Probe(
        kind,
        spec,
        timeout_s=float(spec.get("timeoutSeconds") or 1),
        period_s=float(spec.get("periodSeconds") or 10),
        initial_delay_s=float(spec.get("initialDelaySeconds") or 0),
        success_threshold=int(spec.get("successThreshold") or 1),
        failure_threshold=int(spec.get("failureThreshold") or 3),
        grace_s=None if grace is None else float(grace),
    )
