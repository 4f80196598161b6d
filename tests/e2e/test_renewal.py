"""Certificates that have expired are renewed by the cloud for as long as it is told to.

Real: control plane, cloudcore as a process with its command line, TLS. The edge is a test double
that asks for a certificate as edgecore does.
"""

import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest

from common import issuing, pki, proof, subjects
from common.names import NodeID
from common.tls import client_context
from deploy.devcluster.api import Api
from deploy.devcluster.controlplane import ControlPlane
from deploy.devcluster.daemons import CloudCore
from deploy.devcluster.ports import LOOPBACK

ISSUED = "cloudcore_certificates_issued_total"
DAY = timedelta(days=1)


async def authority_of(api: Api) -> issuing.Authority:
    secret = await api.get("/api/v1/namespaces/kubeedge/secrets/casecret")
    assert secret is not None
    data = {key: base64.b64decode(value) for key, value in secret["data"].items()}
    return issuing.load_authority(data["cadata"], data["cakeydata"])


async def renew(
    cloud: CloudCore, authority: issuing.Authority, node: str, expired_for: timedelta
) -> tuple[int, bytes]:
    """Ask for a new certificate with one that has expired."""
    name, old, new = NodeID(node), pki.new_key(), pki.new_key()
    then = datetime.now(UTC) - expired_for - DAY
    issued = issuing.issue_node(authority, subjects.new_csr(old, name), name, then, DAY)
    csr = subjects.new_csr(new, name)
    headers = proof.renewal_headers(old, pki.load_certificate(issued.der), csr)
    async with (
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=client_context(authority.pem))
        ) as session,
        session.get(
            f"https://{LOOPBACK}:{cloud.https_port}/edge.crt",
            headers={"NodeName": node, **headers},
            data=csr,
        ) as response,
    ):
        return response.status, await response.read()


@pytest.mark.parametrize("grace_days", [0, 1, 365])
async def test_an_expired_certificate_is_renewed_for_as_many_days_as_cloudcore_is_told(
    api: Api, control_plane: ControlPlane, tmp_path: Path, grace_days: int
) -> None:
    node, options = f"away-{grace_days}", (f"--renewal-grace-days={grace_days}",)
    cloud = CloudCore(control_plane, tmp_path / "cloudcore", options=options)
    await cloud.start()
    try:
        await api.create("/api/v1/nodes", {"metadata": {"name": node}})
        authority, grace = await authority_of(api), timedelta(days=grace_days)
        status, text = await renew(cloud, authority, node, grace + timedelta(minutes=5))
        assert (status, b"--renewal-grace-days" in text) == (403, True)
        if grace_days:
            status, der = await renew(cloud, authority, node, grace - timedelta(minutes=5))
            assert (status, subjects.node_of_certificate(der)) == (200, node)
        assert await cloud.metric(ISSUED, by="proof") == min(grace_days, 1)
    finally:
        await api.delete(f"/api/v1/nodes/{node}")
        await cloud.stop()
