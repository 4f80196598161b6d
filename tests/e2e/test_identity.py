"""An edge keeps its identity: in time, after its end, with a clock that is off, by a new authority.

Real: control plane, cloudcore and edgecore as processes with their command lines, TLS, pods as
processes. Certificates with other dates are made by the cluster's own authority, as if time had
passed: the clock of this machine cannot be set for one process.
"""

import asyncio
import base64
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding

from common import issuing, pki, subjects
from common.clock import parse_rfc3339, rfc3339
from common.files import write_private
from common.names import NodeID
from deploy.devcluster.api import Api
from deploy.devcluster.daemons import CloudCore
from deploy.devcluster.site import Edge, is_ready, restarts, until
from edgecore.edgehub.certificates import ders_of, fingerprint
from tests.e2e.conftest import Join, pod

pytestmark = pytest.mark.timeout(180)

FOREVER = "while true; do sleep 0.1; done"
YEAR = timedelta(days=365)


async def authority_of(api: Api) -> issuing.Authority:
    secret = await api.get("/api/v1/namespaces/kubeedge/secrets/casecret")
    assert secret is not None
    data = {key: base64.b64decode(value) for key, value in secret["data"].items()}
    return issuing.load_authority(data["cadata"], data["cakeydata"])


def certificate_of(edge: Edge) -> x509.Certificate:
    return pki.load_certificate((_folder(edge) / f"{edge.daemon.node}.pem").read_bytes())


def _folder(edge: Edge) -> Path:
    return edge.daemon.data_dir / "pki"


async def give_certificate(api: Api, edge: Edge, made: datetime) -> int:
    """Put a certificate that was made then in place of the edge's; return its serial number."""
    key, node = pki.new_key(), NodeID(edge.daemon.node)
    issued = issuing.issue_node(await authority_of(api), subjects.new_csr(key, node), node, made)
    pem = pki.cert_to_pem(issued.der).encode() + pki.key_to_pem(key)
    write_private(_folder(edge) / f"{node}.pem", pem)
    return issued.serial


class Kept:
    """An edge with a pod, which has to live through whatever is done to the edge."""

    def __init__(self, api: Api, edge: Edge, namespace: str) -> None:
        self.api, self.edge = api, edge
        self._pods = f"/api/v1/namespaces/{namespace}/pods"
        self._processes: list[int] = []

    async def begin(self) -> None:
        await self.api.create(self._pods, pod("web", self.edge.daemon.node, script=FOREVER))
        await self.api.wait(f"{self._pods}/web", lambda p: p is not None and is_ready(p), "Ready")
        self._processes = self.edge.daemon.processes()
        assert self._processes

    async def is_untouched_and_connected(self) -> None:
        """Wait until a new pod has come down, and see that the old one was left alone."""
        await self.api.create(self._pods, pod("second", self.edge.daemon.node, script=FOREVER))
        await self.api.wait(
            f"{self._pods}/second", lambda p: p is not None and is_ready(p), "a new pod is Ready"
        )
        self.is_untouched()
        web = await self.api.get(f"{self._pods}/web")
        assert web is not None
        assert restarts(web) == 0

    def is_untouched(self) -> None:
        assert set(self._processes) <= set(self.edge.daemon.processes())


@pytest.fixture
async def kept(api: Api, join: Join, namespace: str) -> Kept:
    made = Kept(api, await join(), namespace)
    await made.begin()
    return made


def says(edge: Edge, words: str) -> bool:
    return words in edge.daemon.log.read_text()


@pytest.mark.parametrize("age", [0.9 * YEAR, 1.9 * YEAR])
async def test_a_certificate_is_renewed_in_time_and_after_its_end_without_a_token(
    api: Api, kept: Kept, age: timedelta
) -> None:
    """The second one is that of a node that was away for most of a year after its end."""
    edge = kept.edge
    await edge.daemon.stop()
    edge.daemon.data_dir.with_suffix(".token").write_text("")
    serial = await give_certificate(api, edge, datetime.now(UTC) - age)
    await edge.daemon.start()
    await until(lambda: certificate_of(edge).serial_number != serial, "it is renewed")
    assert certificate_of(edge).not_valid_after_utc > datetime.now(UTC) + 0.9 * YEAR
    assert (_folder(edge) / f"{edge.daemon.node}.pem").stat().st_mode & 0o777 == 0o600
    await kept.is_untouched_and_connected()


async def test_beyond_the_grace_it_is_told_what_to_do_and_the_pods_go_on(
    api: Api, cloud: CloudCore, kept: Kept
) -> None:
    edge = kept.edge
    await edge.daemon.stop()
    token_file = edge.daemon.data_dir.with_suffix(".token")
    token_file.write_text("")
    serial = await give_certificate(api, edge, datetime.now(UTC) - 2.1 * YEAR)
    await edge.daemon.start()
    await until(lambda: says(edge, "--renewal-grace-days"), "the log tells why")
    assert says(edge, f"cloudcore token create --node-name {edge.daemon.node}")
    kept.is_untouched()
    assert certificate_of(edge).serial_number == serial

    token_file.write_text(await cloud.token(edge.daemon.node))
    await until(lambda: certificate_of(edge).serial_number != serial, "the token enrols it")
    await kept.is_untouched_and_connected()


async def test_a_machine_whose_clock_is_two_years_behind_connects_to_its_cloud(
    api: Api, cloud: CloudCore, kept: Kept
) -> None:
    """To such a machine, the cloud's certificate is one from the future."""
    edge, path = kept.edge, "/api/v1/namespaces/kubeedge/secrets/cloudcoresecret"
    await edge.daemon.stop()
    await cloud.stop()
    secret = await api.get(path)
    assert secret is not None
    key, made = pki.new_key(), datetime.now(UTC) + 2 * YEAR
    hosts = pki.server_hosts(
        pki.load_certificate(base64.b64decode(secret["data"]["cloudcoredata"]))
    )
    certificate = issuing.issue_server(await authority_of(api), key, hosts, made)
    shown = {
        "cloudcoredata": certificate.public_bytes(Encoding.DER),
        "cloudcorekeydata": pki.key_to_der(key),
    }
    encoded = {name: base64.b64encode(value).decode() for name, value in shown.items()}
    await api.patch(path, {"data": encoded})
    try:
        await cloud.start()
        edge.daemon.data_dir.with_suffix(".token").write_text("")
        await edge.daemon.start()
        await kept.is_untouched_and_connected()
    finally:
        await api.delete(path)  # the next cloudcore makes another one


async def test_the_time_that_is_known_is_kept_and_a_cloud_from_before_it_is_told_off(
    kept: Kept,
) -> None:
    edge = kept.edge
    await edge.daemon.stop()
    known = edge.daemon.state("time")
    assert known is not None
    assert abs(parse_rfc3339(known) - datetime.now(UTC)) < timedelta(minutes=5)

    _set_time(edge, rfc3339(datetime.now(UTC) + 2 * YEAR))
    await edge.daemon.start()
    await until(
        lambda: says(edge, "the cloud's certificate has expired on"), "the log tells what is wrong"
    )
    assert says(edge, "by the time that the cloud itself told last")
    assert says(edge, "this machine's clock is 2.0 years behind")
    kept.is_untouched()
    await edge.daemon.stop()

    _set_time(edge, known)
    await edge.daemon.start()
    await kept.is_untouched_and_connected()


async def test_a_new_authority_is_followed_and_nobody_is_left_behind(
    api: Api, cloud: CloudCore, kept: Kept
) -> None:
    edge = kept.edge
    old = await authority_of(api)
    await cloud.command("ca", "rotate")
    new = await authority_of(api)
    assert new.der != old.der
    changed = "the authorities have changed"
    await until(lambda: changed in cloud.log.read_text(), "cloudcore signs by the new one")
    await edge.daemon.restart()  # else it asks within a day
    await until(lambda: _trusted(edge)[:1] == [new.der], "it trusts the new one")
    await until(lambda: _is_signed_by(edge, new), "and has a certificate by it")
    assert _trusted(edge) == [new.der, old.der]
    async with asyncio.timeout(60):
        while edge.daemon.node in await cloud.command("ca", "status"):  # noqa: ASYNC110 - a command
            await asyncio.sleep(0.5)
    await cloud.command("ca", "finish", "--force")  # other tests' edges are gone
    await cloud.restart()
    await kept.is_untouched_and_connected()
    await edge.daemon.restart()
    await until(lambda: says(edge, fingerprint(new.der)), "the log tells which one it is")


def _set_time(edge: Edge, moment: str) -> None:
    with closing(sqlite3.connect(edge.daemon.data_dir / "edge-store.db")) as store:
        store.execute("UPDATE state SET value = ? WHERE key = 'time'", (moment,))
        store.commit()


def _trusted(edge: Edge) -> list[bytes]:
    return ders_of((_folder(edge) / "ca.crt").read_text())


def _is_signed_by(edge: Edge, authority: issuing.Authority) -> bool:
    try:
        certificate_of(edge).verify_directly_issued_by(authority.certificate)
    except (ValueError, InvalidSignature):
        return False
    return True
