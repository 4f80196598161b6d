"""The hub's authority, certificate and join token, kept in Secrets that all cloudcores share.

In the namespace ``kubeedge``, under KubeEdge's names and keys, as DER: a cluster that had KubeEdge
keeps its edges. Whoever comes first creates a Secret, everybody else reads it: create-if-absent,
never overwrite an authority. What has to be renewed is replaced only as it was read, so that of
many cloudcores that see the need at one moment one does it, and the others take what that has made.

Source: KubeEdge cloud/pkg/cloudhub/servers/httpserver/pre_server.go.
"""

import base64
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from common.status import failure

logger = logging.getLogger(__name__)

NAMESPACE: Final = "kubeedge"
CA_SECRET: Final = "casecret"  # noqa: S105 - the name of a Secret
SERVER_SECRET: Final = "cloudcoresecret"  # noqa: S105 - the name of a Secret
TOKEN_SECRET: Final = "tokensecret"  # noqa: S105 - the name of a Secret

RENEW_WITHIN: Final = timedelta(days=60)
"""A server certificate that ends sooner than this is replaced."""

TOKEN_LASTS: Final = timedelta(hours=18)
"""A token that ends sooner than this is replaced. It is looked at every 12 hours, so the one that
is kept is good for some hours more, whoever looked last."""

_ATTEMPTS: Final = 8


@dataclass(frozen=True, slots=True)
class _Kept:
    """What a Secret holds, and the version that holds it."""

    data: dict[str, bytes]
    version: str


async def load_authority(client: KubeClient, now: datetime) -> pki.Authority:
    """Return the authority of this cluster, made now if there is none.

    Raises:
        RemoteError: the API server refuses, or is away.
        CertificateError: the Secret is there and cannot be used; it is never replaced.
    """
    kept = await _read(client, CA_SECRET)
    if kept is None:
        made = pki.new_authority(now)
        data = {"cadata": made.der, "cakeydata": pki.key_to_der(made.key)}
        await _write(client, CA_SECRET, data, None)
        kept = await _read(client, CA_SECRET)  # whoever has made it
    found = {} if kept is None else kept.data
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
    for _ in range(_ATTEMPTS):
        kept = await _read(client, SERVER_SECRET)
        server = None if kept is None else _server_of(kept.data, authority)
        known: frozenset[str] = frozenset()
        if server is not None:
            known = pki.server_hosts(server[0])
            is_lasting = server[0].not_valid_after_utc - now > RENEW_WITHIN
            if is_lasting and known >= pki.canonical_hosts(hosts):
                return server
        key = pki.new_key()
        wanted = sorted({*hosts, *known} - {""})
        certificate = pki.issue_server(authority, key, wanted, now)
        data = {
            "cloudcoredata": certificate.public_bytes(Encoding.DER),
            "cloudcorekeydata": pki.key_to_der(key),
        }
        if await _write(client, SERVER_SECRET, data, kept):
            logger.info("server certificate made", extra={"hosts": ",".join(wanted)})
            return certificate, key
    raise _contended(SERVER_SECRET)


async def publish_token(client: KubeClient, authority: pki.Authority, now: datetime) -> str:
    """Return the plain token that is kept where KubeEdge's tools look for it.

    A new one is made where there is none that is good for ``TOKEN_LASTS`` more. Tokens made before
    stay good until they expire.

    Raises:
        RemoteError: the API server refuses, or is away.
    """
    for _ in range(_ATTEMPTS):
        kept = await _read(client, TOKEN_SECRET)
        found = "" if kept is None else kept.data.get("tokendata", b"").decode(errors="replace")
        if _is_lasting(found, authority, now):
            return found
        token = tokens.new_token(authority, now)
        if await _write(client, TOKEN_SECRET, {"tokendata": token.encode()}, kept):
            return token
    raise _contended(TOKEN_SECRET)


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


def _is_lasting(token: str, authority: pki.Authority, now: datetime) -> bool:
    """Whether ``token`` is a plain one of ``authority`` and good for some time."""
    fingerprint, _, presented = token.partition(".")
    try:
        grant = tokens.check_token(authority, presented, now + TOKEN_LASTS)
    except tokens.TokenError:
        return False
    return grant.node is None and fingerprint == pki.fingerprint(authority.der)


async def _read(client: KubeClient, name: str) -> _Kept | None:
    body = await client.find(kinds.SECRETS.path(NAMESPACE, name))
    if body is None:
        return None
    # The API server takes nothing but base64 into a Secret.
    secret: dict[str, Any] = msgspec.json.decode(body)
    data = {key: base64.b64decode(value) for key, value in (secret.get("data") or {}).items()}
    return _Kept(data, secret["metadata"]["resourceVersion"])


async def _write(
    client: KubeClient, name: str, data: Mapping[str, bytes], kept: _Kept | None
) -> bool:
    """Put ``data`` in place of what was ``kept``; return False where that is not there any more."""
    try:
        if kept is None:
            await _ensure_namespace(client)
            await client.create(kinds.SECRETS.path(NAMESPACE), _secret(name, data, ""))
        else:
            path = kinds.SECRETS.path(NAMESPACE, name)
            await client.update(path, _secret(name, data, kept.version))
    except RemoteError as error:
        is_gone = kept is not None and error.status.is_not_found
        if not error.status.is_conflict and not is_gone:
            raise
        return False
    return True


def _contended(name: str) -> RemoteError:
    return RemoteError(failure(409, f"Secret {NAMESPACE}/{name} is written by others all the time"))


async def _ensure_namespace(client: KubeClient) -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    try:
        await client.create(kinds.NAMESPACES.path(), msgspec.json.encode(namespace))
    except RemoteError as error:
        if not error.status.is_conflict:
            raise


def _secret(name: str, data: Mapping[str, bytes], version: str) -> bytes:
    return msgspec.json.encode(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": NAMESPACE, "resourceVersion": version},
            "type": "Opaque",
            "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
        }
    )
