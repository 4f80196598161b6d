"""The keys, certificates and tokens of one control plane."""

import datetime
import ipaddress
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from deploy.devcluster.ports import LOOPBACK

ADMIN: Final = "admin"
CONTROLLER_MANAGER_USER: Final = "system:kube-controller-manager"
SCHEDULER_USER: Final = "system:kube-scheduler"
_MASTERS: Final = "system:masters"
_LIFETIME: Final = datetime.timedelta(days=3650)
_BACKDATED: Final = datetime.timedelta(hours=1)
_SERVER_NAMES: Final = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
# The second address is that of the service `kubernetes` in the service range.
_SERVER_ADDRESSES: Final = (LOOPBACK, "10.0.0.1")
_PRIVATE: Final = 0o600


@dataclass(frozen=True, slots=True)
class Credentials:
    """Where the credentials lie, and who may use which token."""

    folder: Path
    tokens: dict[str, str]

    @property
    def ca_cert(self) -> Path:
        """Signs the servers' certificates, and those of clients."""
        return self.folder / "ca.crt"

    @property
    def ca_key(self) -> Path:
        """The key of ``ca_cert``."""
        return self.folder / "ca.key"

    @property
    def server_cert(self) -> Path:
        """What every server on loopback shows."""
        return self.folder / "server.crt"

    @property
    def server_key(self) -> Path:
        """The key of ``server_cert``."""
        return self.folder / "server.key"

    @property
    def service_account_key(self) -> Path:
        """Signs service account tokens."""
        return self.folder / "sa.key"

    @property
    def token_file(self) -> Path:
        """``tokens`` in the form of the API server's ``--token-auth-file``."""
        return self.folder / "tokens.csv"


def load_or_create(folder: Path) -> Credentials:
    """The credentials in ``folder``; new ones where there are none yet."""
    made = Credentials(folder, {})
    if made.token_file.exists():
        rows = (line.split(",") for line in made.token_file.read_text().splitlines())
        return Credentials(folder, {user: token for token, user, *_ in rows})
    folder.mkdir(parents=True, exist_ok=True)
    _write_certificates(made)
    _write_private_key(made.service_account_key, ec.generate_private_key(ec.SECP256R1()))
    tokens = {
        user: secrets.token_urlsafe(32) for user in (ADMIN, CONTROLLER_MANAGER_USER, SCHEDULER_USER)
    }
    groups = {ADMIN: _MASTERS}
    _write_private(
        made.token_file,
        "".join(f'{tokens[u]},{u},{u},"{groups.get(u, "")}"\n' for u in tokens).encode(),
    )
    return Credentials(folder, tokens)


def write_kubeconfig(path: Path, *, server: str, ca_file: Path, user: str, token: str) -> None:
    """Write a kubeconfig with one cluster, one user that shows ``token``, and one context."""
    name = "devcluster"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": name, "cluster": {"server": server, "certificate-authority": str(ca_file)}}
        ],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": user}}],
        "current-context": name,
    }
    _write_private(path, yaml.safe_dump(config, sort_keys=False).encode())


def _write_certificates(where: Credentials) -> None:
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = _name("devcluster-ca")
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    ca_cert = (
        _builder(ca_name, ca_key, issuer=ca_name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_key_usage(ca=True), critical=True)
        .add_extension(authority, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    server_key = ec.generate_private_key(ec.SECP256R1())
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in _SERVER_NAMES]
    names += [x509.IPAddress(ipaddress.ip_address(address)) for address in _SERVER_ADDRESSES]
    server_cert = (
        _builder(_name("kube-apiserver"), server_key, issuer=ca_name)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(ca=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(authority, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    where.ca_cert.write_bytes(ca_cert.public_bytes(serialization.Encoding.PEM))
    where.server_cert.write_bytes(server_cert.public_bytes(serialization.Encoding.PEM))
    _write_private_key(where.ca_key, ca_key)
    _write_private_key(where.server_key, server_key)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(
    subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, issuer: x509.Name
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _write_private_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        # The controller manager reads no PKCS#8 key for signing certificates.
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    _write_private(path, pem)


def _write_private(path: Path, content: bytes) -> None:
    path.touch(mode=_PRIVATE)
    path.write_bytes(content)
