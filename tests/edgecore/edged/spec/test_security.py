"""Security contexts: pure, nothing faked."""

from typing import Any

import pytest

from edgecore.edged.runtime.images import Image
from edgecore.edged.runtime.spec import (
    LinuxSecurity,
    Namespace,
    Namespaces,
    Profile,
    ProfileKind,
    SELinuxOptions,
)
from edgecore.edged.spec.refusals import SpecError
from edgecore.edged.spec.security import (
    MASKED_PATHS,
    READ_ONLY_PATHS,
    MachineSecurity,
    container_security,
    namespaces_of,
    sandbox_security,
)
from tests.edgecore.edged.world import container, pod_object

MACHINE = MachineSecurity("/seccomp", ("/sys/hot",))
RUNTIME_DEFAULT = Profile(ProfileKind.RUNTIME_DEFAULT)
UNCONFINED = Profile(ProfileKind.UNCONFINED)
ROOT, NUMERIC, NAMED = Image("i"), Image("i", user=1000), Image("i", username="web")


def security(
    pod: dict[str, Any] | None = None,
    own: dict[str, Any] | None = None,
    image: Image | None = None,
    annotations: dict[str, str] | None = None,
) -> LinuxSecurity:
    made = container("c", securityContext=own)
    obj = pod_object("web", containers=[made], securityContext=pod)
    obj["metadata"]["annotations"] = annotations
    return container_security(obj, made, image, MACHINE)


def test_a_container_that_says_nothing_gets_kubelets_defaults() -> None:
    masked = (*MASKED_PATHS, "/sys/hot")
    assert security() == LinuxSecurity(masked_paths=masked, read_only_paths=READ_ONLY_PATHS)
    assert "/proc/kcore" in masked
    assert security({}, {}) == security()


def test_a_containers_own_word_wins_over_the_pods() -> None:
    pod = {
        "runAsUser": 1,
        "runAsGroup": 2,
        "fsGroup": 3,
        "supplementalGroups": [4, 5],
        "seLinuxOptions": {"level": "s0"},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    inherited = security(pod)
    assert (inherited.run_as_user, inherited.run_as_group) == (1, 2)
    assert inherited.supplemental_groups == (3, 4, 5)
    assert inherited.seccomp == RUNTIME_DEFAULT
    assert inherited.selinux == SELinuxOptions(level="s0")
    own = {
        "runAsUser": 0,
        "runAsGroup": None,
        "seLinuxOptions": {"type": "t", "user": None},
        "seccompProfile": {"type": "Unconfined"},
    }
    merged = security(pod, own)
    assert (merged.run_as_user, merged.run_as_group) == (0, 2)
    assert (merged.seccomp, merged.selinux) == (UNCONFINED, SELinuxOptions(type="t"))


def test_what_only_a_container_can_say() -> None:
    made = security(
        own={
            "privileged": True,
            "readOnlyRootFilesystem": True,
            "capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]},
            "procMount": "Unmasked",
        }
    )
    assert made == LinuxSecurity(
        privileged=True,
        read_only_root=True,
        add_capabilities=("NET_ADMIN",),
        drop_capabilities=("ALL",),
    )


@pytest.mark.parametrize(("allowed", "no_new"), [(None, False), (True, False), (False, True)])
def test_privileges_can_be_kept_from_growing(*, allowed: bool | None, no_new: bool) -> None:
    assert security(own={"allowPrivilegeEscalation": allowed}).no_new_privileges is no_new


@pytest.mark.parametrize(
    ("own", "image", "user"),
    [
        ({}, None, (None, "")),
        ({}, ROOT, (0, "")),
        ({}, NUMERIC, (1000, "")),
        ({}, NAMED, (None, "web")),
        ({"runAsUser": 7}, NAMED, (7, "")),
    ],
)
def test_the_images_user_counts_where_the_spec_names_none(
    own: dict[str, Any], image: Image | None, user: tuple[int | None, str]
) -> None:
    made = security(own=own, image=image)
    assert (made.run_as_user, made.run_as_username) == user


@pytest.mark.parametrize(
    ("own", "image", "words"),
    [
        ({"runAsUser": 0}, None, "container's runAsUser breaks non-root policy"),
        ({}, ROOT, "container has runAsNonRoot and image will run as root"),
        ({}, Image("i", user=0), "image will run as root"),
        ({}, NAMED, r"image has non-numeric user \(web\), cannot verify user is non-root"),
        ({}, Image("i", user=2**31), r"an invalid user id \(2147483648\)"),
    ],
)
def test_who_must_not_be_root_is_refused_unless_it_is_sure(
    own: dict[str, Any], image: Image | None, words: str
) -> None:
    with pytest.raises(SpecError, match=words) as caught:
        security({"runAsNonRoot": True}, own, image)
    assert str(caught.value).endswith('(pod: "web_default(uid-web)", container: c)')


@pytest.mark.parametrize(
    ("own", "image"),
    [({"runAsUser": 7}, ROOT), ({}, NUMERIC), ({"runAsNonRoot": False}, ROOT), ({}, None)],
)
def test_who_is_not_root_may_run(own: dict[str, Any], image: Image | None) -> None:
    security({"runAsNonRoot": True}, own, image)


def test_a_seccomp_profile_of_the_machine_is_found_below_its_folder() -> None:
    said = {"type": "Localhost", "localhostProfile": "profiles/a.json"}
    wanted = Profile(ProfileKind.LOCALHOST, "/seccomp/profiles/a.json")
    assert security(own={"seccompProfile": said}).seccomp == wanted


@pytest.mark.parametrize("name", [None, "", "/etc/x", "../x", "a/../../x"])
def test_a_seccomp_profile_elsewhere_is_refused(name: str | None) -> None:
    with pytest.raises(SpecError, match="invalid localhostProfile of seccompProfile"):
        security({"seccompProfile": {"type": "Localhost", "localhostProfile": name}})


KEY = "container.apparmor.security.beta.kubernetes.io/c"
LOCAL = {"type": "Localhost", "localhostProfile": "mine"}


@pytest.mark.parametrize(
    ("pod", "own", "annotation", "profile"),
    [
        (None, None, None, None),
        ({"type": "RuntimeDefault"}, None, None, RUNTIME_DEFAULT),
        ({"type": "RuntimeDefault"}, None, "unconfined", UNCONFINED),
        ({"type": "Unconfined"}, None, "runtime/default", RUNTIME_DEFAULT),
        (None, None, "localhost/mine", Profile(ProfileKind.LOCALHOST, "mine")),
        ({"type": "Unconfined"}, None, "nonsense", UNCONFINED),
        ({"type": "Unconfined"}, LOCAL, "unconfined", Profile(ProfileKind.LOCALHOST, "mine")),
    ],
)
def test_an_apparmor_profile_comes_from_the_container_the_old_annotation_or_the_pod(
    pod: Any, own: Any, annotation: str | None, profile: Profile | None
) -> None:
    annotations = {KEY: annotation} if annotation else None
    made = security({"appArmorProfile": pod}, {"appArmorProfile": own}, None, annotations)
    assert made.apparmor == profile


@pytest.mark.parametrize("said", [{"type": "Localhost"}, {"type": "Odd"}])
def test_an_apparmor_profile_that_cannot_be_is_refused(said: dict[str, str]) -> None:
    with pytest.raises(SpecError, match="apparmor profile"):
        security(own={"appArmorProfile": said})


@pytest.mark.parametrize(
    ("spec", "namespaces"),
    [
        ({}, Namespaces()),
        ({"hostNetwork": True}, Namespaces(network=Namespace.NODE)),
        ({"hostIPC": True}, Namespaces(ipc=Namespace.NODE)),
        ({"shareProcessNamespace": True}, Namespaces(pid=Namespace.POD)),
        ({"hostPID": True, "shareProcessNamespace": True}, Namespaces(pid=Namespace.NODE)),
    ],
)
def test_namespaces_are_the_pods_or_the_machines(
    spec: dict[str, Any], namespaces: Namespaces
) -> None:
    assert namespaces_of(pod_object("web", **spec)) == namespaces


def test_a_sandbox_is_confined_and_has_its_pods_groups() -> None:
    context = {"runAsUser": 1, "runAsGroup": 2, "fsGroup": 0, "supplementalGroups": [4]}
    init = container("i", securityContext={"privileged": True})
    pod = pod_object("web", securityContext=context, hostNetwork=True)
    wanted = LinuxSecurity(
        namespaces=Namespaces(network=Namespace.NODE),
        run_as_user=1,
        run_as_group=2,
        supplemental_groups=(0, 4),
        seccomp=RUNTIME_DEFAULT,
    )
    assert sandbox_security(pod) == wanted
    assert not sandbox_security(pod).privileged
    pod["spec"]["initContainers"] = [init]
    assert sandbox_security(pod).privileged
