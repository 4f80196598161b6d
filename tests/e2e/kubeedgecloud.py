"""What KubeEdge's cloudcore leaves in a cluster, made as its own code makes it.

The authority, certificates and token differ in what KubeEdge's do: keys as SEC1, no identifiers of
keys, an empty name beside the addresses of the server, a subject with the country in it.
"""

import base64
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Final

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from deploy.devcluster.api import Api, Object
from deploy.devcluster.ports import LOOPBACK

SECRETS: Final = "/api/v1/namespaces/kubeedge/secrets"
OBJECTSYNCS: Final = "/apis/reliablesyncs.kubeedge.io/v1alpha1/namespaces/default/objectsyncs"
KINDS: Final = (
    ("reliablesyncs.kubeedge.io", "v1alpha1", "ObjectSync", "objectsyncs", "Namespaced"),
    ("reliablesyncs.kubeedge.io", "v1alpha1", "ClusterObjectSync", "clusterobjectsyncs", "Cluster"),
    ("devices.kubeedge.io", "v1beta1", "Device", "devices", "Namespaced"),
    ("devices.kubeedge.io", "v1beta1", "DeviceModel", "devicemodels", "Namespaced"),
    ("rules.kubeedge.io", "v1", "Rule", "rules", "Namespaced"),
    ("rules.kubeedge.io", "v1", "RuleEndpoint", "ruleendpoints", "Namespaced"),
    ("operations.kubeedge.io", "v1alpha2", "NodeUpgradeJob", "nodeupgradejobs", "Cluster"),
)
_CRDS: Final = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_der(self) -> bytes:
        return self._key(Encoding.DER)

    @property
    def key_pem(self) -> bytes:
        return self._key(Encoding.PEM)

    def _key(self, encoding: Encoding) -> bytes:
        return self.key.private_bytes(encoding, PrivateFormat.TraditionalOpenSSL, NoEncryption())


@dataclass(frozen=True, slots=True)
class KubeEdgeCloud:
    """A KubeEdge cloud that was stopped: its authority, its server's certificate, its token."""

    authority: Pair
    server: Pair
    token: str

    def node(self, name: str) -> Pair:
        """Return what the edge ``name`` has got of it; "" for one of KubeEdge before 1.16."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(node_subject(name), key, self.authority.certificate.subject, 365)
        builder = builder.add_extension(_usage(signs=False), critical=True).add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        return Pair(builder.sign(self.authority.key, hashes.SHA256()), key)


def node_subject(name: str) -> x509.Name:
    """Return the subject that KubeEdge's edge asks for; "" for one of KubeEdge before 1.16."""
    organization = "system:nodes" if name else "KubeEdge"
    return _name(
        (NameOID.COUNTRY_NAME, "CN"),
        (NameOID.STATE_OR_PROVINCE_NAME, "Zhejiang"),
        (NameOID.LOCALITY_NAME, "Hangzhou"),
        (NameOID.ORGANIZATION_NAME, organization),
        (NameOID.COMMON_NAME, f"system:node:{name}" if name else "kubeedge.io"),
    )


def make_cloud() -> KubeEdgeCloud:
    """Return a cloud with an authority of its own."""
    authority = _authority()
    claims = {"exp": datetime.now(UTC) + timedelta(hours=24)}
    token = jwt.encode(claims, authority.key_der, algorithm="HS256")
    hashed = hashlib.sha256(authority.der).hexdigest()
    return KubeEdgeCloud(authority, _server(authority), f"{hashed}.{token}")


async def leave(api: Api, cloud: KubeEdgeCloud) -> None:
    """Put into the cluster what ``cloud`` had there."""
    await api.create("/api/v1/namespaces", {"metadata": {"name": "kubeedge"}})
    secrets = {
        "casecret": {"cadata": cloud.authority.der, "cakeydata": cloud.authority.key_der},
        "cloudcoresecret": {
            "cloudcoredata": cloud.server.der,
            "cloudcorekeydata": cloud.server.key_der,
        },
        "tokensecret": {"tokendata": cloud.token.encode()},
    }
    for name, data in secrets.items():
        encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
        await api.create(SECRETS, {"metadata": {"name": name}, "data": encoded})
    for kind in KINDS:
        crd = _crd(*kind)
        await api.create(_CRDS, crd)
        await api.wait(
            f"{_CRDS}/{crd['metadata']['name']}",
            lambda found: found is not None and _is_established(found),
            "the kind is served",
        )


async def leave_node(api: Api, name: str) -> None:
    """Put a Node that is Ready into the cluster, with its lease, as KubeEdge's edge has it."""
    now = datetime.now(UTC)
    labels = {"node-role.kubernetes.io/agent": "", "node-role.kubernetes.io/edge": ""}
    conditions = [
        {
            "type": "Ready",
            "status": "True",
            "reason": "EdgeReady",
            "message": "edge is posting ready status",
            "lastHeartbeatTime": f"{now:%Y-%m-%dT%H:%M:%SZ}",
            "lastTransitionTime": f"{now:%Y-%m-%dT%H:%M:%SZ}",
        }
    ]
    await api.create("/api/v1/nodes", {"metadata": {"name": name, "labels": labels}})
    await api.patch(f"/api/v1/nodes/{name}/status", {"status": {"conditions": conditions}})
    spec = {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": renew_time()}
    leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
    await api.create(leases, {"metadata": {"name": name}, "spec": spec})


async def leave_pod(api: Api, name: str, node: str) -> Object:
    """Put a pod that runs on ``node`` into the cluster; return it."""
    pods = "/api/v1/namespaces/default/pods"
    account = "/api/v1/namespaces/default/serviceaccounts/default"
    await api.wait(account, lambda found: found is not None, "there is a service account")
    container = {"name": "c", "image": "busybox", "command": ["/bin/sleep", "1000000"]}
    spec = {
        "nodeName": node,
        "automountServiceAccountToken": False,
        "containers": [container],
    }
    await api.create(pods, {"metadata": {"name": name}, "spec": spec})
    started = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    status = {
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": started}],
        "containerStatuses": [
            {
                "name": "c",
                "image": "busybox",
                "imageID": "sha256:0",
                "containerID": "containerd://0",
                "ready": True,
                "restartCount": 0,
                "state": {"running": {"startedAt": started}},
            }
        ],
    }
    return await api.patch(f"{pods}/{name}/status", {"status": status})


def renew_time() -> str:
    """Return now, as a lease has it."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"


def _authority() -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name((NameOID.COMMON_NAME, "KubeEdge"))
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    builder = (
        _builder(name, key, name, 100 * 364, serial=1024)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    return Pair(builder.sign(key, hashes.SHA256()), key)


def _server(authority: Pair) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name((NameOID.ORGANIZATION_NAME, "KubeEdge"), (NameOID.COMMON_NAME, "KubeEdge"))
    hosts = [x509.DNSName(""), x509.IPAddress(ip_address(LOOPBACK))]
    builder = (
        _builder(name, key, authority.certificate.subject, 365)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(hosts), critical=False)
    )
    return Pair(builder.sign(authority.key, hashes.SHA256()), key)


def _builder(
    subject: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    days: int,
    *,
    serial: int | None = None,
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(serial or x509.random_serial_number() >> 97)
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(days=days))
    )


def _name(*attributes: tuple[x509.ObjectIdentifier, str]) -> x509.Name:
    return x509.Name([x509.NameAttribute(oid, text) for oid, text in attributes])


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_encipherment=True,
        key_cert_sign=signs,
        crl_sign=False,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _crd(group: str, version: str, kind: str, plural: str, scope: str) -> Object:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": scope,
            "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }


def _is_established(crd: Object) -> bool:
    conditions = crd.get("status", {}).get("conditions") or []
    return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)
