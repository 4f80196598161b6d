"""What becomes of each key of KubeEdge's edgecore.yaml (v1alpha2). Pure.

Source: KubeEdge api/apis/componentconfig/edgecore/v1alpha2, types.go, default.go and
default_kubelet_configuration.go.
"""

from collections.abc import Mapping
from ipaddress import ip_address
from math import ceil
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from common import kubeedgeconfig
from common.kubeedgeconfig import (
    Convert,
    Fixed,
    Missing,
    Quiet,
    Rule,
    Table,
    Translated,
    Unused,
    Used,
    number,
    pairs,
    text,
    texts,
)
from edgecore.edged.spec.quantity import parse_quantity

_MIB: Final = 1024 * 1024
_LOOPBACK: Final = "127.0.0.1"
_PAUSE_IMAGES: Final = ("kubeedge/pause:3.1", "kubeedge/pause:3.6", "kubeedge/pause:3.9")
_KUBELET: Final = "modules.edged.tailoredKubeletConfig"
_READ_ONLY_HOST: Final = "read-only host"
_READ_ONLY_PORT: Final = "read-only port"
_OLD_RUNTIME: Final = "old runtime endpoint"
_IMAGES: Final = "image endpoint"
_OLD_IMAGES: Final = "old image endpoint"
_DATABASE: Final = "database"


def translate(document: Mapping[str, object]) -> Translated:
    """Return what an edgecore.yaml says in the words of ``edgecore.config``."""
    translated = kubeedgeconfig.translate(document, TABLE)
    if not translated.options:
        return translated
    options, unused = dict(translated.options), list(translated.unused)
    options.pop(_DATABASE, None)
    _choose_endpoint(options, unused, translated.origins)
    _choose_local_address(options, unused)
    origins = dict(translated.origins)
    origins["local_address"] = f"{_KUBELET}.readOnlyPort"
    origins["runtime_endpoint"] = origins.get(
        "runtime_endpoint", "modules.edged.remoteRuntimeEndpoint"
    )
    return replace(translated, options=options, unused=tuple(unused), origins=origins)


class Places(Struct, frozen=True):
    """Where KubeEdge's edge keeps what is taken over of it."""

    database: Path = Path("/var/lib/kubeedge/edgecore.db")
    certificate: Path = Path("/etc/kubeedge/certs/server.crt")
    key: Path = Path("/etc/kubeedge/certs/server.key")
    authority: Path = Path("/etc/kubeedge/ca/rootCA.crt")


def places(document: Mapping[str, object]) -> Places:
    """Return the places that an edgecore.yaml names.

    Raises:
        ValueError: it cannot be used; the text has a line for each fault.
    """
    translated = kubeedgeconfig.translate(document, TABLE)
    if translated.faults:
        raise ValueError("\n".join(translated.faults))
    names = (_DATABASE, "kubeedge_certificate", "kubeedge_key", "kubeedge_authority")
    return Places(*(Path(str(translated.options[name])) for name in names))


def _choose_endpoint(
    options: dict[str, object], unused: list[str], origins: Mapping[str, str]
) -> None:
    """Take the older spelling where the newer is missing; images come from the same engine."""
    older = options.pop(_OLD_RUNTIME, None)
    if older is not None:
        older = options.setdefault("runtime_endpoint", older)
    for name in (_IMAGES, _OLD_IMAGES):
        endpoint = options.pop(name, None)
        if endpoint is not None and endpoint != options.get("runtime_endpoint"):
            unused.append(f"{origins[name]} (images are pulled by the engine that runs the pods)")


def _choose_local_address(options: dict[str, object], unused: list[str]) -> None:
    """Put together where this node shows what it does: nowhere but on this machine."""
    host, port = options.pop(_READ_ONLY_HOST, _LOOPBACK), options.pop(_READ_ONLY_PORT, 0)
    if port == 0:
        options["local_address"] = ""
        return
    if not ip_address(str(host)).is_loopback:
        unused.append(f"{_KUBELET}.address (shown on this machine only)")
        host = _LOOPBACK
    options["local_address"] = f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"


def _endpoint(port: str, *, scheme: str = "") -> Convert:
    """Return what takes HOST:PORT as the cloud and the option ``port``."""

    def convert(value: Any) -> Mapping[str, object]:
        form = f"expected {scheme}HOST:PORT"
        if not isinstance(value, str) or not value.startswith(scheme):
            raise ValueError(form)
        try:
            parts = urlsplit(f"//{value.removeprefix(scheme)}")
            host, found = parts.hostname, parts.port
        except ValueError as error:
            raise ValueError(form) from error
        if not host or found is None:
            raise ValueError(form)
        return {"cloud": host, port: found}

    return convert


def _address(value: Any) -> Mapping[str, object]:
    ip_address(str(value))
    return {_READ_ONLY_HOST: value}


def _taints(value: Any) -> Mapping[str, object]:
    if not isinstance(value, list) or not all(isinstance(one, Mapping) for one in value):
        raise ValueError("expected a list of taints")
    return {
        "taints": [
            f"{one.get('key', '')}={one.get('value') or ''}:{one.get('effect', '')}"
            for one in value
        ]
    }


def _amounts(name: str, sign: str) -> Convert:
    """Return what takes a mapping of texts as ``a<1,b<2`` with ``sign`` between."""
    take = pairs(name)

    def convert(value: Any) -> Mapping[str, object]:
        found = take(value)[name]
        assert isinstance(found, dict)
        return {name: ",".join(f"{key}{sign}{amount}" for key, amount in found.items())}

    return convert


def _log_size(value: Any) -> Mapping[str, object]:
    return {"container_log_max_mib": ceil(parse_quantity(str(value)) / _MIB)}


def _serialize(value: Any) -> Mapping[str, object]:
    return {"parallel_pulls": 1} if value is True else {}


_USUAL: Final = Places()
_ALWAYS: Final = "it is always so here"
_HUB_TIMES: Final = "how long a peer may take is fixed"
_DOCKER: Final = "of Docker, which KubeEdge 1.12 was the last to speak to"
_OFF: Final = Unused((False,))

_HUB: Final[dict[str, Rule]] = {
    "enable": Fixed(value=True, why="without it there is no cloud"),
    "heartbeat": Used(number("heartbeat_s"), default=15),
    "messageQPS": Quiet("the window of what is not acknowledged is the limit"),
    "messageBurst": Quiet("the window of what is not acknowledged is the limit"),
    "projectID": Unused(("e632aba927ea4ac2b575ec1603d56f10",)),
    "httpServer": Used(_endpoint("https_port", scheme="https://")),
    "token": Used(text("token")),
    "tlsCaFile": Used(text("kubeedge_authority"), default=str(_USUAL.authority)),
    "tlsCertFile": Used(text("kubeedge_certificate"), default=str(_USUAL.certificate)),
    "tlsPrivateKeyFile": Used(text("kubeedge_key"), default=str(_USUAL.key)),
    "rotateCertificates": Unused((True,)),
    "quic": Missing("a connection by QUIC"),
    "websocket.enable": Fixed(value=True, why="the cloud is reached by it"),
    "websocket.server": Used(_endpoint("websocket_port")),
    "websocket.handshakeTimeout": Quiet(_HUB_TIMES),
    "websocket.readDeadline": Quiet(_HUB_TIMES),
    "websocket.writeDeadline": Quiet(_HUB_TIMES),
}

_OTHERS: Final[dict[str, Rule]] = {
    "metaManager.enable": Fixed(value=True, why="without it nothing is kept for times offline"),
    "metaManager.contextSendGroup": Quiet("names within KubeEdge"),
    "metaManager.contextSendModule": Quiet("names within KubeEdge"),
    "metaManager.remoteQueryTimeout": Quiet(_HUB_TIMES),
    "metaManager.metaServer": Missing("the API for programs at the edge"),
    "eventBus": Missing("MQTT"),
    "deviceTwin": Missing("devices"),
    "serviceBus": Missing("HTTP from the cloud to programs at the edge"),
    "edgeStream": Missing("kubectl logs and exec"),
    "taskManager": Missing("node tasks"),
    "dbTest": Missing("a test of KubeEdge's own"),
}

_EDGED: Final[dict[str, Rule]] = {
    "enable": Fixed(value=True, why="without it no pod runs"),
    "reportEvent": Quiet(_ALWAYS),
    "hostnameOverride": Used(text("node_name")),
    "nodeIP": Used(text("node_ip")),
    "customInterfaceName": Unused(),
    "registerNodeNamespace": Unused(("default",)),
    "rootDirectory": Used(text("root_dir"), default="/var/lib/kubelet"),
    "podSandboxImage": Unused(_PAUSE_IMAGES),
    "nodeLabels": Used(pairs("labels")),
    "registerNode": Unused((True,)),
    "registerSchedulable": Unused((True,)),
    "registerWithTaints": Used(_taints),
    "containerRuntime": Unused(("remote",)),
    "remoteRuntimeEndpoint": Used(text(_OLD_RUNTIME)),
    "remoteImageEndpoint": Used(text(_OLD_IMAGES)),
    "dockerEndpoint": Quiet(_DOCKER),
    "dockershimRootDirectory": Quiet(_DOCKER),
    "imagePullProgressDeadline": Quiet(_DOCKER),
    "networkPluginName": Quiet(_DOCKER),
    "networkPluginMTU": Quiet(_DOCKER),
    "cniConfDir": Quiet(_DOCKER),
    "cniBinDir": Quiet(_DOCKER),
    "cniCacheDir": Quiet(_DOCKER),
    "minimumGCAge": Unused(("0s",)),
    "maxPerPodContainerCount": Unused((1,)),
    "maxContainerCount": Unused((-1,)),
    "masterServiceNamespace": Unused(("default",)),
    "windowsPriorityClass": Quiet("of Windows"),
    "windowsService": Quiet("of Windows"),
    "seccompDefault": _OFF,
    "keepTerminatedPodVolumes": _OFF,
    "exitOnLockContention": _OFF,
    "experimentalCheckNodeCapabilitiesBeforeMount": _OFF,
    "experimentalNodeAllocatableIgnoreEvictionThreshold": _OFF,
}

_KUBELET_RULES: Final[dict[str, Rule]] = {
    "address": Used(_address),
    "readOnlyPort": Used(number(_READ_ONLY_PORT), default=10350),
    "containerRuntimeEndpoint": Used(text("runtime_endpoint")),
    "imageServiceEndpoint": Used(text(_IMAGES)),
    "staticPodPath": Used(text("static_pods_dir"), default="/etc/kubeedge/manifests"),
    "podLogsDir": Used(text("pod_logs_dir")),
    "maxPods": Used(number("max_pods")),
    "clusterDNS": Used(texts("cluster_dns")),
    "clusterDomain": Used(text("cluster_domain")),
    "resolvConf": Used(text("resolv_conf")),
    "cgroupDriver": Used(text("cgroup_driver")),
    "evictionHard": Used(_amounts("eviction_hard", "<")),
    "evictionSoft": Used(_amounts("eviction_soft", "<")),
    "evictionSoftGracePeriod": Used(_amounts("eviction_soft_grace", "=")),
    "imageGCHighThresholdPercent": Used(number("image_gc_high_percent")),
    "imageGCLowThresholdPercent": Used(number("image_gc_low_percent")),
    "containerLogMaxSize": Used(_log_size),
    "containerLogMaxFiles": Used(number("container_log_max_files")),
    "serializeImagePulls": Used(_serialize),
    "maxParallelImagePulls": Used(number("parallel_pulls")),
    "registerWithTaints": Used(_taints),
    "registerNode": Unused((True,)),
    "syncFrequency": Unused(("1m",)),
    "registryPullQPS": Unused((5,)),
    "registryBurst": Unused((10,)),
    "eventRecordQPS": Unused((0, 50)),
    "eventBurst": Unused((0, 100)),
    "enableServer": Unused((True,)),
    "enableDebuggingHandlers": Unused((True,)),
    "enableContentionProfiling": _OFF,
    "oomScoreAdj": Unused((-999,)),
    "streamingConnectionIdleTimeout": Unused(("4h",)),
    "nodeStatusUpdateFrequency": Unused(("10s",)),
    "nodeStatusReportFrequency": Unused(("5m",)),
    "nodeLeaseDurationSeconds": Unused((40,)),
    "imageMinimumGCAge": Unused(("2m",)),
    "imageMaximumGCAge": Unused(("0s",)),
    "volumeStatsAggPeriod": Unused(("1m",)),
    "cgroupsPerQOS": Unused((True,)),
    "cpuManagerPolicy": Unused(("none",)),
    "cpuManagerReconcilePeriod": Unused(("10s",)),
    "memoryManagerPolicy": Unused(("None",)),
    "topologyManagerPolicy": Unused(("none",)),
    "topologyManagerScope": Unused(("container",)),
    "runtimeRequestTimeout": Unused(("2m",)),
    "hairpinMode": Unused(("promiscuous-bridge",)),
    "podPidsLimit": Unused((-1,)),
    "cpuCFSQuota": Unused((True,)),
    "cpuCFSQuotaPeriod": Unused(("100ms",)),
    "nodeStatusMaxImages": Unused((0, 50)),
    "maxOpenFiles": Unused((1000000,)),
    "contentType": Unused(("application/json",)),
    "evictionPressureTransitionPeriod": Unused(("5m",)),
    "evictionMaxPodGracePeriod": Unused((0,)),
    "podsPerCore": Unused((0,)),
    "enableControllerAttachDetach": Unused((True,)),
    "protectKernelDefaults": _OFF,
    "makeIPTablesUtilChains": Unused((True,)),
    "iptablesMasqueradeBit": Unused((14,)),
    "iptablesDropBit": Unused((15,)),
    "failSwapOn": _OFF,
    "containerLogMaxWorkers": Unused((1,)),
    "containerLogMonitorInterval": Unused(("10s",)),
    "configMapAndSecretChangeDetectionStrategy": Unused(("Get", "Watch")),
    "enforceNodeAllocatable": Unused((["pods"],)),
    "volumePluginDir": Unused(("/usr/libexec/kubernetes/kubelet-plugins/volume/exec/",)),
    "kernelMemcgNotification": _OFF,
    "logging": Quiet("--log-level and --log-format say how this daemon logs"),
    "enableSystemLogHandler": Unused((True,)),
    "enableSystemLogQuery": _OFF,
    "enableProfilingHandler": Unused((True,)),
    "enableDebugFlagsHandler": Unused((True,)),
    "shutdownGracePeriod": Unused(("0s",)),
    "shutdownGracePeriodCriticalPods": Unused(("0s",)),
    "seccompDefault": _OFF,
    "memoryThrottlingFactor": Unused((0.8, 0.9)),
    "localStorageCapacityIsolation": Unused((True,)),
}

TABLE: Final = Table(
    "edgecore.config.kubeedge.io/v1alpha2",
    "EdgeCore",
    {
        "database.driverName": Unused(("sqlite3",)),
        "database.aliasName": Quiet("a name within KubeEdge"),
        "database.dataSource": Used(text(_DATABASE), default=str(_USUAL.database)),
        "edgecoreVersion": Quiet("KubeEdge writes it"),
        "featureGates.requireAuthorization": Quiet(_ALWAYS),
        "featureGates.moduleRestart": _OFF,
        "featureGates.disableNodeTaskV1alpha2": _OFF,
        **{f"modules.edgeHub.{key}": rule for key, rule in _HUB.items()},
        **{f"modules.{key}": rule for key, rule in _OTHERS.items()},
        **{f"modules.edged.{key}": rule for key, rule in _EDGED.items()},
        **{f"{_KUBELET}.{key}": rule for key, rule in _KUBELET_RULES.items()},
    },
)
