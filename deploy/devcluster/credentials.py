"""The keys, certificates and tokens of one control plane."""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import yaml
from cryptography.hazmat.primitives import serialization

from common import issuing, pki
from common.files import write_private
from deploy.devcluster.ports import LOOPBACK

ADMIN: Final = "admin"
CONTROLLER_MANAGER_USER: Final = "system:kube-controller-manager"
SCHEDULER_USER: Final = "system:kube-scheduler"
_MASTERS: Final = "system:masters"
# The second address is that of the service `kubernetes` in the service range.
_SERVER_HOSTS: Final = (LOOPBACK, "10.0.0.1", "localhost", "kubernetes.default.svc")


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
    write_private(made.service_account_key, pki.key_to_pem(pki.new_key()))
    tokens = {
        user: secrets.token_urlsafe(32) for user in (ADMIN, CONTROLLER_MANAGER_USER, SCHEDULER_USER)
    }
    groups = {ADMIN: _MASTERS}
    write_private(
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
    write_private(path, yaml.safe_dump(config, sort_keys=False).encode())


def _write_certificates(where: Credentials) -> None:
    now = datetime.now(UTC)
    authority = issuing.new_authority(now)
    server_key = pki.new_key()
    server = issuing.issue_server(authority, server_key, _SERVER_HOSTS, now)
    where.ca_cert.write_text(authority.pem)
    where.server_cert.write_bytes(server.public_bytes(serialization.Encoding.PEM))
    write_private(where.ca_key, pki.key_to_pem(authority.key))
    write_private(where.server_key, pki.key_to_pem(server_key))
