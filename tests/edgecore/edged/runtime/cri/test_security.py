"""Rights in CRI's messages. Everything is real; no engine is asked."""

from edgecore.edged.runtime.cri import cri_pb2 as cri
from edgecore.edged.runtime.cri.security import container_security, sandbox_security
from edgecore.edged.runtime.spec import (
    LinuxSecurity,
    Namespace,
    Namespaces,
    Profile,
    ProfileKind,
    SELinuxOptions,
)

ALL = LinuxSecurity(
    namespaces=Namespaces(Namespace.NODE, Namespace.POD, Namespace.NODE),
    run_as_user=0,
    run_as_group=7,
    supplemental_groups=(8, 9),
    privileged=True,
    read_only_root=True,
    no_new_privileges=True,
    add_capabilities=("NET_ADMIN",),
    drop_capabilities=("ALL",),
    seccomp=Profile(ProfileKind.LOCALHOST, "/seccomp/a.json"),
    apparmor=Profile(ProfileKind.LOCALHOST, "mine"),
    selinux=SELinuxOptions("u", "r", "t", "l"),
    masked_paths=("/proc/kcore",),
    read_only_paths=("/proc/sys",),
)
NAMESPACES = cri.NamespaceOption(network=cri.NODE, pid=cri.POD, ipc=cri.NODE)
SELINUX = cri.SELinuxOption(user="u", role="r", type="t", level="l")
SECCOMP = cri.SecurityProfile(
    profile_type=cri.SecurityProfile.Localhost, localhost_ref="/seccomp/a.json"
)
APPARMOR = cri.SecurityProfile(profile_type=cri.SecurityProfile.Localhost, localhost_ref="mine")


def test_a_container_gets_all_that_is_said() -> None:
    assert container_security(ALL) == cri.LinuxContainerSecurityContext(
        capabilities=cri.Capability(add_capabilities=["NET_ADMIN"], drop_capabilities=["ALL"]),
        privileged=True,
        namespace_options=NAMESPACES,
        selinux_options=SELINUX,
        run_as_user=cri.Int64Value(value=0),
        run_as_group=cri.Int64Value(value=7),
        readonly_rootfs=True,
        supplemental_groups=[8, 9],
        apparmor_profile="localhost/mine",
        no_new_privs=True,
        masked_paths=["/proc/kcore"],
        readonly_paths=["/proc/sys"],
        seccomp=SECCOMP,
        apparmor=APPARMOR,
    )


def test_a_sandbox_gets_what_concerns_it() -> None:
    assert sandbox_security(ALL) == cri.LinuxSandboxSecurityContext(
        namespace_options=NAMESPACES,
        selinux_options=SELINUX,
        run_as_user=cri.Int64Value(value=0),
        run_as_group=cri.Int64Value(value=7),
        readonly_rootfs=True,
        supplemental_groups=[8, 9],
        privileged=True,
        seccomp=SECCOMP,
        apparmor=APPARMOR,
    )


def test_what_is_not_said_is_left_to_the_engine() -> None:
    made = container_security(LinuxSecurity(run_as_username="www"))
    assert made.run_as_username == "www"
    for field in ("run_as_user", "run_as_group", "selinux_options", "apparmor"):
        assert not made.HasField(field)
    assert made.apparmor_profile == ""
    assert made.seccomp.profile_type == cri.SecurityProfile.Unconfined


def test_an_older_engine_reads_apparmor_as_a_word() -> None:
    kinds = (ProfileKind.RUNTIME_DEFAULT, ProfileKind.UNCONFINED)
    made = [container_security(LinuxSecurity(apparmor=Profile(kind))) for kind in kinds]
    assert [m.apparmor_profile for m in made] == ["runtime/default", "unconfined"]
