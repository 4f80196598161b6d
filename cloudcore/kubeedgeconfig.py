"""What becomes of each key of KubeEdge's cloudcore.yaml (v1alpha1). Pure.

Source: KubeEdge api/apis/componentconfig/cloudcore/v1alpha1, types.go and default.go.
"""

from typing import Final

from common.kubeedgeconfig import (
    Fixed,
    Missing,
    Quiet,
    Rule,
    Table,
    Unused,
    Used,
    number,
    text,
    texts,
)

_EVERYWHERE: Final = "0.0.0.0"  # noqa: S104 - where KubeEdge listens unless it is told
_ALWAYS: Final = "it is always so here"
_SIZES: Final = "sizes of queues and numbers of workers: there are none of these here"

_API: Final[dict[str, Rule]] = {
    "kubeAPIConfig.kubeConfig": Used(text("kubeconfig")),
    "kubeAPIConfig.master": Unused(),
    "kubeAPIConfig.contentType": Quiet("JSON is spoken"),
    "kubeAPIConfig.qps": Quiet("KubeEdge works it out from the number of nodes"),
    "kubeAPIConfig.burst": Quiet("KubeEdge works it out from the number of nodes"),
}

_COMMON: Final[dict[str, Rule]] = {
    "commonConfig.monitorServer.bindAddress": Used(text("monitor_address")),
    "commonConfig.monitorServer.enableProfiling": Unused((False,)),
    "commonConfig.tunnelPort": Quiet("found out anew by KubeEdge at each start, for cloudStream"),
    "featureGates.requireAuthorization": Quiet(_ALWAYS),
    "featureGates.moduleRestart": Unused((False,)),
    "featureGates.disableNodeTaskV1alpha2": Unused((False,)),
}

_HUB: Final[dict[str, Rule]] = {
    "enable": Fixed(value=True, why="without it there is no cloudcore"),
    "keepaliveInterval": Used(number("keepalive_s")),
    "nodeLimit": Used(number("node_limit")),
    "writeTimeout": Quiet("how long a peer may take is fixed"),
    "tlsCAFile": Unused(("/etc/kubeedge/ca/rootCA.crt",)),
    "tlsCAKeyFile": Unused(("/etc/kubeedge/ca/rootCA.key",)),
    "tlsCertFile": Unused(("/etc/kubeedge/certs/server.crt",)),
    "tlsPrivateKeyFile": Unused(("/etc/kubeedge/certs/server.key",)),
    "advertiseAddress": Used(texts("advertise_address")),
    "dnsNames": Used(texts("advertise_address")),
    "edgeCertSigningDuration": Used(number("certificate_days")),
    "tokenRefreshDuration": Unused((12,)),
    "authorization": Quiet(_ALWAYS),
    "quic": Missing("connections by QUIC"),
    "unixsocket": Missing("CSI drivers"),
    "websocket.enable": Fixed(value=True, why="edges connect by it"),
    "websocket.address": Used(text("websocket_address"), default=_EVERYWHERE),
    "websocket.port": Used(number("websocket_port")),
    "https.enable": Fixed(value=True, why="edges enrol and renew their certificates by it"),
    "https.address": Used(text("https_address"), default=_EVERYWHERE),
    "https.port": Used(number("https_port")),
}

_CONTROLLERS: Final[dict[str, Rule]] = {
    "edgeController.enable": Fixed(value=True, why="without it no pod gets to an edge"),
    "edgeController.nodeUpdateFrequency": Quiet("KubeEdge does not use it either"),
    "edgeController.buffer": Quiet(_SIZES),
    "edgeController.load": Quiet(_SIZES),
    "syncController.enable": Unused((True,)),
    "deviceController": Missing("devices"),
    "taskManager": Missing("node tasks"),
    "upgradeController": Missing("upgrades of nodes"),
    "nodeUpgradeJobController": Missing("upgrades of nodes"),
    "dynamicController": Missing("the API for programs at the edge"),
    "cloudStream": Missing("kubectl logs and exec"),
    "router": Missing("rules between cloud and edge"),
    "iptablesManager": Quiet("it serves cloudStream"),
}

TABLE: Final = Table(
    "cloudcore.config.kubeedge.io/v1alpha1",
    "CloudCore",
    {
        **_API,
        **_COMMON,
        **{f"modules.cloudHub.{key}": rule for key, rule in _HUB.items()},
        **{f"modules.{key}": rule for key, rule in _CONTROLLERS.items()},
    },
)
