"""Enrolment against a real HTTPS server on loopback; what it signs is up to the test."""

import socket
import ssl
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from common import pki
from common.errors import CertificateError, LinkError
from common.tls import client_context
from edgecore.edgehub import enroll
from edgecore.edgehub.enrollconfig import EnrollConfig, Task
from tests.edgecore.cloud import HOST, JWT, Peer, TestCloud

NOW = datetime.now(UTC)


async def nobody(_: Peer) -> None:
    return None


@pytest.fixture
async def config(cloud: TestCloud, tmp_path: Path) -> AsyncIterator[EnrollConfig]:
    async with cloud.listening(nobody):
        yield EnrollConfig("n1", HOST, cloud.https_port, str(tmp_path / "pki"))


async def test_a_token_gets_a_certificate_that_only_this_user_may_read(
    cloud: TestCloud, config: EnrollConfig
) -> None:
    enroll.enroll(config, cloud.token)
    assert cloud.enrolments == ["n1"]
    certificate = pki.load_certificate(config.node_file.read_bytes())
    assert certificate.subject.rfc4514_string() == "CN=system:node:n1,O=system:nodes"
    assert config.authority_file.read_text() == cloud.authority.pem
    client_context(cloud.authority.pem, config.node_file)
    assert config.node_file.stat().st_mode & 0o777 == 0o600
    assert Path(config.folder).stat().st_mode & 0o777 == 0o700


async def test_a_cloud_that_is_not_the_tokens_is_not_trusted(
    cloud: TestCloud, config: EnrollConfig
) -> None:
    foreign = pki.new_authority(NOW)
    with pytest.raises(CertificateError, match="somebody in between"):
        enroll.enroll(config, f"{pki.fingerprint(foreign.der)}.{JWT}")
    assert cloud.enrolments == []
    assert not config.node_file.exists()


@pytest.mark.parametrize("token", ["", "abc", "a.b.c", "a.b.c.d.e", "a..c.d", "ä.b.c.d"])
async def test_what_is_no_token_is_refused_with_a_hint(config: EnrollConfig, token: str) -> None:
    with pytest.raises(CertificateError, match=r"--token|four parts"):
        enroll.enroll(config, token)


async def test_the_clouds_refusal_is_told_in_its_words(
    cloud: TestCloud, config: EnrollConfig
) -> None:
    fingerprint = cloud.token.split(".")[0]
    with pytest.raises(LinkError, match="401 token is not valid"):
        enroll.enroll(config, f"{fingerprint}.x.y.z")
    cloud.enrolment_status = 500
    with pytest.raises(LinkError, match="500 not today"):
        enroll.enroll(config, cloud.token)


async def test_a_certificate_for_another_is_not_accepted(
    cloud: TestCloud, config: EnrollConfig
) -> None:
    cloud.issue_for = "n2"
    with pytest.raises(CertificateError, match="another node"):
        enroll.enroll(config, cloud.token)
    cloud.issue_for = "n1"
    with pytest.raises(CertificateError, match="another key"):
        enroll.enroll(config, cloud.token)
    assert not config.node_file.exists()


async def test_a_cloud_that_is_reached_by_another_name_is_not_trusted(
    cloud: TestCloud, config: EnrollConfig
) -> None:
    other = EnrollConfig("n1", "localhost", config.https_port, config.folder)
    with pytest.raises(LinkError, match="not accepted"):
        enroll.enroll(other, cloud.token)


def test_a_cloud_that_is_away_is_a_link_error(tmp_path: Path) -> None:
    with socket.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]
    config = EnrollConfig("n1", HOST, port, str(tmp_path))
    with pytest.raises(LinkError, match="refused"):
        enroll.enroll(config, f"a.{JWT}")


def test_an_answer_without_an_end_is_cut_off(cloud: TestCloud, tmp_path: Path) -> None:
    context = cloud.tls()
    context.verify_mode = ssl.CERT_NONE
    with socket.create_server((HOST, 0)) as server:

        def flood() -> None:
            plain, _ = server.accept()
            with context.wrap_socket(plain, server_side=True) as connection:
                connection.recv(9999)
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                try:
                    while True:
                        connection.sendall(bytes(8192))
                except OSError:
                    return

        thread = threading.Thread(target=flood)
        thread.start()
        config = EnrollConfig("n1", HOST, server.getsockname()[1], str(tmp_path))
        with pytest.raises(LinkError, match="too long or too slow"):
            enroll.enroll(config, cloud.token)
        thread.join()


async def test_a_certificate_is_examined(cloud: TestCloud, config: EnrollConfig) -> None:
    assert "No such file" in enroll.examine(config, "", NOW)
    enroll.enroll(config, cloud.token)
    assert enroll.examine(config, cloud.token, NOW) == ""
    assert enroll.examine(config, "", NOW) == ""
    assert "expired" in enroll.examine(config, "", NOW + timedelta(days=400))
    assert "another authority" in enroll.examine(config, f"{'0' * 64}.{JWT}", NOW)
    assert "four parts" in enroll.examine(config, "broken", NOW)
    config.node_file.write_text("nothing")
    assert "not a certificate" in enroll.examine(config, "", NOW)


async def test_a_task_names_the_job(cloud: TestCloud, config: EnrollConfig) -> None:
    assert enroll.carry_out(Task("enroll", config, cloud.token, NOW)) == ""
    late = NOW + timedelta(days=400)
    assert "expired" in enroll.carry_out(Task("examine", config, cloud.token, late))
