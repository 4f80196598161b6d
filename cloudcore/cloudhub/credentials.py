"""The hub's authority, certificate and join token, kept in Secrets that all cloudcores share.

In the namespace ``kubeedge``, under KubeEdge's names and keys, as DER: a cluster that had KubeEdge
keeps its edges. Whoever comes first creates a Secret, everybody else reads it: create-if-absent,
never overwrite an authority.

Source: KubeEdge cloud/pkg/cloudhub/servers/httpserver/pre_server.go.
"""

import base64
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from cloudcore.cloudhub import tokens
from cloudcore.kube import kinds
from cloudcore.kube.client import KubeClient
from common import pki
from common.errors import CertificateError, RemoteError
from common.files import write_private

logger = logging.getLogger(__name__)

NAMESPACE: Final = "kubeedge"
CA_SECRET: Final = "casecret"  # noqa: S105 - the name of a Secret
SERVER_SECRET: Final = "cloudcoresecret"  # noqa: S105 - the name of a Secret
TOKEN_SECRET: Final = "tokensecret"  # noqa: S105 - the name of a Secret

RENEW_WITHIN: Final = timedelta(days=60)
"""A server certificate that ends sooner than this is replaced."""


async def load_authority(client: KubeClient, now: datetime) -> pki.Authority:
    """Return the authority of this cluster, made now if there is none.

    Raises:
        RemoteError: the API server refuses, or is away.
        CertificateError: the Secret is there and cannot be used; it is never replaced.
    """
    found = await _read(client, CA_SECRET)
    if found is None:
        made = pki.new_authority(now)
        found = await _create_or_read(
            client, CA_SECRET, {"cadata": made.der, "cakeydata": pki.key_to_der(made.key)}
        )
    try:
        return pki.load_authority(found.get("cadata", b""), found.get("cakeydata", b""))
    except CertificateError as error:
        raise CertificateError(
            f"Secret {NAMESPACE}/{CA_SECRET} cannot be used ({error}): restore it, or delete it to"
            " begin with a new authority, which every edge has to join anew"
        ) from error


async def load_server(
    client: KubeClient, authority: pki.Authority, hosts: Sequence[str], now: datetime
) -> tuple[x509.Certificate, pki.Key]:
    """Return a server certificate for all of ``hosts``, with its key; a new one where needed.

    Replicas with different hosts share one certificate that has them all.

    Raises:
        RemoteError: the API server refuses, or is away.
        CertificateError: a host cannot stand in a certificate.
    """
    found = await _read(client, SERVER_SECRET)
    known: frozenset[str] = frozenset()
    if found is not None and (kept := _server_of(found, authority)) is not None:
        certificate, key = kept
        known = pki.server_hosts(certificate)
        is_lasting = certificate.not_valid_after_utc - now > RENEW_WITHIN
        if is_lasting and known >= pki.canonical_hosts(hosts):
            return certificate, key
    key = pki.new_key()
    wanted = sorted({*hosts, *known} - {""})
    certificate = pki.issue_server(authority, key, wanted, now)
    data = {
        "cloudcoredata": certificate.public_bytes(Encoding.DER),
        "cloudcorekeydata": pki.key_to_der(key),
    }
    await _put(client, SERVER_SECRET, data)
    logger.info("server certificate made", extra={"hosts": ",".join(wanted)})
    return certificate, key


async def publish_token(client: KubeClient, authority: pki.Authority, now: datetime) -> str:
    """Make a new plain token, keep it where KubeEdge's tools look for it, and return it.

    Tokens made before stay good until they expire.

    Raises:
        RemoteError: the API server refuses, or is away.
    """
    token = tokens.new_token(authority, now)
    await _put(client, TOKEN_SECRET, {"tokendata": token.encode()})
    return token


def write_server_files(
    folder: Path, certificate: x509.Certificate, key: pki.Key
) -> tuple[Path, Path]:
    """Write certificate and key where TLS can read them; return the two files.

    Raises:
        OSError: the folder cannot be written.
    """
    cert_file, key_file = folder / "server.crt", folder / "server.key"
    write_private(key_file, pki.key_to_pem(key))
    write_private(cert_file, pki.cert_to_pem(certificate.public_bytes(Encoding.DER)).encode())
    return cert_file, key_file


def _server_of(
    data: Mapping[str, bytes], authority: pki.Authority
) -> tuple[x509.Certificate, pki.Key] | None:
    """Return what the Secret holds, None where that is no certificate of ``authority``."""
    try:
        certificate = pki.load_certificate(data["cloudcoredata"])
        key = pki.key_from_der(data["cloudcorekeydata"])
        certificate.verify_directly_issued_by(authority.certificate)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with it, a new one is made
        logger.warning("server certificate cannot be used", extra={"error": type(error).__name__})
        return None
    return (certificate, key) if certificate.public_key() == key.public_key() else None


async def _read(client: KubeClient, name: str) -> dict[str, bytes] | None:
    body = await client.find(kinds.SECRETS.path(NAMESPACE, name))
    return None if body is None else _data_of(body)


async def _create_or_read(
    client: KubeClient, name: str, data: Mapping[str, bytes]
) -> dict[str, bytes]:
    """Create the Secret, or read the one that somebody else has created meanwhile."""
    await _ensure_namespace(client)
    try:
        return _data_of(await client.create(kinds.SECRETS.path(NAMESPACE), _secret(name, data)))
    except RemoteError as error:
        if not error.status.is_conflict:
            raise
    found = await _read(client, name)
    return found or {}


async def _put(client: KubeClient, name: str, data: Mapping[str, bytes]) -> None:
    """Create the Secret, or put ``data`` in place of what it has."""
    await _ensure_namespace(client)
    try:
        await client.create(kinds.SECRETS.path(NAMESPACE), _secret(name, data))
    except RemoteError as error:
        if not error.status.is_conflict:
            raise
        await client.update(kinds.SECRETS.path(NAMESPACE, name), _secret(name, data))


async def _ensure_namespace(client: KubeClient) -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    try:
        await client.create(kinds.NAMESPACES.path(), msgspec.json.encode(namespace))
    except RemoteError as error:
        if not error.status.is_conflict:
            raise


def _secret(name: str, data: Mapping[str, bytes]) -> bytes:
    return msgspec.json.encode(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "type": "Opaque",
            "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
        }
    )


def _data_of(body: bytes) -> dict[str, bytes]:
    # The API server takes nothing but base64 into a Secret.
    secret: dict[str, Any] = msgspec.json.decode(body)
    return {key: base64.b64decode(value) for key, value in (secret.get("data") or {}).items()}
