"""Requests to a real HTTPS server on loopback, whose certificate has dates of all kinds."""

import socket
import ssl
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from common import issuing
from common.errors import LinkError
from common.tls import client_context, unverified_context
from deploy.devcluster.ports import free_ports
from edgecore.edgehub.enrollconfig import EnrollConfig, RefusedError
from edgecore.edgehub.fetch import Get, fetch
from tests.edgecore.cloud import HOST, Peer, TestCloud

NOW = datetime.now(UTC)
YEAR = timedelta(days=365)


async def nobody(_: Peer) -> None:
    return None


@asynccontextmanager
async def at(cloud: TestCloud, host: str = HOST) -> AsyncIterator[EnrollConfig]:
    async with cloud.listening(nobody):
        yield EnrollConfig("n1", host, cloud.https_port, "/nonexistent")


async def test_an_answer_is_returned_and_a_refusal_told_with_its_status(cloud: TestCloud) -> None:
    tls = client_context(cloud.authority.pem)
    async with at(cloud) as config:
        assert fetch(config, tls, Get("/ca.crt"), None) == cloud.authority.der
        with pytest.raises(RefusedError, match="/nothing: 404 no such thing") as caught:
            fetch(config, tls, Get("/nothing"), NOW)
    assert caught.value.status == 404
    assert f"{HOST}:{config.https_port}" in str(caught.value)


async def test_a_machine_whose_clock_is_off_by_years_reaches_its_cloud(cloud: TestCloud) -> None:
    """As seen from this machine, whose clock cannot be set here, the cloud's is off."""
    for made in (NOW + 2 * YEAR, NOW - 2 * YEAR):
        cloud.show(made)
        async with at(cloud) as config:
            tls = client_context(cloud.authority.pem)
            assert fetch(config, tls, Get("/ca.crt"), made + timedelta(days=1))
            assert fetch(config, tls, Get("/ca.crt"), None)
            with pytest.raises(LinkError, match="the cloud's certificate has expired on"):
                fetch(config, tls, Get("/ca.crt"), made + 2 * YEAR)


async def test_an_expired_cloud_gets_no_token_whoever_it_is(cloud: TestCloud) -> None:
    async with at(cloud) as config:
        token = Get("/edge.crt", {"Authorization": "Bearer secret", "NodeName": "n1"})
        with pytest.raises(LinkError, match="has expired"):
            fetch(config, unverified_context(), token, NOW + 2 * YEAR)
    assert cloud.enrolments == []


async def test_a_cloud_of_another_name_or_authority_is_not_trusted(cloud: TestCloud) -> None:
    foreign = client_context(issuing.new_authority(NOW).pem)
    async with at(cloud) as config:
        with pytest.raises(LinkError, match="the cloud's certificate is not accepted"):
            fetch(config, foreign, Get("/ca.crt"), None)
    async with at(cloud, "localhost") as config:
        with pytest.raises(LinkError, match="not accepted: Hostname mismatch"):
            fetch(config, client_context(cloud.authority.pem), Get("/ca.crt"), None)


def test_a_cloud_that_is_away_is_a_link_error(cloud: TestCloud) -> None:
    [port] = free_ports(1)
    config = EnrollConfig("n1", HOST, port, "/nonexistent")
    with pytest.raises(LinkError, match="refused"):
        fetch(config, client_context(cloud.authority.pem), Get("/ca.crt"), None)


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

        thread = threading.Thread(target=flood, daemon=True)
        thread.start()
        config = EnrollConfig("n1", HOST, server.getsockname()[1], str(tmp_path))
        with pytest.raises(LinkError, match="too long or too slow"):
            fetch(config, unverified_context(), Get("/ca.crt"), None)
        thread.join()
