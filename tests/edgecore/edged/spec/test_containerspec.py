"""How configurations for the runtime are put together: pure, nothing faked."""

from pathlib import Path
from typing import Any

import pytest

from common.names import UID, ResourceType
from edgecore.edged.objects import MissingError, Objects, Ref
from edgecore.edged.podview import spec_hash
from edgecore.edged.runtime.images import Image
from edgecore.edged.runtime.spec import (
    ContainerConfig,
    DNSConfig,
    LinuxResources,
    Mount,
    Namespace,
    PortMapping,
)
from edgecore.edged.spec.cgroupdriver import CgroupDriver
from edgecore.edged.spec.containerspec import (
    Made,
    NodeSetup,
    container_config,
    environment_of,
    sandbox_config,
)
from edgecore.edged.spec.fields import NodeView
from edgecore.edged.spec.refusals import Notice, SpecError
from edgecore.edged.spec.security import container_security, sandbox_security
from tests.edgecore.edged.world import config_object, container, pod_object

SETUP = NodeSetup(
    NodeView("n1", "192.0.2.7", {"cpu": "4"}),
    memory_bytes=8_000_000_000,
    resolv_conf="nameserver 192.0.2.1\n",
    cluster_dns=("10.96.0.10",),
    cluster_domain="cluster.local",
)
OBJECTS = Objects(
    "default", {Ref(ResourceType.CONFIGMAP, "web"): config_object("ConfigMap", "web", a="1")}
)
LOG = Path("/logs/c/3.log")
POD_IP = {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}


def config(made: Made, **fields: Any) -> tuple[ContainerConfig, tuple[Notice, ...]]:
    spec = container("c", "run", "$(A)", env=[{"name": "A", "value": "1"}, POD_IP], **fields)
    return container_config(pod_object("web", containers=[spec]), spec, 3, made, LOG)


def test_a_sandbox_has_all_that_belongs_to_the_pod_as_a_whole() -> None:
    sysctls = [{"name": "net/ipv4/tcp_rmem", "value": "1 2 3"}]
    pod = pod_object(
        "web",
        "u1",
        containers=[container("c", ports=[{"containerPort": 80, "hostPort": 8080}])],
        securityContext={"fsGroup": 5, "sysctls": sysctls},
    )
    pod["metadata"] |= {"labels": {"app": "web"}, "annotations": {"x.io/y": "z"}}
    made, notices = sandbox_config(pod, 2, SETUP, Path("/logs"))
    assert notices == ()
    assert (made.uid, made.namespace, made.name, made.attempt) == (UID("u1"), "default", "web", 2)
    assert (made.labels, made.annotations) == ((("app", "web"),), (("x.io/y", "z"),))
    assert (made.hostname, made.log_dir) == ("web", Path("/logs"))
    assert made.dns is not None
    assert made.dns.servers == ("10.96.0.10",)
    assert made.ports == (PortMapping("TCP", 80, 8080),)
    assert made.cgroup_parent == "/kubepods/besteffort/podu1"
    assert made.security == sandbox_security(pod)
    assert made.sysctls == (("net.ipv4.tcp_rmem", "1 2 3"),)


def test_a_sandbox_on_the_machines_network_has_its_name_and_name_servers() -> None:
    pod = pod_object("web", hostNetwork=True)
    made, _ = sandbox_config(pod, 0, SETUP, Path("/logs"))
    assert (made.hostname, made.ports) == ("", ())
    assert made.dns == DNSConfig(("192.0.2.1",))
    assert made.security.namespaces.network is Namespace.NODE
    assert (made.labels, made.annotations) == ((), ())


def test_a_node_says_where_the_pods_cgroups_are() -> None:
    setup = NodeSetup(SETUP.view, 1, cgroup_driver=CgroupDriver.SYSTEMD, cgroup_root="edge")
    made, _ = sandbox_config(pod_object("web", "u1"), 0, setup, Path("/logs"))
    assert made.cgroup_parent.endswith("/edge-kubepods-besteffort-podu1.slice")


def test_what_is_left_out_of_a_sandbox_is_said() -> None:
    pod = pod_object("web", ephemeralContainers=[{"name": "debug"}])
    _, notices = sandbox_config(pod, 0, NodeSetup(SETUP.view, 1), Path("/logs"))
    reasons = [notice.reason for notice in notices]
    assert reasons == ["EphemeralContainersIgnored", "MissingClusterDNS"]


def test_a_sandbox_that_cannot_be_made_is_refused() -> None:
    with pytest.raises(SpecError, match="user namespaces"):
        sandbox_config(pod_object("web", hostUsers=False), 0, SETUP, Path("/logs"))


def test_a_container_has_what_its_spec_says_with_references_resolved() -> None:
    image = Image("sha256:1", user=7)
    mounts = (Mount("v", Path("/v"), "/data"),)
    ready = Made(OBJECTS, SETUP, mounts, image, ("10.0.0.2",), Path("/message"))
    made, notices = config(
        ready,
        args=["$(A)$(B)", "$$(A)"],
        workingDir="/$(A)",
        terminationMessagePolicy="FallbackToLogsOnError",
        stdin=True,
        stdinOnce=True,
        tty=True,
    )
    spec = container("c")
    assert notices == ()
    assert made == ContainerConfig(
        name="c",
        attempt=3,
        image="img",
        spec_hash=spec_hash(spec),
        log_path=LOG,
        command=("run", "1"),
        args=("1$(B)", "$(A)"),
        env=(("A", "1"), ("IP", "10.0.0.2")),
        working_dir="/$(A)",
        mounts=mounts,
        image_id="sha256:1",
        termination_message=Path("/message"),
        termination_from_log=True,
        stdin=True,
        stdin_once=True,
        tty=True,
        resources=LinuxResources(2, 0, 100_000, 0, oom_score_adj=1000),
        security=container_security(pod_object("web"), spec, image, SETUP.security),
    )
    assert made.security.run_as_user == 7


def test_a_runtime_without_images_gets_the_name_alone() -> None:
    made, _ = config(Made(OBJECTS, SETUP))
    assert (made.image, made.image_id, made.security.run_as_user) == ("img", "", None)
    assert (made.termination_from_log, made.tty) == (False, False)


def test_on_the_machines_network_the_pods_address_is_the_nodes() -> None:
    spec = container("c", env=[POD_IP])
    pod = pod_object("web", containers=[spec], hostNetwork=True)
    ready = Made(OBJECTS, SETUP, ips=("10.0.0.2",))
    assert environment_of(pod, spec, ready).variables == {"IP": "192.0.2.7"}


def test_keys_that_cannot_be_names_are_told() -> None:
    source = [{"prefix": "=", "configMapRef": {"name": "web"}}]
    _, notices = config(Made(OBJECTS, SETUP), envFrom=source)
    message = "Keys =a were skipped: they are no names of variables"
    assert notices == (Notice("InvalidEnvironmentVariableNames", message),)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"volumeDevices": [{}]}, "raw block volumes"),
        (
            {
                "envFrom": [{"configMapRef": {"name": "web"}}],
                "command": ["x"],
                "resources": {"limits": {"cpu": "?"}},
            },
            "invalid resources",
        ),
        ({"securityContext": {"runAsNonRoot": True}}, "image will run as root"),
    ],
)
def test_a_container_that_cannot_be_started_as_it_is_meant_is_refused(
    fields: dict[str, Any], words: str
) -> None:
    spec = container("c") | fields
    pod = pod_object("web", containers=[spec])
    pod["status"]["qosClass"] = "Burstable"
    with pytest.raises(MissingError, match=words):
        container_config(pod, spec, 0, Made(OBJECTS, SETUP, image=Image("i")), LOG)
