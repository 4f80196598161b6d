"""What this node cannot do for a pod, and in which words it says so. Pure.

A pod that asks for it does not start: it would run otherwise than its author meant. What the API
server can never hand out (a field behind a gate that is off everywhere) is not looked for.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from edgecore.edged.objects import MissingError
from edgecore.edged.podview import (
    Object,
    init_containers_of,
    is_sidecar,
    restart_policy_of,
    spec_of,
)

_HUGE_PAGES: Final = "hugepages-"


class SpecError(MissingError):
    """A pod asks for what this node cannot do, or contradicts itself; the text says which."""


class Notice(NamedTuple):
    """Something that its author should know of a pod that starts all the same."""

    reason: str
    """CamelCase word for a warning event."""
    message: str


def described(pod: Object) -> str:
    """Return ``<name>_<namespace>(<uid>)``, which is how kubelet's messages name a pod."""
    metadata = pod.get("metadata", {})
    return f"{metadata.get('name')}_{metadata.get('namespace')}({metadata.get('uid')})"


def is_sidecar_of(pod: Object, container: Object) -> bool:
    """Whether ``container`` is an init container of ``pod`` that keeps running.

    Containers of the other kind may have a ``restartPolicy`` too.
    """
    name = container.get("name")
    return is_sidecar(container) and any(c.get("name") == name for c in init_containers_of(pod))


def check_pod(pod: Object) -> tuple[Notice, ...]:
    """Return what of the pod is left out though it starts.

    Raises:
        SpecError: it asks for what cannot be done here.
    """
    for fault in _pod_faults(spec_of(pod)):
        raise SpecError(f"{fault} not supported by this node")
    debuggers = [c.get("name", "") for c in spec_of(pod).get("ephemeralContainers") or ()]
    if not debuggers:
        return ()
    message = f"ephemeral containers are not started by this node: {', '.join(debuggers)}"
    return (Notice("EphemeralContainersIgnored", message),)


def check_container(pod: Object, container: Object) -> None:
    """Do nothing where ``container`` can be started as it is.

    Raises:
        SpecError: it asks for what cannot be done here.
    """
    for fault in _container_faults(container):
        raise SpecError(f"{fault} not supported by this node (container: {container.get('name')})")
    policy = container.get("restartPolicy") or restart_policy_of(pod)
    if policy != restart_policy_of(pod) and not is_sidecar_of(pod, container):
        raise SpecError(
            f"a restartPolicy of its own ({policy}) is not supported by this node "
            f"(container: {container.get('name')})"
        )


def _pod_faults(spec: Object) -> Iterator[str]:
    if spec.get("hostUsers") is False:
        yield "user namespaces (hostUsers: false) are"
    if name := spec.get("runtimeClassName"):
        yield f'runtime classes ("{name}") are'
    if spec.get("resourceClaims"):
        yield "resource claims are"


def _container_faults(container: Object) -> Iterator[str]:
    if container.get("volumeDevices"):
        yield "raw block volumes (volumeDevices) are"
    if container.get("restartPolicyRules"):
        yield "restartPolicyRules are"
    if (container.get("lifecycle") or {}).get("stopSignal"):
        yield "a stopSignal is"
    limits = (container.get("resources") or {}).get("limits") or {}
    if huge := sorted(name for name in limits if name.startswith(_HUGE_PAGES)):
        yield f"huge pages ({', '.join(huge)}) are"
