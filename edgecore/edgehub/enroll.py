"""Enrol a node, and renew its certificate. Also a program of its own.

``python -m edgecore.edgehub.enroll`` reads one ``Task`` as JSON from its standard input, carries it
out, and says what is wrong on its standard output. ``identity.py`` runs it like that, because the
cryptography that it needs would stay resident in a daemon that needs it once a year.

The token is ``<SHA-256 of the authority's certificate>.<JWT>``. The first part tells whether the
authority that is downloaded, unverified, is the right one; everything after that is verified by it.

A certificate is renewed for a proof that its key is ours (``common.proof``), which also an expired
one gives. A cloud that knows no proofs, as KubeEdge's, is shown the certificate by TLS instead.

Source: KubeEdge edge/pkg/edgehub/certificate/certmanager.go.
"""

import hmac
import re
import sys
from datetime import datetime
from http import HTTPStatus
from typing import Final

import msgspec
from cryptography import x509

from common import pki, subjects
from common.errors import CertificateError, EdgeError, LinkError
from common.files import write_private
from common.names import AUTHORITY_HEADER, NodeID
from common.proof import renewal_headers
from common.tls import client_context, unverified_context
from edgecore.edgehub.certificates import ders_of
from edgecore.edgehub.enrollconfig import EnrollConfig, Exit, Job, RefusedError, Task
from edgecore.edgehub.fetch import Get, fetch

_TOKEN_PARTS: Final = 4  # the hash, and the three of a JWT
_KEY: Final = re.compile(b"-----BEGIN [A-Z ]*PRIVATE KEY-----.*", re.DOTALL)


def carry_out(task: Task) -> str:
    """Do ``task``; return the fault that ``examine`` found, or "". Blocks.

    Raises:
        LinkError: the cloud cannot be reached, or refuses (``RefusedError``); the text says why.
        CertificateError: the token or what came back cannot be used.
        OSError: a file cannot be read or written.
    """
    match task.job:
        case Job.EXAMINE:
            return examine(task.config, task.token, task.known)
        case Job.ENROLL:
            enroll(task)
        case Job.RENEW:
            renew(task)
        case Job.FOLLOW:
            follow(task)
    return ""


def enroll(task: Task) -> None:
    """Get a certificate for the token, and keep it with its key and the authority's certificate.

    Raises:
        LinkError, CertificateError: see ``carry_out``; nothing was kept.
    """
    config = task.config
    fingerprint, jwt = _split(task.token)
    authority = fetch(config, unverified_context(), Get("/ca.crt"), task.known)
    if not hmac.compare_digest(pki.fingerprint(authority), fingerprint):
        # The hash of an authority that another one follows gets that one, by a cloud that knows it.
        asked = Get(f"/ca.crt?fingerprint={fingerprint}")
        try:
            authority = fetch(config, unverified_context(), asked, task.known)
        except RefusedError:
            authority = b""
    if not hmac.compare_digest(pki.fingerprint(authority), fingerprint):
        raise CertificateError(
            "the cloud's authority is not the one that the token was made by:"
            " a token of another cluster, or somebody in between"
        )
    authority_pem = pki.cert_to_pem(authority)
    key = _joining_key(config)
    wanted = Get(
        "/edge.crt",
        {"Authorization": f"Bearer {jwt}", "NodeName": config.node_name},
        subjects.new_csr(key, NodeID(config.node_name)),
    )
    certificate = fetch(config, client_context(authority_pem), wanted, task.known)
    _require_ours(config, certificate, key)
    write_private(config.authority_file, authority_pem.encode())
    _keep(config, certificate, key)
    config.joining_file.unlink(missing_ok=True)


def renew(task: Task) -> None:
    """Get the authorities that the cloud trusts, and a new certificate; keep both.

    Raises:
        LinkError, CertificateError: see ``carry_out``; the old certificate was left as it was.
    """
    _renew(task, _update_trust(task))


def follow(task: Task) -> None:
    """Get the authorities that the cloud trusts; renew a certificate by any but the newest.

    Raises:
        LinkError, CertificateError: see ``carry_out``.
    """
    trusted = _update_trust(task)
    newest = pki.load_certificate(ders_of(trusted)[0])
    if not pki.has_signed(newest, _kept(task.config)[0]):
        _renew(task, trusted)


def examine(config: EnrollConfig, token: str, known: datetime | None) -> str:
    """Return why the certificate that is kept cannot be used; "" if nothing speaks against it."""
    try:
        certificate = _kept(config)[0]
        authorities = config.authority_file.read_text("ascii")
        client_context(authorities, config.node_file)
        trusted = [pki.fingerprint(der) for der in ders_of(authorities)]
        is_of_token = not token or _split(token)[0] in trusted
    except (OSError, ValueError, CertificateError) as error:
        return str(error)
    if known is not None and certificate.not_valid_after_utc < known:
        return f"it has expired on {certificate.not_valid_after_utc:%Y-%m-%d}"
    return "" if is_of_token else "the token was made by another authority"


def _renew(task: Task, trusted: str) -> None:
    config = task.config
    old, old_key = _kept(config)
    key = pki.new_key()
    csr = subjects.new_csr(key, NodeID(config.node_name))
    headers = {
        "NodeName": config.node_name,
        AUTHORITY_HEADER: pki.fingerprint(ders_of(trusted)[0]),
        **renewal_headers(old_key, old, csr),
    }
    try:
        certificate = fetch(
            config, client_context(trusted), Get("/edge.crt", headers, csr), task.known
        )
    except RefusedError as error:
        if error.status != HTTPStatus.UNAUTHORIZED:
            raise
        certificate = _renew_by_tls(task, trusted, csr, error)
    _require_ours(config, certificate, key)
    _keep(config, certificate, key)


def _renew_by_tls(task: Task, trusted: str, csr: bytes, refused: RefusedError) -> bytes:
    """Return what a cloud signs that knows no proofs; show it the old certificate.

    Raises:
        RefusedError: what the cloud has said to the proof, if it does not sign here either.
    """
    config = task.config
    wanted = Get("/edge.crt", {"NodeName": config.node_name}, csr)
    try:
        return fetch(config, client_context(trusted, config.node_file), wanted, task.known)
    except LinkError:
        raise refused from None


def _update_trust(task: Task) -> str:
    """Return the authorities that the cloud trusts, PEM, the newest first; keep them.

    They come over a connection that is verified by those that are trusted already. A cloud that
    tells none changes nothing.

    Raises:
        LinkError, CertificateError: one that the cloud signs by is not trusted yet, and cannot be
            had.
    """
    config, named = task.config, task.authority
    present = config.authority_file.read_text("ascii")
    if named and named == pki.fingerprint(ders_of(present)[0]):
        named = ""
    try:
        answer = fetch(config, client_context(present), Get("/ca.pem"), task.known)
        bundle = _ordered(answer, named)
    except (LinkError, CertificateError):
        if named:
            raise
        return present
    if bundle != present:
        write_private(config.authority_file, bundle.encode())
    return bundle


def _ordered(answer: bytes, named: str) -> str:
    """Return the authorities in ``answer``, that with the fingerprint ``named`` first.

    Raises:
        CertificateError: it is missing, or one cannot be used.
    """
    ders = ders_of(answer.decode("ascii", "replace"))
    if not ders:
        raise CertificateError("the cloud names no authority that it trusts")
    if named and named not in map(pki.fingerprint, ders):
        raise CertificateError(
            f"the cloud signs by an authority that is not among those that it trusts: {named}"
        )
    ders.sort(key=lambda der: pki.fingerprint(der) != named)  # which leaves the others in order
    for der in ders:
        _require_authority(pki.load_certificate(der))
    return "".join(pki.cert_to_pem(der) for der in ders)


def _require_authority(certificate: x509.Certificate) -> None:
    try:
        found = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        found = False
    if not found:
        raise CertificateError("the cloud names an authority that is none")


def _joining_key(config: EnrollConfig) -> pki.Key:
    """Return the key to enrol with: the same until it has succeeded, also after a crash.

    The cloud's answer may get lost. By then a token for one enrolment is used up, and the name is
    taken; whoever asks again with the same key gets its certificate all the same.
    """
    try:
        return pki.key_from_pem(config.joining_file.read_bytes())
    except (OSError, CertificateError):
        key = pki.new_key()
        write_private(config.joining_file, pki.key_to_pem(key))
        return key


def _require_ours(config: EnrollConfig, certificate: bytes, key: pki.Key) -> None:
    if subjects.node_of_certificate(certificate) != config.node_name:
        raise CertificateError("the cloud has signed the certificate of another node")
    if pki.load_certificate(certificate).public_key() != key.public_key():
        raise CertificateError("the cloud has signed another key")


def _keep(config: EnrollConfig, certificate: bytes, key: pki.Key) -> None:
    pem = pki.cert_to_pem(certificate).encode() + b"\n" + pki.key_to_pem(key)
    write_private(config.node_file, pem)


def _kept(config: EnrollConfig) -> tuple[x509.Certificate, pki.Key]:
    pem = config.node_file.read_bytes()
    found = _KEY.search(pem)
    return pki.load_certificate(pem), pki.key_from_pem(found[0] if found else b"")


def _split(token: str) -> tuple[str, str]:
    """Return the hash of the authority and the JWT.

    Raises:
        CertificateError: it is not a token.
    """
    if not token:
        raise CertificateError(
            "not enrolled yet: give --token-file, with what `cloudcore token create` prints"
        )
    parts = token.split(".")
    if len(parts) != _TOKEN_PARTS or not all(parts) or not token.isascii():
        raise CertificateError("the token is not one: it has four parts, with dots between")
    return parts[0].lower(), ".".join(parts[1:])


def main() -> None:
    """Do the task on standard input."""
    task = msgspec.json.decode(sys.stdin.buffer.read(), type=Task)
    code = Exit.DONE
    try:
        words = carry_out(task)
    except CertificateError as error:
        words, code = str(error), Exit.CERTIFICATE
    except RefusedError as error:
        words, code = str(error), Exit.REFUSED
    except (EdgeError, OSError) as error:
        words, code = str(error), Exit.LINK
    sys.stdout.write(words)
    sys.exit(code)


if __name__ == "__main__":
    main()
