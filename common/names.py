"""The words of the domain, each spelled once.

The values are the wire's (KubeEdge
staging/src/github.com/kubeedge/beehive/pkg/core/model/message.go and common/constants/default.go),
so they may not be changed to taste.
"""

from enum import StrEnum
from typing import Final, NewType

NodeID = NewType("NodeID", str)
"""Name of the edge node, equal to its Node object's name and to the end of its certificate's CN."""

UID = NewType("UID", str)
"""``metadata.uid``: an object that is deleted and created again has another one."""


class ModuleName(StrEnum):
    """Modules of both daemons; the value is also their ``route.source`` on the wire."""

    CLOUD_HUB = "cloudhub"
    EDGE_CONTROLLER = "edgecontroller"
    EDGE_HUB = "websocket"
    META_MANAGER = "metamanager"
    EDGED = "edged"


class GroupName(StrEnum):
    """Module groups; on the wire the receiving daemon routes by them."""

    CLOUD_HUB = "cloudhub"
    EDGE_CONTROLLER = "edgecontroller"
    HUB = "hub"
    META = "meta"
    EDGED = "edged"
    RESOURCE = "resource"


class Operation(StrEnum):
    """Every verb that a KubeEdge peer may put on the wire; another one is refused by the codec."""

    INSERT = "insert"
    DELETE = "delete"
    UPDATE = "update"
    QUERY = "query"
    PATCH = "patch"
    RESPONSE = "response"
    ERROR = "error"
    UPLOAD = "upload"
    KEEPALIVE = "keepalive"
    CONNECT = "connect"
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    PUBLISH = "publish"
    SUBSCRIBE = "subscribe"
    UNSUBSCRIBE = "unsubscribe"
    START = "start"
    STOP = "stop"
    GET = "get"
    UPDATED = "updated"
    NULL = "null"
    APPLICATION_RESPONSE = "applicationResponse"
    UPDATE_NODE_ACTION_STATUS = "UpdateNodeActionStatus"
    UPGRADE = "upgrade"
    PREPULL = "prepull"
    UNHOLD_UPGRADE = "unhold-upgrade"


class ResourceType(StrEnum):
    """The ``<type>`` part of a resource for everything that this project acts on."""

    POD = "pod"
    POD_PATCH = "podpatch"
    POD_STATUS = "podstatus"
    NODE = "node"
    NODE_PATCH = "nodepatch"
    NODE_STATUS = "nodestatus"
    LEASE = "lease"
    EVENT = "event"
    CONFIGMAP = "configmap"
    SECRET = "secret"  # noqa: S105 - a resource type, not a password
    SERVICE = "service"
    SERVICE_ACCOUNT_TOKEN = "serviceaccounttoken"  # noqa: S105 - a resource type, not a password
    PERSISTENT_VOLUME = "persistentvolume"
    PERSISTENT_VOLUME_CLAIM = "persistentvolumeclaim"
    INVENTORY = "inventory"


class PeerProtocol(StrEnum):
    """What both ends of a connection speak; ``CLOUDEDGE_V1`` is also the WebSocket subprotocol."""

    KUBEEDGE = "kubeedge"
    CLOUDEDGE_V1 = "cloudedge.v1"


class LinkState(StrEnum):
    """``state`` in the content of a message about ``LINK_RESOURCE``."""

    CONNECTED = "cloud_connected"
    DISCONNECTED = "cloud_disconnected"


LINK_RESOURCE: Final = "node/connection"
"""What edgehub's ``connect`` messages are about, inside edgecore."""

PROGRESS_RESOURCE: Final = "node/progress"
"""What ``keepalive`` messages inside edgecore are about: whether the modules do their work."""

CLUSTER_HEADER: Final = "Cloudedge-Cluster"
"""Header of cloudcore's response to an edge that connects: the UID of the namespace kube-system,
by which clusters are told apart, whatever their names and addresses are."""

VERSION_HEADER: Final = "Cloudedge-Version"
"""Header of cloudcore's response to an edge that connects: its version, for people to compare."""

AUTHORITY_HEADER: Final = "Cloudedge-Authority"
"""Header of an edge that connects, and of cloudcore's response: SHA-256, in hex, of the certificate
of the newest authority that the edge trusts, and of the one that signs now."""

REFUSAL_HEADER: Final = "Cloudedge-Refusal"
"""Header of cloudcore's responses that refuse something: why, in a word for programs."""

REVOKED: Final = "revoked"
"""The word for a certificate that counts no more."""

CLUSTER_SCOPE: Final = "null"
"""The literal that stands for the namespace of cluster-scoped objects in a resource."""

K8S_CA_RESOURCE: Final = "k8s/ca.crt"
"""The one resource of another form: the certificate authority of the API server."""

NODE_LEASE_NAMESPACE: Final = "kube-node-lease"
EDGE_NODE_LABEL: Final = "node-role.kubernetes.io/edge"
AGENT_NODE_LABEL: Final = "node-role.kubernetes.io/agent"
NODES_GROUP: Final = "system:nodes"
NODE_USER_PREFIX: Final = "system:node:"


def node_user(node: NodeID) -> str:
    """Return the user name of ``node``, which is also the CN of its certificate.

    Source: https://kubernetes.io/docs/reference/access-authn-authz/node/
    """
    return f"{NODE_USER_PREFIX}{node}"
