"""Enrol a node: get its certificate for a join token. Also a program of its own.

``python -m edgecore.edgehub.enroll`` reads one ``Task`` as JSON from its standard input, carries it
out, and says what is wrong on its standard output. ``identity.py`` runs it like that, because the
cryptography that it needs would stay resident in a daemon that never needs it again.

The token is ``<SHA-256 of the authority's certificate>.<JWT>``. The first part tells whether the
authority that is downloaded, unverified, is the right one; everything after that is verified by it.

Source: KubeEdge edge/pkg/edgehub/certificate/certmanager.go.
"""

import hmac
import http.client
import ssl
import sys
import time
from datetime import datetime
from typing import Final

import msgspec

from common import pki
from common.errors import CertificateError, EdgeError, LinkError
from common.files import write_private
from common.names import NodeID
from common.tls import client_context, unverified_context
from edgecore.edgehub.enrollconfig import EnrollConfig, Exit, Task

MAX_ANSWER_BYTES: Final = 64 * 1024
"""A certificate has about one KiB."""

TIMEOUT_S: Final = 30.0
"""For one request, all of it."""

_TOKEN_PARTS: Final = 4  # the hash, and the three of a JWT
_MAX_WORDS: Final = 256


def carry_out(task: Task) -> str:
    """Do ``task``; return the fault that ``examine`` found, or "". Blocks.

    Raises:
        LinkError: the cloud cannot be reached, or refuses; the text says why.
        CertificateError: the token or what came back cannot be used.
    """
    if task.job == "examine":
        return examine(task.config, task.token, task.now)
    enroll(task.config, task.token)
    return ""


def enroll(config: EnrollConfig, token: str) -> None:
    """Get a certificate and keep it with its key and the authority's certificate.

    Raises:
        LinkError, CertificateError: see ``carry_out``; nothing was kept.
    """
    fingerprint, jwt = _split(token)
    authority = _get(config, "/ca.crt", unverified_context(), {})
    if not hmac.compare_digest(pki.fingerprint(authority), fingerprint):
        raise CertificateError(
            "the cloud's authority is not the one that the token was made by:"
            " a token of another cluster, or somebody in between"
        )
    authority_pem = pki.cert_to_pem(authority)
    key = pki.new_key()
    certificate = _get(
        config,
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
    write_private(config.authority_file, authority_pem.encode())
    pem = pki.cert_to_pem(certificate).encode() + b"\n" + pki.key_to_pem(key)
    write_private(config.node_file, pem)


def examine(config: EnrollConfig, token: str, now: datetime) -> str:
    """Return why the certificate that is kept cannot be used; "" if nothing speaks against it."""
    try:
        certificate = pki.load_certificate(config.node_file.read_bytes())
        authority = config.authority_file.read_text("ascii")
        client_context(authority, config.node_file)
        fingerprint = pki.fingerprint(ssl.PEM_cert_to_DER_cert(authority))
        is_of_token = not token or _split(token)[0] == fingerprint
    except (OSError, ValueError, CertificateError) as error:
        return str(error)
    if certificate.not_valid_after_utc < now:
        return f"it has expired on {certificate.not_valid_after_utc:%Y-%m-%d}"
    return "" if is_of_token else "the token was made by another authority"


def _get(
    config: EnrollConfig,
    path: str,
    tls: ssl.SSLContext,
    headers: dict[str, str],
    body: bytes | None = None,
) -> bytes:
    """Return the body of the answer; blocks for up to ``TIMEOUT_S``."""
    try:
        return _fetch(config.cloud, config.https_port, path, tls, headers, body)
    except ssl.SSLCertVerificationError as error:
        raise LinkError(
            f"enrolment at {config.cloud}:{config.https_port}:"
            f" the cloud's certificate is not accepted: {error.verify_message}"
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise LinkError(
            f"enrolment at {config.cloud}:{config.https_port}: {str(error) or type(error).__name__}"
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


def main() -> None:
    """Do the task on standard input."""
    task = msgspec.json.decode(sys.stdin.buffer.read(), type=Task)
    code = Exit.DONE
    try:
        words = carry_out(task)
    except CertificateError as error:
        words, code = str(error), Exit.CERTIFICATE
    except (EdgeError, OSError) as error:
        words, code = str(error), Exit.LINK
    sys.stdout.write(words)
    sys.exit(code)


if __name__ == "__main__":
    main()
