"""KubeEdge's edgecore.yaml as our configuration. Real: files, by KubeEdge's own defaults."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.config import Sources, load
from common.errors import ConfigError
from common.kubeedgeconfig import Used
from edgecore.config import ENV_PREFIX, EdgeCoreSettings, HollowSettings
from edgecore.kubeedgeconfig import TABLE, Places, places, translate

LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates()
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=5,
)
HEAD = "apiVersion: edgecore.config.kubeedge.io/v1alpha2\nkind: EdgeCore\n"
FULL = (
    HEAD
    + """
database: {aliasName: default, dataSource: /var/lib/kubeedge/edgecore.db, driverName: sqlite3}
edgecoreVersion: v1.21.0
featureGates: {requireAuthorization: false}
modules:
  dbTest: {enable: false}
  deviceTwin: {dmiSockPath: /etc/kubeedge/, enable: true}
  edgeHub:
    enable: true
    heartbeat: 15
    httpServer: https://192.0.2.7:30002
    messageBurst: 60
    messageQPS: 30
    projectID: e632aba927ea4ac2b575ec1603d56f10
    quic: {enable: false, handshakeTimeout: 30, server: '192.0.2.7:10001'}
    rotateCertificates: true
    tlsCaFile: /etc/kubeedge/ca/rootCA.crt
    tlsCertFile: /etc/kubeedge/certs/server.crt
    tlsPrivateKeyFile: /etc/kubeedge/certs/server.key
    token: ''
    websocket: {enable: true, handshakeTimeout: 30, readDeadline: 15, server: '192.0.2.7:30000',
      writeDeadline: 15}
  edgeStream: {enable: true, handshakeTimeout: 30, server: '192.0.2.7:10004'}
  edged:
    enable: true
    hostnameOverride: edge-7
    maxContainerCount: -1
    maxPerPodContainerCount: 1
    minimumGCAge: 0s
    podSandboxImage: kubeedge/pause:3.6
    registerNodeNamespace: default
    registerSchedulable: true
    remoteImageEndpoint: unix:///run/containerd/containerd.sock
    remoteRuntimeEndpoint: unix:///run/containerd/containerd.sock
    reportEvent: false
    rootDirectory: /var/lib/kubelet
    tailoredKubeletConfig:
      address: 127.0.0.1
      cgroupDriver: systemd
      cgroupsPerQOS: true
      clusterDNS: [169.254.96.16]
      clusterDomain: cluster.local
      configMapAndSecretChangeDetectionStrategy: Get
      containerLogMaxFiles: 5
      containerLogMaxSize: 10Mi
      containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
      contentType: application/json
      cpuCFSQuota: true
      cpuCFSQuotaPeriod: 100ms
      cpuManagerPolicy: none
      cpuManagerReconcilePeriod: 10s
      enableControllerAttachDetach: true
      enableDebugFlagsHandler: true
      enableDebuggingHandlers: true
      enableProfilingHandler: true
      enableSystemLogHandler: true
      enforceNodeAllocatable: [pods]
      evictionHard: {imagefs.available: 15%, memory.available: 100Mi, nodefs.available: 10%,
        nodefs.inodesFree: 5%}
      evictionPressureTransitionPeriod: 5m0s
      failSwapOn: false
      hairpinMode: promiscuous-bridge
      imageGCHighThresholdPercent: 80
      imageGCLowThresholdPercent: 40
      imageMinimumGCAge: 2m0s
      imageServiceEndpoint: unix:///run/containerd/containerd.sock
      iptablesDropBit: 15
      iptablesMasqueradeBit: 14
      localStorageCapacityIsolation: true
      logging: {flushFrequency: 5000000000, format: text, verbosity: 3}
      makeIPTablesUtilChains: true
      maxOpenFiles: 1000000
      maxPods: 110
      memoryManagerPolicy: None
      memorySwap: {}
      memoryThrottlingFactor: 0.9
      nodeLeaseDurationSeconds: 40
      nodeStatusMaxImages: 0
      nodeStatusReportFrequency: 5m0s
      nodeStatusUpdateFrequency: 10s
      oomScoreAdj: -999
      podPidsLimit: -1
      readOnlyPort: 10350
      registerNode: true
      registryBurst: 10
      registryPullQPS: 5
      resolvConf: /etc/resolv.conf
      runtimeRequestTimeout: 2m0s
      seccompDefault: false
      serializeImagePulls: true
      shutdownGracePeriod: 0s
      staticPodPath: /etc/kubeedge/manifests
      streamingConnectionIdleTimeout: 4h0m0s
      syncFrequency: 1m0s
      topologyManagerPolicy: none
      topologyManagerScope: container
      volumePluginDir: /usr/libexec/kubernetes/kubelet-plugins/volume/exec/
      volumeStatsAggPeriod: 1m0s
    windowsPriorityClass: NORMAL_PRIORITY_CLASS
  eventBus: {enable: true, mqttMode: 2, mqttServerExternal: 'tcp://127.0.0.1:1883'}
  metaManager:
    contextSendGroup: hub
    contextSendModule: websocket
    enable: true
    metaServer: {enable: false, server: '127.0.0.1:10550'}
    remoteQueryTimeout: 60
  serviceBus: {enable: false, port: 9060, server: 127.0.0.1, timeout: 60}
  taskManager: {enable: false}
"""
)
CLOUD = """
modules:
  edgeHub:
    websocket: {server: '[fd00::7]:10000'}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "edgecore.yaml"


def loaded(file: Path, text: str, **flags: object) -> EdgeCoreSettings:
    file.write_text(text)
    return load(EdgeCoreSettings, Sources(ENV_PREFIX, file, {}, flags)).settings


def faults(file: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loaded(file, text)
    return caught.value.faults


def edged(**keys: str) -> str:
    lines = "".join(f"    {key}: {value}\n" for key, value in keys.items())
    return f"{HEAD}{CLOUD}  edged:\n{lines}"


def kubelet(**keys: str) -> str:
    lines = "".join(f"      {key}: {value}\n" for key, value in keys.items())
    return f"{HEAD}{CLOUD}  edged:\n    tailoredKubeletConfig:\n{lines}"


def test_a_file_as_keadm_writes_it_is_taken_with_one_warning(file: Path) -> None:
    made = loaded(file, FULL)
    assert (made.cloud, made.websocket_port, made.https_port) == ("192.0.2.7", 30000, 30002)
    assert (made.node_name, made.token, made.heartbeat_s) == ("edge-7", "", 15)
    assert made.root_dir == Path("/var/lib/kubelet")
    assert made.static_pods_dir == Path("/etc/kubeedge/manifests")
    assert made.runtime_endpoint == "unix:///run/containerd/containerd.sock"
    assert made.local_address == "127.0.0.1:10350"
    assert (made.cgroup_driver, made.cluster_dns) == ("systemd", ("169.254.96.16",))
    assert (made.image_gc_high_percent, made.image_gc_low_percent) == (80, 40)
    assert made.parallel_pulls == 1
    assert made.kubeedge_key == Path("/etc/kubeedge/certs/server.key")
    (note,) = made.notes
    assert note == (
        f"{file}: these settings of KubeEdge have no effect: modules.deviceTwin (devices),"
        " modules.edgeStream (kubectl logs and exec), modules.eventBus (MQTT)"
    )


def test_what_is_not_said_is_as_with_kubeedge(file: Path) -> None:
    made = loaded(file, HEAD + CLOUD)
    assert made.cloud == "fd00::7"
    assert made.root_dir == Path("/var/lib/kubelet")
    assert made.static_pods_dir == Path("/etc/kubeedge/manifests")
    assert made.local_address == "127.0.0.1:10350"
    assert made.heartbeat_s == 15
    assert made.kubeedge_certificate == Path("/etc/kubeedge/certs/server.crt")
    assert made.kubeedge_authority == Path("/etc/kubeedge/ca/rootCA.crt")
    assert made.notes == ()


def test_what_the_node_registers_with_is_taken(file: Path) -> None:
    text = edged(
        nodeLabels="{tier: shop}",
        nodeIP="192.0.2.9",
        registerWithTaints="[{key: a, value: b, effect: NoSchedule}, {key: x, effect: NoExecute}]",
    )
    made = loaded(file, text)
    assert made.labels == {"tier": "shop"}
    assert made.node_ip == "192.0.2.9"
    assert made.taints == ("a=b:NoSchedule", "x=:NoExecute")


def test_limits_of_the_disk_are_taken(file: Path) -> None:
    made = loaded(
        file,
        kubelet(
            evictionHard="{memory.available: 50Mi, nodefs.available: 5%}",
            evictionSoft="{memory.available: 80Mi}",
            evictionSoftGracePeriod="{memory.available: 1m30s}",
            containerLogMaxSize="1500Ki",
        ),
    )
    assert made.eviction_hard == "memory.available<50Mi,nodefs.available<5%"
    assert len(made.thresholds()) == 3
    assert made.container_log_max_mib == 2


def test_images_may_come_side_by_side(file: Path) -> None:
    text = kubelet(serializeImagePulls="false", maxParallelImagePulls="4")
    assert loaded(file, text).parallel_pulls == 4


def test_the_older_spelling_of_the_engines_socket_counts_where_the_newer_is_missing(
    file: Path,
) -> None:
    older = edged(remoteRuntimeEndpoint="unix:///run/crio.sock")
    assert loaded(file, older).runtime_endpoint == "unix:///run/crio.sock"
    both = older + "    tailoredKubeletConfig: {containerRuntimeEndpoint: 'unix:///run/new.sock'}\n"
    assert loaded(file, both).runtime_endpoint == "unix:///run/new.sock"


def test_images_of_another_engine_are_named(file: Path) -> None:
    text = kubelet(
        containerRuntimeEndpoint="'unix:///run/a.sock'", imageServiceEndpoint="'unix:///run/b.sock'"
    )
    (note,) = loaded(file, text).notes
    assert "modules.edged.tailoredKubeletConfig.imageServiceEndpoint (images are" in note


@pytest.mark.parametrize(
    ("address", "port", "shown"),
    [("127.0.0.1", "0", ""), ("'::1'", "7", "[::1]:7"), ("192.0.2.9", "7", "127.0.0.1:7")],
)
def test_a_node_shows_what_it_does_on_its_own_machine_only(
    file: Path, address: str, port: str, shown: str
) -> None:
    made = loaded(file, kubelet(address=address, readOnlyPort=port))
    assert made.local_address == shown
    is_named = "tailoredKubeletConfig.address" in "".join(made.notes)
    assert is_named is (address.strip("'") not in {"127.0.0.1", "::1"})


def test_the_token_is_taken_and_told_to_nobody(file: Path) -> None:
    text = HEAD + CLOUD + "    token: SECRET\n"
    made = loaded(file, text)
    assert made.read_token() == "SECRET"
    assert "SECRET" not in repr(made)
    assert "SECRET" not in str(faults(file, text + "    heartbeat: x\n"))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("modules: {edgeHub: {quic: {enable: true}, websocket: {enable: false}}}", "enable: must"),
        (
            "modules: {edgeHub: {httpServer: 'https://b:1', websocket: {server: 'a:1'}}}",
            "websocket.server: says another thing than modules.edgeHub.httpServer",
        ),
        ("modules: {edgeHub: {httpServer: 'http://b:1'}}", "expected https://HOST:PORT"),
        ("modules: {edgeHub: {websocket: {server: a}}}", "websocket.server: expected HOST:PORT"),
        ("modules: {edgeHub: {websocket: {server: 'a:x'}}}", "server: expected HOST:PORT"),
        ("modules: {edgeHub: {websocket: {server: 5}}}", "server: expected HOST:PORT"),
        ("modules: {edged: {hostnameOverride: A_B}}", "edged.hostnameOverride: 'A_B' cannot name"),
        ("modules: {edged: {registerWithTaints: [a]}}", "Taints: expected a list of taints"),
        (
            "modules: {edged: {registerWithTaints: [{key: a, effect: Never}]}}",
            "registerWithTaints: expected key=value:NoSchedule",
        ),
        ("modules: {edged: {tailoredKubeletConfig: {address: here}}}", "Config.address: 'here'"),
        ("modules: {edged: {tailoredKubeletConfig: {readOnlyPort: 70000}}}", "readOnlyPort: "),
        ("modules: {edged: {tailoredKubeletConfig: {readOnlyPort: 1.5}}}", "readOnlyPort: "),
        ("modules: {edged: {tailoredKubeletConfig: {maxPods: 0}}}", "maxPods: "),
        (
            "modules: {edged: {tailoredKubeletConfig: {containerLogMaxSize: much}}}",
            "containerLogMaxSize: ",
        ),
    ],
)
def test_a_bad_value_is_told_with_its_path(file: Path, text: str, fault: str) -> None:
    assert any(fault in one for one in faults(file, HEAD + text))


def test_a_file_of_the_earlier_form_is_refused(file: Path) -> None:
    (fault,) = faults(file, HEAD.replace("v1alpha2", "v1alpha1"))
    assert fault.startswith(f"{file}: apiVersion: expected edgecore.config.kubeedge.io/v1alpha2")


def test_hollow_edges_have_no_such_file(file: Path) -> None:
    file.write_text(FULL)
    with pytest.raises(ConfigError, match="apiVersion: this command reads no file of edgecore"):
        load(HollowSettings, Sources(ENV_PREFIX, file, {}, {}))


def test_the_places_of_what_is_taken_over_are_told() -> None:
    document: dict[str, Any] = {"apiVersion": TABLE.api_version}
    assert places(document) == Places()
    document |= {
        "database": {"dataSource": "/k/edge.db"},
        "modules": {"edgeHub": {"tlsPrivateKeyFile": "/k/key", "tlsCaFile": "/k/ca"}},
    }
    usual = Places().certificate
    assert places(document) == Places(Path("/k/edge.db"), usual, Path("/k/key"), Path("/k/ca"))
    with pytest.raises(ValueError, match=r"database\.dataSource: expected a text"):
        places(document | {"database": {"dataSource": 5}})


def test_every_option_of_the_table_is_one_of_ours() -> None:
    own = {"read-only host", "read-only port", "image endpoint"}  # put together afterwards
    own |= {"old runtime endpoint", "old image endpoint", "database"}
    samples: tuple[object, ...] = ("a", 1, ["a"], {"a": "b"}, [{"key": "a"}], True, "10Mi")
    samples += ("a:1", "https://a:1", "127.0.0.1")
    for path, rule in TABLE.rules.items():
        if isinstance(rule, Used):
            names = {name for sample in samples for name in _names(rule, sample)}
            assert names, path
            assert names <= set(EdgeCoreSettings.options()) | own, path


def _names(rule: Used, sample: object) -> set[str]:
    try:
        return set(rule.convert(sample))
    except ValueError:
        return set()


@given(st.sampled_from(sorted(TABLE.rules)), VALUES)
def test_whatever_stands_in_a_file_is_told_and_never_raised(path: str, value: object) -> None:
    document: object = value
    for part in reversed(path.split(".")):
        document = {part: document}
    assert isinstance(document, dict)
    document["apiVersion"] = TABLE.api_version
    found = translate(document)
    assert all(isinstance(fault, str) for fault in (*found.faults, *found.unused))
