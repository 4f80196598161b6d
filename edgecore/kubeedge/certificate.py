"""The certificate that KubeEdge's edge has got, in the form in which our edge keeps its own."""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from msgspec import Struct

from common import pki, subjects
from common.errors import CertificateError
from common.files import write_private
from edgecore.edgehub.enrollconfig import EnrollConfig

_MAX_BYTES: Final = 256 * 1024


class Files(Struct, frozen=True):
    """Where KubeEdge keeps them."""

    certificate: Path
    key: Path
    authority: Path

    @property
    def all(self) -> tuple[Path, ...]:
        """The three."""
        return (self.certificate, self.key, self.authority)


@dataclass(frozen=True, slots=True)
class NodeCertificate:
    """A certificate that was checked: it is a node's, of this key, by this authority."""

    node: str
    authority_pem: bytes
    not_after: datetime
    node_pem: bytes = field(repr=False)
    """Certificate and key."""

    def differs_in(self, data_dir: Path) -> bool:
        """Whether an edge with this data folder has another certificate of this node."""
        kept = _config(self.node, data_dir).node_file
        return kept.exists() and kept.read_bytes() != self.node_pem

    def keep_in(self, data_dir: Path) -> None:
        """Write it where an edge with this data folder looks for its own.

        Raises:
            OSError: the folder cannot be written.
        """
        config = _config(self.node, data_dir)
        write_private(config.authority_file, self.authority_pem)
        write_private(config.node_file, self.node_pem)


def read_certificate(files: Files) -> NodeCertificate | None:
    """Return what KubeEdge's edge has got; None where there is no file at all.

    Raises:
        CertificateError: one of them is missing or damaged, or they do not belong together.
    """
    if not any(_exists(file) for file in files.all):
        return None
    certificate = _certificates(files.certificate)[0]
    authorities = _certificates(files.authority)
    try:
        key = pki.key_from_pem(_read(files.key))
    except CertificateError as error:
        raise CertificateError(f"{files.key}: {error}") from error
    node = subjects.node_of_certificate(certificate.public_bytes(Encoding.DER))
    if node is None:
        raise CertificateError(f"{files.certificate}: is not the certificate of a node")
    if certificate.public_key() != key.public_key():
        raise CertificateError(f"{files.certificate}: is not that of {files.key}")
    if not any(pki.has_signed(authority, certificate) for authority in authorities):
        raise CertificateError(f"{files.certificate}: was not signed by {files.authority}")
    pem = certificate.public_bytes(Encoding.PEM) + b"\n" + pki.key_to_pem(key)
    authority_pem = b"".join(one.public_bytes(Encoding.PEM) for one in authorities)
    return NodeCertificate(node, authority_pem, certificate.not_valid_after_utc, pem)


def _config(node: str, data_dir: Path) -> EnrollConfig:
    return EnrollConfig(node, "", 0, str(data_dir / "pki"))


def _certificates(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(_read(path))
    except ValueError as error:
        raise CertificateError(f"{path}: not a certificate: {error}") from error


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise CertificateError(f"{path}: cannot be read: {error.strerror}") from error


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(_MAX_BYTES)
    except OSError as error:
        raise CertificateError(f"{path}: cannot be read: {error.strerror}") from error
