"""The node's identity: its key and certificate, got once for a join token and kept.

The token is ``<SHA-256 of the authority's certificate>.<JWT>``. The first part tells whether the
authority that is downloaded, unverified, is the right one; everything after that is verified by it.

Source: KubeEdge edge/pkg/edgehub/certificate/certmanager.go.
"""

import asyncio
import hmac
import http.client
import logging
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from common.clock import Clock
from common.errors import CertificateError, LinkError
from common.files import write_private
from common.names import NodeID
from common.tls import client_context, unverified_context

logger = logging.getLogger(__name__)

MAX_ANSWER_BYTES: Final = 64 * 1024
"""A certificate has about one KiB."""

TIMEOUT_S: Final = 30.0
"""For one request, all of it."""

_TOKEN_PARTS: Final = 4  # the hash, and the three of a JWT
_MAX_WORDS: Final = 256


@dataclass(frozen=True, slots=True)
class EnrollConfig:
    """Who enrols where."""

    node_name: str
    cloud: str
    https_port: int
    folder: Path
    """Where the key and the certificates are kept, readable by this user only."""


class Identity:
    """The certificate of a node; enrols the node when it is first asked for."""

    def __init__(self, config: EnrollConfig, token: Callable[[], str], clock: Clock) -> None:
        """Keep the identity in ``config.folder``.

        Args:
            config: who enrols where.
            token: returns the join token, or "" where there is none; called only to enrol.
            clock: judges whether a certificate has expired.
        """
        self._config, self._token, self._clock = config, token, clock
        self._told_fault = ""
        self._authority_file = config.folder / "ca.crt"
        # Key and certificate in one file: never one without the other. Named by the node, so that
        # an edge with another name does not show it.
        self._node_file = config.folder / f"{config.node_name}.pem"

    async def tls(self) -> ssl.SSLContext:
        """Return a context that shows the node's certificate; enrol if there is none yet.

        Raises:
            LinkError: the cloud cannot be reached, or refuses; the text says why.
            CertificateError: the token or what came back cannot be used.
        """
        if not (self._authority_file.exists() and self._node_file.exists()):
            await asyncio.to_thread(self._enroll)
        return client_context(self._authority_file.read_text("ascii"), self._node_file)

    async def doubt(self) -> None:
        """Look at the certificate, after TLS failed over one: forget it if it is of no use.

        It is forgotten only where a token can replace it.
        """
        if not self._node_file.exists():
            return
        fault = await asyncio.to_thread(self._fault)
        if fault and self._token():
            logger.warning("the certificate is replaced by means of the token: %s", fault)
            self._node_file.unlink(missing_ok=True)
        elif fault and fault != self._told_fault:
            logger.warning("the certificate is of no use: %s; give a new token", fault)
        self._told_fault = fault

    def _fault(self) -> str:
        """Return why the certificate cannot be used; "" where nothing speaks against it."""
        from common import pki  # noqa: PLC0415 - 8 MiB that a node with a certificate does without

        try:
            certificate = pki.load_certificate(self._node_file.read_bytes())
            client_context(self._authority_file.read_text("ascii"), self._node_file)
            authority = ssl.PEM_cert_to_DER_cert(self._authority_file.read_text("ascii"))
            is_of_token = not self._token() or _split(self._token())[0] == pki.fingerprint(
                authority
            )
        except (OSError, ValueError, CertificateError) as error:
            return str(error)
        if certificate.not_valid_after_utc < self._clock.now():
            return f"it has expired on {certificate.not_valid_after_utc:%Y-%m-%d}"
        return "" if is_of_token else "the token was made by another authority"

    def _enroll(self) -> None:
        from common import pki  # noqa: PLC0415 - as above

        config = self._config
        fingerprint, jwt = _split(self._token())
        authority = self._get("/ca.crt", unverified_context(), {})
        if not hmac.compare_digest(pki.fingerprint(authority), fingerprint):
            raise CertificateError(
                "the cloud's authority is not the one that the token was made by:"
                " a token of another cluster, or somebody in between"
            )
        authority_pem = pki.cert_to_pem(authority)
        key = pki.new_key()
        certificate = self._get(
            "/edge.crt",
            client_context(authority_pem),
            {"Authorization": f"Bearer {jwt}", "NodeName": config.node_name},
            pki.new_csr(key, NodeID(config.node_name)),
        )
        loaded = pki.load_certificate(certificate)
        if pki.node_of_certificate(certificate) != config.node_name:
            raise CertificateError("the cloud has signed the certificate of another node")
        if loaded.public_key() != key.public_key():
            raise CertificateError("the cloud has signed another key")
        write_private(self._authority_file, authority_pem.encode())
        pem = pki.cert_to_pem(certificate).encode() + b"\n" + pki.key_to_pem(key)
        write_private(self._node_file, pem)
        logger.info(
            "enrolled",
            extra={
                "node": config.node_name,
                "valid_until": loaded.not_valid_after_utc.isoformat(),
            },
        )

    def _get(
        self, path: str, tls: ssl.SSLContext, headers: dict[str, str], body: bytes | None = None
    ) -> bytes:
        """Return the body of the answer; blocks for up to ``TIMEOUT_S``."""
        config = self._config
        try:
            return _fetch(config.cloud, config.https_port, path, tls, headers, body)
        except ssl.SSLCertVerificationError as error:
            raise LinkError(
                f"enrolment at {config.cloud}:{config.https_port}:"
                f" the cloud's certificate is not accepted: {error.verify_message}"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise LinkError(
                f"enrolment at {config.cloud}:{config.https_port}:"
                f" {str(error) or type(error).__name__}"
            ) from error


def _split(token: str) -> tuple[str, str]:
    """Return the hash of the authority and the JWT.

    Raises:
        CertificateError: it is not a token.
    """
    if not token:
        raise CertificateError(
            "not enrolled yet: give --token or --token-file, as printed by `cloudcore token create`"
        )
    parts = token.split(".")
    if len(parts) != _TOKEN_PARTS or not all(parts) or not token.isascii():
        raise CertificateError("the token is not one: it has four parts, with dots between")
    return parts[0].lower(), ".".join(parts[1:])


def _fetch(
    host: str,
    port: int,
    path: str,
    tls: ssl.SSLContext,
    headers: dict[str, str],
    body: bytes | None,
) -> bytes:
    """GET ``path``, with a body: that is how KubeEdge's cloud wants it."""
    deadline_s = time.monotonic() + TIMEOUT_S
    connection = http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=tls)
    try:
        connection.request("GET", path, body=body, headers=headers)
        response = connection.getresponse()
        content = b""
        while chunk := response.read1(8192):
            content += chunk
            if len(content) > MAX_ANSWER_BYTES or time.monotonic() > deadline_s:
                raise OSError(f"the answer to {path} is too long or too slow")
        if response.status != http.client.OK:
            words = content.decode(errors="replace").strip()[:_MAX_WORDS]
            raise OSError(f"{path}: {response.status} {words or response.reason}")
        return content
    finally:
        connection.close()
