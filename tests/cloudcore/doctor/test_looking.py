"""A doctor looks at a cluster.

Real: the API server, TLS over loopback, what is in the Secrets. The server that shows a certificate
is one of the test's.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from cloudcore.doctor.looking import Place, look
from cloudcore.kube.client import KubeClient
from cloudcore.trust import authoritystore
from common import issuing, pki
from common.checks import Finding, Verdict
from deploy.devcluster.ports import LOOPBACK, free_ports
from tests.cloudcore.cluster import body

NOWHERE = Place((), 10000, 10002)

pytestmark = pytest.mark.e2e


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


@pytest.fixture
async def authority(client: KubeClient) -> issuing.Authority:
    """As a cloudcore has made it that was started before."""
    return (await authoritystore.load_authorities(client, datetime.now(UTC))).current


@asynccontextmanager
async def server(authority: issuing.Authority, host: str, folder: Path) -> AsyncIterator[int]:
    """Show a certificate for ``host``; yield the port."""
    key = pki.new_key()
    certificate = issuing.issue_server(authority, key, [host], datetime.now(UTC))
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(certificate.public_bytes(Encoding.PEM))
    key_file.write_bytes(pki.key_to_pem(key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert_file, key_file)

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    running = await asyncio.start_server(hang_up, LOOPBACK, 0, ssl=context)
    async with running:
        yield running.sockets[0].getsockname()[1]


async def test_a_sound_cluster_has_nothing_that_fails(
    client: KubeClient, authority: issuing.Authority, tmp_path: Path
) -> None:
    async with server(authority, LOOPBACK, tmp_path) as port:
        findings = await look(client, Place((LOOPBACK,), port, port))
    found = by_name(findings)
    assert [one for one in findings if one.verdict is Verdict.FAIL] == []
    for name in ("api-server", "clock", "rights", "authority", "websocket-port", "https-port"):
        assert found[name].verdict is Verdict.OK, found[name]
    assert found[f"certificate-of {LOOPBACK}"].verdict is Verdict.OK
    assert {"kubeedge-crds", "node-certificates", "node-versions", "cloud-daemonsets"} <= set(found)
    assert findings[-1].name == "open-files"


async def test_a_certificate_for_another_address_or_of_another_authority_fails(
    client: KubeClient, authority: issuing.Authority, tmp_path: Path
) -> None:
    async with server(authority, "192.0.2.1", tmp_path) as port:
        found = by_name(await look(client, Place((LOOPBACK,), port, port)))
    assert "but for 192.0.2.1" in found[f"certificate-of {LOOPBACK}"].found
    stranger = issuing.new_authority(datetime.now(UTC))
    async with server(stranger, LOOPBACK, tmp_path) as port:
        found = by_name(await look(client, Place((LOOPBACK,), port, port)))
    assert "none of this cluster's" in found[f"certificate-of {LOOPBACK}"].found


async def test_what_is_not_reached_is_told_with_its_address(client: KubeClient) -> None:
    closed, other = free_ports(2)
    found = by_name(await look(client, Place((LOOPBACK,), closed, other)))
    assert found["websocket-port"].verdict is Verdict.FAIL
    assert f"{LOOPBACK}:{other}" in found["https-port"].found
    assert f"certificate-of {LOOPBACK}" not in found
    assert by_name(await look(client, NOWHERE))["https-port"].verdict is Verdict.WARN


async def test_an_api_server_that_is_away_leaves_the_rest_to_be_looked_at(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    kubeconfig = tmp_path / "kubeconfig"
    config = {
        "clusters": [{"name": "c", "cluster": {"server": f"http://{LOOPBACK}:{port}"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {}}],
        "current-context": "c",
    }
    kubeconfig.write_bytes(body(config))
    async with KubeClient(kubeconfig) as client:
        findings = await look(client, NOWHERE)
    assert [finding.name for finding in findings] == ["api-server", "https-port", "open-files"]
    assert findings[0].verdict is Verdict.FAIL
    assert str(port) in findings[0].found
