"""The credentials of a control plane, written to disk for real."""

import ssl
import stat
from pathlib import Path

import pytest
import yaml
from cryptography import x509

from deploy.devcluster import credentials


@pytest.fixture
def made(tmp_path: Path) -> credentials.Credentials:
    return credentials.load_or_create(tmp_path / "pki")


def test_the_server_certificate_is_signed_by_the_ca_and_names_loopback(
    made: credentials.Credentials,
) -> None:
    ca = x509.load_pem_x509_certificate(made.ca_cert.read_bytes())
    server = x509.load_pem_x509_certificate(made.server_cert.read_bytes())
    server.verify_directly_issued_by(ca)
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    assert "127.0.0.1" in addresses


def test_the_server_certificate_belongs_to_the_server_key(made: credentials.Credentials) -> None:
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(made.server_cert, made.server_key)


def test_only_the_owner_can_read_keys_and_tokens(made: credentials.Credentials) -> None:
    private = [made.ca_key, made.server_key, made.service_account_key, made.token_file]
    assert {stat.S_IMODE(path.stat().st_mode) for path in private} == {0o600}


def test_every_user_has_a_token_of_its_own_and_only_the_admin_is_a_master(
    made: credentials.Credentials,
) -> None:
    lines = made.token_file.read_text().splitlines()
    assert len(set(made.tokens.values())) == len(made.tokens) == len(lines) == 3
    assert [line for line in lines if "system:masters" in line] == [
        f'{made.tokens["admin"]},admin,admin,"system:masters"'
    ]


def test_a_folder_used_before_keeps_its_credentials(made: credentials.Credentials) -> None:
    ca = made.ca_cert.read_bytes()
    again = credentials.load_or_create(made.folder)
    assert again == made
    assert again.ca_cert.read_bytes() == ca


def test_a_kubeconfig_says_where_and_who(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    credentials.write_kubeconfig(
        path, server="https://127.0.0.1:1", ca_file=tmp_path / "ca.crt", user="u", token="t"
    )
    config = yaml.safe_load(path.read_text())
    assert config["clusters"][0]["cluster"] == {
        "server": "https://127.0.0.1:1",
        "certificate-authority": str(tmp_path / "ca.crt"),
    }
    assert config["users"][0]["user"] == {"token": "t"}
    assert config["current-context"] == config["contexts"][0]["name"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
