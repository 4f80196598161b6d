"""With which rights a pod's sandbox and its containers run, from their security contexts. Pure.

Source: Kubernetes pkg/securitycontext/util.go and pkg/kubelet/kuberuntime/{security_context,
helpers}.go; https://kubernetes.io/docs/tasks/configure-pod-container/security-context/
"""

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any, Final

from msgspec import Struct

from edgecore.edged.podview import Object, containers_of, init_containers_of, spec_of
from edgecore.edged.runtime.images import Image
from edgecore.edged.runtime.spec import (
    LinuxSecurity,
    Namespace,
    Namespaces,
    Profile,
    ProfileKind,
    SELinuxOptions,
)
from edgecore.edged.spec.refusals import SpecError, described

MASKED_PATHS: Final = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
)
READ_ONLY_PATHS: Final = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

_APPARMOR_ANNOTATION: Final = "container.apparmor.security.beta.kubernetes.io/"
_FROM_POD: Final = ("seLinuxOptions", "runAsUser", "runAsGroup", "runAsNonRoot")
"""What a container takes from its pod where it says nothing itself."""

_MAX_USER: Final = 2**31 - 1


class MachineSecurity(Struct, frozen=True):
    """What of the machine containers are kept from, or confined by."""

    seccomp_root: str = "/var/lib/kubelet/seccomp"
    """Where the profiles of type ``Localhost`` are."""
    masked_paths: tuple[str, ...] = ()
    """Paths that no container sees, besides ``MASKED_PATHS``."""


def container_security(
    pod: Object, container: Object, image: Image | None, machine: MachineSecurity
) -> LinuxSecurity:
    """Return with which rights ``container`` runs.

    Args:
        pod: gives what the container does not say itself.
        container: one of the pod's.
        image: whose user counts where the spec names none; None where the runtime has no images.
        machine: what this machine adds.

    Raises:
        SpecError: it must not run as root and would, or a profile is named that cannot be.
    """
    own = _said(container.get("securityContext"))
    pod_wide = _said(spec_of(pod).get("securityContext"))
    merged = {key: pod_wide[key] for key in _FROM_POD if key in pod_wide} | own
    _verify_non_root(pod, container, merged, image)
    user, username = _user(merged, image)
    capabilities = _said(merged.get("capabilities"))
    unmasked = merged.get("procMount") == "Unmasked"
    return LinuxSecurity(
        namespaces=namespaces_of(pod),
        run_as_user=user,
        run_as_username=username,
        run_as_group=merged.get("runAsGroup"),
        supplemental_groups=_groups(pod_wide),
        privileged=bool(merged.get("privileged")),
        read_only_root=bool(merged.get("readOnlyRootFilesystem")),
        no_new_privileges=merged.get("allowPrivilegeEscalation") is False,
        add_capabilities=tuple(capabilities.get("add", ())),
        drop_capabilities=tuple(capabilities.get("drop", ())),
        seccomp=_seccomp(own.get("seccompProfile") or pod_wide.get("seccompProfile"), machine),
        apparmor=_apparmor(pod, container["name"], own, pod_wide),
        selinux=_selinux(merged),
        masked_paths=() if unmasked else (*MASKED_PATHS, *machine.masked_paths),
        read_only_paths=() if unmasked else READ_ONLY_PATHS,
    )


def sandbox_security(pod: Object) -> LinuxSecurity:
    """Return with which rights the pod's sandbox runs, which is not what its containers get.

    The sandbox itself does nothing, so the runtime's own seccomp profile suits it always.
    """
    pod_wide = _said(spec_of(pod).get("securityContext"))
    return LinuxSecurity(
        namespaces=namespaces_of(pod),
        run_as_user=pod_wide.get("runAsUser"),
        run_as_group=pod_wide.get("runAsGroup"),
        supplemental_groups=_groups(pod_wide),
        privileged=any(
            _said(c.get("securityContext")).get("privileged")
            for c in (*containers_of(pod), *init_containers_of(pod))
        ),
        seccomp=Profile(ProfileKind.RUNTIME_DEFAULT),
        selinux=_selinux(pod_wide),
    )


def namespaces_of(pod: Object) -> Namespaces:
    """Return whose namespaces the pod's containers live in."""
    spec = spec_of(pod)
    pid = Namespace.POD if spec.get("shareProcessNamespace") else Namespace.CONTAINER
    return Namespaces(
        network=Namespace.NODE if spec.get("hostNetwork") else Namespace.POD,
        pid=Namespace.NODE if spec.get("hostPID") else pid,
        ipc=Namespace.NODE if spec.get("hostIPC") else Namespace.POD,
    )


def _said(context: Object | None) -> dict[str, Any]:
    """Return the fields that have a value."""
    return {key: value for key, value in (context or {}).items() if value is not None}


def _user(merged: Object, image: Image | None) -> tuple[int | None, str]:
    """Return the user by number, or by name where that is all that is known."""
    user = merged.get("runAsUser")
    if user is not None or image is None:
        return user, ""
    if image.user is None and not image.username:
        return 0, ""  # an image that says nothing means root
    return image.user, image.username if image.user is None else ""


def _verify_non_root(pod: Object, container: Object, merged: Object, image: Image | None) -> None:
    """Do nothing if it is certain that the container may run as its user.

    Raises:
        SpecError: with kubelet's words (verifyRunAsNonRoot).
    """
    if not merged.get("runAsNonRoot"):
        return
    where = f'(pod: "{described(pod)}", container: {container["name"]})'
    if merged.get("runAsUser") == 0:
        raise SpecError(f"container's runAsUser breaks non-root policy {where}")
    user, username = _user(merged, image)
    if username:
        raise SpecError(
            f"container has runAsNonRoot and image has non-numeric user ({username}), "
            f"cannot verify user is non-root {where}"
        )
    if user == 0:
        raise SpecError(f"container has runAsNonRoot and image will run as root {where}")
    if user is not None and not 0 < user <= _MAX_USER:
        raise SpecError(f"container has runAsNonRoot and an invalid user id ({user}) {where}")


def _groups(pod_wide: Object) -> tuple[int, ...]:
    """Return the groups that every process of the pod is in besides its own."""
    fs_group = pod_wide.get("fsGroup")
    own: Sequence[int] = pod_wide.get("supplementalGroups", ())
    return (*(() if fs_group is None else (fs_group,)), *own)


def _seccomp(said: Object | None, machine: MachineSecurity) -> Profile:
    match (said or {}).get("type"):
        case "RuntimeDefault":
            return Profile(ProfileKind.RUNTIME_DEFAULT)
        case "Localhost":
            name = PurePosixPath((said or {}).get("localhostProfile") or "")
            if name.name == "" or name.is_absolute() or ".." in name.parts:
                raise SpecError(f"invalid localhostProfile of seccompProfile: {str(name)[:128]!r}")
            return Profile(ProfileKind.LOCALHOST, str(PurePosixPath(machine.seccomp_root) / name))
    return Profile(ProfileKind.UNCONFINED)


def _apparmor(pod: Object, name: str, own: Object, pod_wide: Object) -> Profile | None:
    """Return the profile: the container's own, else the old annotation's, else the pod's."""
    annotations = pod.get("metadata", {}).get("annotations") or {}
    said = own.get("appArmorProfile") or _from_annotation(
        annotations.get(_APPARMOR_ANNOTATION + name)
    )
    said = said or pod_wide.get("appArmorProfile")
    if said is None:
        return None
    if said.get("type") not in set(ProfileKind):
        raise SpecError(f"unknown apparmor profile type: {said.get('type')!r}")
    kind = ProfileKind(said["type"])
    if kind is not ProfileKind.LOCALHOST:
        return Profile(kind)
    if not said.get("localhostProfile"):
        raise SpecError("missing localhost apparmor profile name")
    return Profile(kind, said["localhostProfile"])


def _from_annotation(text: str | None) -> Object | None:
    """Return what the annotation means as the field that came after it."""
    kind, _, name = (text or "").partition("/")
    if text == "runtime/default":
        return {"type": ProfileKind.RUNTIME_DEFAULT}
    if text == "unconfined":
        return {"type": ProfileKind.UNCONFINED}
    return (
        {"type": ProfileKind.LOCALHOST, "localhostProfile": name} if kind == "localhost" else None
    )


def _selinux(context: Object) -> SELinuxOptions | None:
    options = context.get("seLinuxOptions")
    if options is None:
        return None
    return SELinuxOptions(*(options.get(key) or "" for key in ("user", "role", "type", "level")))
