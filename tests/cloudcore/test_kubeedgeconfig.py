"""KubeEdge's cloudcore.yaml as our configuration. Real: files, by KubeEdge's own defaults."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudcore.config import ENV_PREFIX, CloudCoreSettings
from cloudcore.kubeedgeconfig import TABLE
from common.config import Sources, load
from common.errors import ConfigError
from common.kubeedgeconfig import Used, translate

LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates()
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=5,
)
EVERYWHERE = "0.0.0.0"  # noqa: S104 - compared with, never bound

FULL = """
apiVersion: cloudcore.config.kubeedge.io/v1alpha1
kind: CloudCore
commonConfig:
  monitorServer: {bindAddress: '127.0.0.1:9091', enableProfiling: false}
  tunnelPort: 10350
featureGates: {requireAuthorization: false}
kubeAPIConfig:
  burst: 10000
  contentType: application/vnd.kubernetes.protobuf
  kubeConfig: ''
  master: ''
  qps: 5000
modules:
  cloudHub:
    advertiseAddress: [192.0.2.7]
    authorization: {debug: true, enable: false, modes: [{node: {enable: true}}]}
    dnsNames: ['']
    edgeCertSigningDuration: 365
    enable: true
    https: {address: 0.0.0.0, enable: true, port: 10002}
    keepaliveInterval: 30
    nodeLimit: 1000
    quic: {address: 0.0.0.0, enable: false, maxIncomingStreams: 10000, port: 10001}
    tlsCAFile: /etc/kubeedge/ca/rootCA.crt
    tlsCAKeyFile: /etc/kubeedge/ca/rootCA.key
    tlsCertFile: /etc/kubeedge/certs/server.crt
    tlsPrivateKeyFile: /etc/kubeedge/certs/server.key
    tokenRefreshDuration: 12
    unixsocket: {address: 'unix:///var/lib/kubeedge/kubeedge.sock', enable: true}
    websocket: {address: 0.0.0.0, enable: true, port: 10000}
    writeTimeout: 30
  cloudStream: {enable: true, streamPort: 10003, tunnelPort: 10004}
  deviceController:
    buffer: {updateDeviceStatus: 1024}
    enable: true
    load: {updateDeviceStatusWorkers: 1}
  dynamicController: {enable: false}
  edgeController:
    buffer: {configMapEvent: 1, podEvent: 1}
    enable: true
    load: {ServiceAccountTokenWorkers: 100, queryNodeWorkers: 1000}
    nodeUpdateFrequency: 10
  iptablesManager: {enable: true, mode: external}
  router: {address: 0.0.0.0, enable: false, port: 9443, restTimeout: 60}
  syncController: {enable: true}
  taskManager: {enable: false}
"""
MINIMAL = """
apiVersion: cloudcore.config.kubeedge.io/v1alpha1
kind: CloudCore
modules:
  cloudHub: {advertiseAddress: [192.0.2.7]}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "cloudcore.yaml"


def loaded(file: Path, text: str, **flags: object) -> CloudCoreSettings:
    file.write_text(text)
    return load(CloudCoreSettings, Sources(ENV_PREFIX, file, {}, flags)).settings


def faults(file: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loaded(file, text)
    return caught.value.faults


def test_a_file_as_keadm_writes_it_is_taken_with_one_warning(file: Path) -> None:
    made = loaded(file, FULL)
    assert made.advertise_address == ("192.0.2.7",)
    assert (made.websocket_address, made.https_address) == (EVERYWHERE, EVERYWHERE)
    assert (made.node_limit, made.keepalive_s, made.kubeconfig) == (1000, 30, None)
    (note,) = made.notes
    assert note == (
        f"{file}: these settings of KubeEdge have no effect: modules.cloudHub.unixsocket (CSI"
        " drivers), modules.cloudStream (kubectl logs and exec), modules.deviceController"
        " (devices)"
    )


def test_kubeedges_own_file_listens_where_kubeedge_did(file: Path) -> None:
    made = loaded(file, MINIMAL)
    assert (made.websocket_address, made.https_address) == (EVERYWHERE, EVERYWHERE)
    assert made.notes == ()


def test_each_key_that_is_used_arrives(file: Path) -> None:
    made = loaded(
        file,
        """
apiVersion: cloudcore.config.kubeedge.io/v1alpha1
kind: CloudCore
commonConfig: {monitorServer: {bindAddress: '127.0.0.1:7'}}
kubeAPIConfig: {kubeConfig: /root/.kube/config}
modules:
  cloudHub:
    advertiseAddress: [192.0.2.7, 192.0.2.8]
    dnsNames: [cloud.example]
    keepaliveInterval: 60
    nodeLimit: 77
    edgeCertSigningDuration: 30
    https: {address: 127.0.0.1, port: 30002}
    websocket: {address: 127.0.0.2, port: 30000}
""",
    )
    assert made.advertise_address == ("192.0.2.7", "192.0.2.8", "cloud.example")
    assert (made.https_address, made.https_port) == ("127.0.0.1", 30002)
    assert (made.websocket_address, made.websocket_port) == ("127.0.0.2", 30000)
    assert (made.keepalive_s, made.node_limit, made.certificate_days) == (60, 77, 30)
    assert (made.kubeconfig, made.monitor_address) == (Path("/root/.kube/config"), "127.0.0.1:7")


def test_a_flag_wins_over_the_file(file: Path) -> None:
    assert loaded(file, FULL, websocket_port="7").websocket_port == 7


def test_a_bad_value_is_told_with_its_path(file: Path) -> None:
    told = faults(
        file,
        FULL.replace("nodeLimit: 1000", "nodeLimit: 0")
        .replace("keepaliveInterval: 30", "keepaliveInterval: soon")
        .replace("websocket: {address: 0.0.0.0, enable: true", "websocket: {enable: false"),
    )
    start = f"{file}: modules.cloudHub."
    assert told[0] == f"{start}keepaliveInterval: expected a number"
    assert told[1] == f"{start}websocket.enable: must be true: edges connect by it"
    assert told[2].startswith(f"{start}nodeLimit: ")
    assert len(told) == 3


def test_another_version_is_refused(file: Path) -> None:
    (fault,) = faults(file, MINIMAL.replace("v1alpha1", "v1"))
    assert fault == (
        f"{file}: apiVersion: expected cloudcore.config.kubeedge.io/v1alpha1 of kind CloudCore,"
        " not cloudcore.config.kubeedge.io/v1"
    )


def test_every_option_of_the_table_is_one_of_ours() -> None:
    samples: tuple[object, ...] = ("a", 1, ["a"])
    for path, rule in TABLE.rules.items():
        if isinstance(rule, Used):
            names = {name for sample in samples for name in _names(rule, sample)}
            assert names, path
            assert names <= set(CloudCoreSettings.options()), path


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
    found = translate(document, TABLE)
    assert all(isinstance(fault, str) for fault in (*found.faults, *found.unused))
