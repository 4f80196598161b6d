"""What an engine is told. Everything is real; no engine is asked."""

import dataclasses
from pathlib import Path

from msgspec import structs

from common.names import UID
from edgecore.edged.runtime.cri import cri_pb2 as cri
from edgecore.edged.runtime.cri import names
from edgecore.edged.runtime.cri.convert import (
    auth_config,
    container_config,
    containers_of,
    sandbox_config,
    sandboxes_of,
)
from edgecore.edged.runtime.images import ImageAuth
from edgecore.edged.runtime.spec import (
    ContainerConfig,
    Device,
    DNSConfig,
    LinuxResources,
    Mount,
    PortMapping,
    Propagation,
    SandboxConfig,
)

LOGS = Path("/var/log/pods/default_web_u")
SANDBOX = SandboxConfig(UID("u"), "default", "web", 2, LOGS)
CONTAINER = ContainerConfig("c", 1, "busybox", "h", LOGS / "c" / "1.log")


def test_a_sandbox_is_named_and_labelled_as_kubelet_does() -> None:
    labels = (("app", "shop"), ("io.kubernetes.pod.name", "a lie"))
    made = sandbox_config(structs.replace(SANDBOX, labels=labels, annotations=(("note", "x"),)))
    assert made.metadata == cri.PodSandboxMetadata(
        name="web", uid="u", namespace="default", attempt=2
    )
    assert made.log_directory == "/var/log/pods/default_web_u"
    assert dict(made.labels) == {
        "app": "shop",
        "io.kubernetes.pod.name": "web",
        "io.kubernetes.pod.namespace": "default",
        "io.kubernetes.pod.uid": "u",
    }
    assert dict(made.annotations) == {"note": "x"}
    assert not made.HasField("dns_config")


def test_a_sandbox_has_its_network_and_its_place() -> None:
    made = sandbox_config(
        structs.replace(
            SANDBOX,
            hostname="web",
            dns=DNSConfig(("10.0.0.10",), ("svc.local",), ("ndots:5",)),
            ports=(PortMapping("UDP", 53, 5353, "127.0.0.1"), PortMapping("odd", 1, 2)),
            cgroup_parent="/kubepods/podu",
            sysctls=(("net.core.somaxconn", "128"),),
        )
    )
    assert made.hostname == "web"
    assert made.dns_config == cri.DNSConfig(
        servers=["10.0.0.10"], searches=["svc.local"], options=["ndots:5"]
    )
    assert list(made.port_mappings) == [
        cri.PortMapping(protocol=cri.UDP, container_port=53, host_port=5353, host_ip="127.0.0.1"),
        cri.PortMapping(protocol=cri.TCP, container_port=1, host_port=2),
    ]
    assert made.linux.cgroup_parent == "/kubepods/podu"
    assert dict(made.linux.sysctls) == {"net.core.somaxconn": "128"}


def test_a_container_carries_what_a_kubelet_must_know_to_take_it_over() -> None:
    message = Path("/pods/u/message")
    config = dataclasses.replace(
        CONTAINER,
        mounts=(Mount("", message, "/dev/termination-log"),),
        termination_message=message,
        termination_from_log=True,
        annotations=(("device", "x"),),
    )
    made = container_config(sandbox_config(SANDBOX), config)
    assert made.metadata == cri.ContainerMetadata(name="c", attempt=1)
    assert dict(made.labels) == {
        names.POD_NAME: "web",
        names.POD_NAMESPACE: "default",
        names.POD_UID: "u",
        names.CONTAINER_NAME: "c",
    }
    assert dict(made.annotations) == {
        "device": "x",
        names.HASH: names.kubelet_hash("c", "busybox"),
        names.RESTART_COUNT: "1",
        names.MESSAGE_PATH: "/dev/termination-log",
        names.MESSAGE_POLICY: "FallbackToLogsOnError",
        names.SPEC_HASH: "h",
    }


def test_a_container_runs_what_it_is_told_with_what_it_is_given() -> None:
    config = dataclasses.replace(
        CONTAINER,
        command=("sh",),
        args=("-c", "true"),
        env=(("A", "1"), ("B", "\udcff")),
        working_dir="/srv",
        image_id="sha256:1",
        devices=(Device("/dev/ttyUSB0", "/dev/tty0", "rw"),),
        mounts=(
            Mount("v", Path("/v"), "/data", read_only=True),
            Mount("w", Path("/w"), "/w", propagation=Propagation.BIDIRECTIONAL),
            Mount("x", Path("/x"), "/x", propagation=Propagation.HOST_TO_CONTAINER),
        ),
        stdin=True,
        stdin_once=True,
        tty=True,
    )
    made = container_config(sandbox_config(SANDBOX), config)
    assert made.image == cri.ImageSpec(image="sha256:1", user_specified_image="busybox")
    assert (list(made.command), list(made.args), made.working_dir) == (
        ["sh"],
        ["-c", "true"],
        "/srv",
    )
    assert [(pair.key, pair.value) for pair in made.envs] == [("A", b"1"), ("B", b"\xff")]
    assert list(made.devices) == [
        cri.Device(host_path="/dev/ttyUSB0", container_path="/dev/tty0", permissions="rw")
    ]
    assert [(m.host_path, m.container_path, m.readonly, m.propagation) for m in made.mounts] == [
        ("/v", "/data", True, cri.PROPAGATION_PRIVATE),
        ("/w", "/w", False, cri.PROPAGATION_BIDIRECTIONAL),
        ("/x", "/x", False, cri.PROPAGATION_HOST_TO_CONTAINER),
    ]
    assert (made.stdin, made.stdin_once, made.tty) == (True, True, True)


def test_a_container_without_an_id_of_its_image_has_the_name_of_it() -> None:
    made = container_config(sandbox_config(SANDBOX), CONTAINER)
    assert made.image.image == "busybox"


def test_the_oom_score_is_always_said() -> None:
    resources = LinuxResources(512, 50_000, 100_000, 64 << 20, 995)
    plain = container_config(sandbox_config(SANDBOX), CONTAINER).linux.resources
    limited = container_config(
        sandbox_config(SANDBOX), dataclasses.replace(CONTAINER, resources=resources)
    ).linux.resources
    assert (plain.oom_score_adj, plain.cpu_shares, plain.memory_limit_in_bytes) == (1000, 2, 0)
    assert limited == cri.LinuxContainerResources(
        cpu_period=100_000,
        cpu_quota=50_000,
        cpu_shares=512,
        memory_limit_in_bytes=64 << 20,
        oom_score_adj=995,
    )


def test_a_log_is_named_from_the_sandboxs_directory() -> None:
    own = container_config(sandbox_config(SANDBOX), CONTAINER)
    adopted = container_config(cri.PodSandboxConfig(log_directory="/elsewhere"), CONTAINER)
    unknown = container_config(cri.PodSandboxConfig(), CONTAINER)
    assert [made.log_path for made in (own, adopted, unknown)] == ["c/1.log"] * 3


def test_a_pod_is_found_by_its_label() -> None:
    assert dict(sandboxes_of(UID("u")).label_selector) == {"io.kubernetes.pod.uid": "u"}
    assert dict(containers_of(UID("u")).label_selector) == {"io.kubernetes.pod.uid": "u"}


def test_a_login_is_handed_on() -> None:
    auth = ImageAuth("me", "secret", "registry.example", "identity", "token")
    assert auth_config(None) is None
    assert auth_config(auth) == cri.AuthConfig(
        username="me",
        password="secret",
        server_address="registry.example",
        identity_token="identity",
        registry_token="token",
    )
