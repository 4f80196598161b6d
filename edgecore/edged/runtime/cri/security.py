"""With which rights sandboxes and containers run, in CRI's messages. Pure.

Source: Kubernetes pkg/kubelet/kuberuntime/security_context.go.
"""

from typing import Final

from edgecore.edged.runtime.cri import cri_pb2 as cri
from edgecore.edged.runtime.spec import (
    LinuxSecurity,
    Namespace,
    Namespaces,
    Profile,
    ProfileKind,
    SELinuxOptions,
)

_MODES: Final[dict[Namespace, cri.NamespaceMode]] = {
    Namespace.POD: cri.POD,
    Namespace.CONTAINER: cri.CONTAINER,
    Namespace.NODE: cri.NODE,
}
_PROFILES: Final[dict[ProfileKind, cri.SecurityProfile.ProfileType]] = {
    ProfileKind.RUNTIME_DEFAULT: cri.SecurityProfile.RuntimeDefault,
    ProfileKind.UNCONFINED: cri.SecurityProfile.Unconfined,
    ProfileKind.LOCALHOST: cri.SecurityProfile.Localhost,
}
_OLD_APPARMOR: Final = {
    ProfileKind.RUNTIME_DEFAULT: "runtime/default",
    ProfileKind.UNCONFINED: "unconfined",
}


def sandbox_security(security: LinuxSecurity) -> cri.LinuxSandboxSecurityContext:
    """Return ``security`` as it applies to a sandbox's own process."""
    return cri.LinuxSandboxSecurityContext(
        namespace_options=_namespaces(security.namespaces),
        selinux_options=_selinux(security.selinux),
        run_as_user=_number(security.run_as_user),
        run_as_group=_number(security.run_as_group),
        readonly_rootfs=security.read_only_root,
        supplemental_groups=security.supplemental_groups,
        privileged=security.privileged,
        seccomp=_profile(security.seccomp),
        apparmor=_profile(security.apparmor),
    )


def container_security(security: LinuxSecurity) -> cri.LinuxContainerSecurityContext:
    """Return ``security`` as it applies to a container."""
    return cri.LinuxContainerSecurityContext(
        capabilities=cri.Capability(
            add_capabilities=security.add_capabilities,
            drop_capabilities=security.drop_capabilities,
        ),
        privileged=security.privileged,
        namespace_options=_namespaces(security.namespaces),
        selinux_options=_selinux(security.selinux),
        run_as_user=_number(security.run_as_user),
        run_as_username=security.run_as_username,
        run_as_group=_number(security.run_as_group),
        readonly_rootfs=security.read_only_root,
        supplemental_groups=security.supplemental_groups,
        no_new_privs=security.no_new_privileges,
        masked_paths=security.masked_paths,
        readonly_paths=security.read_only_paths,
        seccomp=_profile(security.seccomp),
        apparmor=_profile(security.apparmor),
        apparmor_profile=_old_apparmor(security.apparmor),
    )


def _namespaces(namespaces: Namespaces) -> cri.NamespaceOption:
    return cri.NamespaceOption(
        network=_MODES[namespaces.network],
        pid=_MODES[namespaces.pid],
        ipc=_MODES[namespaces.ipc],
    )


def _number(number: int | None) -> cri.Int64Value | None:
    return None if number is None else cri.Int64Value(value=number)


def _selinux(options: SELinuxOptions | None) -> cri.SELinuxOption | None:
    if options is None:
        return None
    return cri.SELinuxOption(
        user=options.user, role=options.role, type=options.type, level=options.level
    )


def _profile(profile: Profile | None) -> cri.SecurityProfile | None:
    if profile is None:
        return None
    return cri.SecurityProfile(
        profile_type=_PROFILES[profile.kind], localhost_ref=profile.localhost
    )


def _old_apparmor(profile: Profile | None) -> str:
    if profile is None:
        return ""
    return _OLD_APPARMOR.get(profile.kind, f"localhost/{profile.localhost}")
