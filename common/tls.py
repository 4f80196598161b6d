"""TLS as both daemons speak it: at least 1.2, authenticated ciphers only, no resumption.

Source: KubeEdge cloud/pkg/cloudhub/servers/server.go (createTLSConfig), whose edges these contexts
have to serve: ECDHE with ECDSA and AES-GCM or ChaCha20 in TLS 1.2, and TLS 1.3.
"""

import ssl
from pathlib import Path
from typing import Final

from common.errors import CertificateError

_TLS12_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
_NO_CHECK_TIME: Final = 0x200000  # X509_V_FLAG_NO_CHECK_TIME, which Python has no name for


def server_context(cert_file: Path, key_file: Path, *, client_ca_pem: str) -> ssl.SSLContext:
    """Return a context that serves only clients whose certificate ``client_ca_pem`` has signed.

    ``load_cert_chain`` of the returned context exchanges the certificate for later handshakes.

    Args:
        cert_file: PEM.
        key_file: PEM.
        client_ca_pem: the authority of client certificates. Set ``verify_mode`` of the result to
            ``CERT_OPTIONAL`` for a server that also takes clients without one.

    Raises:
        CertificateError: a file or the authority cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _restrict(context)
    context.options |= ssl.OP_NO_TICKET | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.num_tickets = 0  # a resumed session would outlive its certificate's revocation
    _load(context, cert_file, key_file, client_ca_pem)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(
    ca_pem: str, cert_file: Path | None = None, key_file: Path | None = None
) -> ssl.SSLContext:
    """Return a context that trusts ``ca_pem`` only, and checks the server's host name.

    Dates are not looked at: OpenSSL would judge them by this machine's clock, which may be decades
    off. Whoever uses the context judges the server's certificate by the time that is known.

    Args:
        ca_pem: the authorities of the server, one or several.
        cert_file: PEM, what the client shows; None before it has been enrolled.
        key_file: PEM.

    Raises:
        CertificateError: a file or the authority cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _restrict(context)
    context.verify_flags |= _NO_CHECK_TIME
    _load(context, cert_file, key_file, ca_pem)
    return context


def unverified_context() -> ssl.SSLContext:
    """Return a context that believes any server.

    For one thing only: downloading the authority's certificate, whose hash the token tells.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _restrict(context)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _restrict(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_TLS12_CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION


def _load(
    context: ssl.SSLContext, cert_file: Path | None, key_file: Path | None, ca_pem: str
) -> None:
    try:
        context.load_verify_locations(cadata=ca_pem)
        if cert_file is not None:
            context.load_cert_chain(cert_file, key_file)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        names = f" ({cert_file}, {key_file})" if cert_file else ""
        raise CertificateError(f"certificate or key cannot be used{names}: {error}") from error
