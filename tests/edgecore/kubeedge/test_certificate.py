"""The certificate of KubeEdge's edge: real keys and certificates in real files."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from msgspec.structs import replace

from common import issuing, pki
from common.errors import CertificateError
from common.tls import client_context
from edgecore.kubeedge.certificate import Files, read_certificate
from tests.edgecore.kubeedge.kubeedge import NODE, make_certificate, no_certificate

NOW = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return make_certificate(tmp_path / "kubeedge", NOW)


def test_a_certificate_is_kept_where_and_as_an_edge_wants_it(files: Files, tmp_path: Path) -> None:
    found = read_certificate(files)
    assert found is not None
    assert (found.node, found.not_after) == (NODE, NOW + issuing.NODE_LIFETIME)
    assert not found.differs_in(tmp_path)
    found.keep_in(tmp_path)
    assert not found.differs_in(tmp_path)
    node_file, authority_file = tmp_path / "pki" / f"{NODE}.pem", tmp_path / "pki" / "ca.crt"
    client_context(authority_file.read_text(), node_file)
    assert node_file.stat().st_mode & 0o777 == 0o600
    other = read_certificate(make_certificate(tmp_path / "other", NOW))
    assert other is not None
    assert other.differs_in(tmp_path)


def test_no_files_are_no_certificate(tmp_path: Path) -> None:
    assert read_certificate(no_certificate(tmp_path)) is None


def test_the_key_is_in_no_repr(files: Files) -> None:
    assert "PRIVATE" not in repr(read_certificate(files))


def test_a_key_in_another_form_is_taken(files: Files) -> None:
    key = pki.key_from_pem(files.key.read_bytes())
    files.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    found = read_certificate(files)
    assert found is not None
    assert b"EC PRIVATE KEY" in found.node_pem


def test_several_authorities_are_kept(files: Files) -> None:
    mine = files.authority.read_bytes()
    files.authority.write_bytes(issuing.new_authority(NOW).pem.encode() + b"\n" + mine)
    found = read_certificate(files)
    assert found is not None
    assert found.authority_pem.count(b"BEGIN CERTIFICATE") == 2


def test_files_that_do_not_belong_together_are_refused(files: Files, tmp_path: Path) -> None:
    other = make_certificate(tmp_path / "other", NOW)
    with pytest.raises(CertificateError, match="is not that of"):
        read_certificate(replace(files, key=other.key))
    with pytest.raises(CertificateError, match="was not signed by"):
        read_certificate(replace(files, authority=other.authority))
    with pytest.raises(CertificateError, match="is not the certificate of a node"):
        read_certificate(replace(files, certificate=files.authority))


@pytest.mark.parametrize("part", ["certificate", "key", "authority"])
def test_a_part_that_is_missing_or_damaged_is_named(files: Files, part: str) -> None:
    path: Path = getattr(files, part)
    path.write_bytes(b"nonsense")
    with pytest.raises(CertificateError, match=f"{path.name}: not a"):
        read_certificate(files)
    path.unlink()
    with pytest.raises(CertificateError, match=f"{path.name}: cannot be read: No such file"):
        read_certificate(files)


def test_a_key_that_is_not_on_a_curve_is_refused(files: Files) -> None:
    key = rsa.generate_private_key(65537, 2048)
    files.key.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    )
    with pytest.raises(CertificateError, match="not an EC private key"):
        read_certificate(files)


def test_files_that_cannot_be_looked_for_are_said(files: Files, tmp_path: Path) -> None:
    far = tmp_path / ("x" * 300) / "server.crt"
    with pytest.raises(CertificateError, match="cannot be read"):
        read_certificate(replace(files, certificate=far))
