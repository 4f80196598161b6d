"""The hub's certificate and plain join token, kept in Secrets that all cloudcores share.

In the namespace ``kubeedge``, under KubeEdge's names and keys, as DER: a cluster that had KubeEdge
keeps its edges. Whoever comes first creates a Secret, everybody else reads it. What has to be
renewed is replaced only as it was read, so that of many cloudcores that see the need at one moment
one does it, and the others take what that has made. ``authoritystore`` keeps the authority.

Source: KubeEdge cloud/pkg/cloudhub/servers/httpserver/pre_server.go.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from cloudcore.kube.client import KubeClient
from cloudcore.trust import keptsecrets, tokens
from cloudcore.trust.authorities import Authorities
from common import issuing, pki
from common.files import write_private

logger = logging.getLogger(__name__)

SERVER_SECRET: Final = "cloudcoresecret"  # noqa: S105 - the name of a Secret
TOKEN_SECRET: Final = "tokensecret"  # noqa: S105 - the name of a Secret

RENEW_WITHIN: Final = timedelta(days=60)
"""A server certificate that ends sooner than this is replaced."""

TOKEN_LASTS: Final = timedelta(hours=18)
"""A token that ends sooner than this is replaced. It is looked at every 12 hours, so the one that
is kept is good for some hours more, whoever looked last."""


async def load_server(
    client: KubeClient,
    authorities: Authorities,
    hosts: Sequence[str],
    now: datetime,
    dropped: frozenset[str] = frozenset(),
) -> tuple[x509.Certificate, pki.Key]:
    """Return a server certificate for all of ``hosts``, with its key; a new one where needed.

    Replicas with different hosts share one certificate that has them all.

    Args:
        client: of the API server.
        authorities: the newest one signs.
        hosts: names and addresses.
        now: judges how long the certificate is good.
        dropped: hosts that this replica has asked for before, and does not want any more. They go,
            unless another replica asks for them.

    Raises:
        RemoteError: the API server refuses, or is away.
        CertificateError: a host cannot stand in a certificate.
    """
    wanted = pki.canonical_hosts(hosts)
    unwanted = pki.canonical_hosts(dropped) - wanted
    for _ in range(keptsecrets.ATTEMPTS):
        kept = await keptsecrets.read(client, SERVER_SECRET)
        server = None if kept is None else _server_of(kept.data, authorities)
        known: frozenset[str] = frozenset()
        if server is not None:
            known = pki.server_hosts(server[0])
            is_lasting = server[0].not_valid_after_utc - now > RENEW_WITHIN
            is_newest = pki.has_signed(authorities.current.certificate, server[0])
            if is_lasting and is_newest and known >= wanted and not known & unwanted:
                return server
        key, named = pki.new_key(), sorted((wanted | known) - unwanted - {""})
        certificate = issuing.issue_server(authorities.current, key, named, now)
        data = {
            "cloudcoredata": certificate.public_bytes(Encoding.DER),
            "cloudcorekeydata": pki.key_to_der(key),
        }
        if await keptsecrets.write(client, SERVER_SECRET, data, kept):
            logger.info("server certificate made", extra={"hosts": ",".join(named)})
            return certificate, key
    raise keptsecrets.contended(SERVER_SECRET)


async def publish_token(client: KubeClient, authority: issuing.Authority, now: datetime) -> str:
    """Return the plain token that is kept where KubeEdge's tools look for it.

    A new one is made where there is none that is good for ``TOKEN_LASTS`` more. Tokens made before
    stay good until they expire.

    Raises:
        RemoteError: the API server refuses, or is away.
    """
    for _ in range(keptsecrets.ATTEMPTS):
        kept = await keptsecrets.read(client, TOKEN_SECRET)
        found = "" if kept is None else kept.data.get("tokendata", b"").decode(errors="replace")
        if _is_lasting(found, authority, now):
            return found
        token = tokens.new_token(authority, now)
        if await keptsecrets.write(client, TOKEN_SECRET, {"tokendata": token.encode()}, kept):
            return token
    raise keptsecrets.contended(TOKEN_SECRET)


def write_server_files(
    folder: Path, certificate: x509.Certificate, key: pki.Key, chain_pem: str = ""
) -> tuple[Path, Path]:
    """Write certificate and key where TLS can read them; return the two files.

    Args:
        folder: where they are to lie.
        certificate: the server's.
        key: its key.
        chain_pem: what is shown behind the certificate.

    Raises:
        OSError: the folder cannot be written.
    """
    cert_file, key_file = folder / "server.crt", folder / "server.key"
    write_private(key_file, pki.key_to_pem(key))
    shown = pki.cert_to_pem(certificate.public_bytes(Encoding.DER)) + chain_pem
    write_private(cert_file, shown.encode())
    return cert_file, key_file


def _server_of(
    data: Mapping[str, bytes], authorities: Authorities
) -> tuple[x509.Certificate, pki.Key] | None:
    """Return what the Secret holds, None where that is no certificate of an authority of ours."""
    try:
        certificate = pki.load_certificate(data["cloudcoredata"])
        key = pki.key_from_der(data["cloudcorekeydata"])
    except Exception as error:  # noqa: BLE001 - whatever is wrong with it, a new one is made
        logger.warning("server certificate cannot be used", extra={"error": type(error).__name__})
        return None
    if authorities.signer_of(certificate) is None or certificate.public_key() != key.public_key():
        return None
    return certificate, key


def _is_lasting(token: str, authority: issuing.Authority, now: datetime) -> bool:
    """Whether ``token`` is a plain one of ``authority`` and good for some time."""
    fingerprint, _, presented = token.partition(".")
    try:
        grant = tokens.check_token(authority, presented, now + TOKEN_LASTS)
    except tokens.TokenError:
        return False
    is_plain = grant.node is None and grant.name is None
    return is_plain and fingerprint == pki.fingerprint(authority.der)
