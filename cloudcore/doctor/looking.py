"""Looks at a cluster and at its cloudcores, from where the doctor runs; ``verdicts`` judges.

Nothing is changed. What cannot be looked at becomes a finding of its own, and the rest is looked at
all the same.
"""

import asyncio
import resource
import ssl
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from importlib.metadata import version as installed
from typing import Any, Final

import msgspec
from msgspec import Struct

from cloudcore.commands.nodes import see_nodes
from cloudcore.doctor import verdicts
from cloudcore.doctor.rights import IMPERSONATION, REVIEWS, RIGHTS
from cloudcore.kube import kinds
from cloudcore.kube.client import KubeClient
from cloudcore.trust import authoritystore
from cloudcore.trust.authorities import Authorities
from common import pki, tls
from common.checks import Finding, Verdict
from common.errors import CertificateError, EdgeError

CONNECT_S: Final = 5.0
"""For one connection with its handshake."""

_CRDS: Final = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_SELF: Final = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
_KUBEEDGE: Final = "kubeedge.io"


class Place(Struct, frozen=True):
    """How edges reach cloudcore."""

    addresses: tuple[str, ...]
    websocket_port: int
    https_port: int


async def look(client: KubeClient, place: Place) -> list[Finding]:
    """Return what there is to say, in the order in which things depend on each other.

    Raises:
        ConfigError: never; credentials were read before.

    Cancellation: ends it; nothing is left behind.
    """
    findings: list[Finding] = []
    try:
        api = _version_in(await client.get("/version"))
    except EdgeError as error:
        fix = "is the address in the kubeconfig right, and does the API server run?"
        findings.append(Finding("api-server", Verdict.FAIL, f"{client.server}: {error}", fix))
        findings += await _addresses(place, None, datetime.now(UTC))
        return [*findings, _descriptors()]
    findings.append(verdicts.api_version(api))
    findings += await _attempted("clock", lambda: _clock(client))
    findings += await _attempted("rights", lambda: _rights(client))
    findings += await _attempted("kubeedge-crds", lambda: _crds(client))
    try:
        authorities = await authoritystore.find_authorities(client)
    except EdgeError as error:
        fix = "restore the Secret kubeedge/casecret, and see that you may read it"
        findings.append(Finding("authority", Verdict.FAIL, str(error), fix))
        authorities = None
    else:
        findings += verdicts.authority(authorities, datetime.now(UTC))
    findings += await _addresses(place, authorities, datetime.now(UTC))
    findings += await _attempted("nodes", lambda: _nodes(client, api))
    return [*findings, _descriptors()]


async def _attempted(name: str, work: Callable[[], Awaitable[list[Finding]]]) -> list[Finding]:
    try:
        return await work()
    except EdgeError as error:
        return [verdicts.unknown(name, str(error))]


def _version_in(body: bytes) -> str:
    return str(msgspec.json.decode(body, type=dict[str, Any]).get("gitVersion", ""))


async def _clock(client: KubeClient) -> list[Finding]:
    begun = datetime.now(UTC)
    there = await client.server_time()
    here = datetime.now(UTC)
    return [verdicts.clock(here, there, here - begun)]


async def _rights(client: KubeClient) -> list[Finding]:
    reviewed = await client.create(
        _SELF, b'{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}'
    )
    who = msgspec.json.decode(reviewed)["status"]["userInfo"].get("username", "who asks")
    asked = (*RIGHTS, *IMPERSONATION)
    missing = []
    for right in asked:
        answer = await client.create(REVIEWS, msgspec.json.encode(right.review()))
        if not msgspec.json.decode(answer)["status"]["allowed"]:
            missing.append(str(right))
    return [verdicts.rights(who, missing, len(asked))]


async def _crds(client: KubeClient) -> list[Finding]:
    found = [crd["metadata"]["name"] async for crd in client.items(_CRDS)]
    return [verdicts.kubeedge(sorted(name for name in found if name.endswith(_KUBEEDGE)))]


async def _nodes(client: KubeClient, api: str) -> list[Finding]:
    seen = await see_nodes(client)
    edges = frozenset(state.node for state in seen.states)
    found = [
        verdicts.node_certificates(seen.states, seen.now),
        verdicts.node_versions(seen.states, api, installed("cloudedge")),
    ]
    found += [verdicts.unknown("node-certificates", fault) for fault in seen.faults]
    pods = [pod async for pod in client.items(kinds.PODS.path())] if edges else []
    return [*found, verdicts.cloud_pods(pods, edges)]


async def _addresses(place: Place, authorities: Authorities | None, now: datetime) -> list[Finding]:
    if not place.addresses:
        fix = "--advertise-address ADDRESS, as edges use it"
        found = "not looked at: no address was given"
        return [Finding("https-port", Verdict.WARN, found, fix)]
    return [
        finding for one in place.addresses for finding in await _at(one, place, authorities, now)
    ]


async def _at(
    address: str, place: Place, authorities: Authorities | None, now: datetime
) -> Iterable[Finding]:
    found = []
    shown = b""
    for number, what in ((place.websocket_port, "websocket"), (place.https_port, "https")):
        fault = ""
        try:
            shown = await _certificate_at(address, number)
        except (OSError, TimeoutError) as error:
            fault = str(error) or f"nobody answers within {CONNECT_S:g} s"
        found.append(verdicts.port(address, number, what, fault))
    if not shown:
        return found
    try:
        return [*found, _certificate(address, shown, authorities, now)]
    except CertificateError as error:
        fix = "does something else than cloudcore answer there?"
        return [*found, Finding(f"certificate-of {address}", Verdict.FAIL, str(error), fix)]


def _certificate(
    address: str, der: bytes, authorities: Authorities | None, now: datetime
) -> Finding:
    certificate = pki.load_certificate(der)
    (host,) = pki.canonical_hosts([address])
    return verdicts.server_certificate(
        host,
        pki.server_hosts(certificate),
        certificate.not_valid_after_utc,
        now,
        is_signed=authorities is None or authorities.signer_of(certificate) is not None,
    )


async def _certificate_at(address: str, number: int) -> bytes:
    """Return the certificate that is shown there; whether it is good is judged by the caller.

    A server that wants a certificate from us too has shown its own by then.
    """
    context = tls.unverified_context()
    async with asyncio.timeout(CONNECT_S):
        reader, writer = await asyncio.open_connection(address, number, ssl=context)
    del reader
    secured = writer.get_extra_info("ssl_object")
    assert isinstance(secured, ssl.SSLObject)
    shown = secured.getpeercert(binary_form=True)
    writer.transport.abort()
    return shown or b""


def _descriptors() -> Finding:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return verdicts.descriptors(hard)
