"""What strangers' bytes meet, each as a function of bytes: it returns, or something is broken.

A target lists the errors that it may raise by catching them; whatever else comes out of it is a
finding. What is accepted is held against what it should mean as far as that is known.
"""

import asyncio
import base64
import hashlib
import hmac
import logging
import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Final, cast

from aiohttp import web
from prometheus_client import CollectorRegistry

from cloudcore.config import CloudCoreSettings
from cloudcore.kube.client import KubeClient
from cloudcore.metrics import CloudMetrics
from cloudcore.trust import renewal, tokens
from cloudcore.trust.authorities import Authorities
from cloudcore.trust.enroll import Enrollment
from cloudcore.trust.httpserver import Handler
from common import config, frames, issuing, pki, proof, subjects, wire
from common.errors import CertificateError, ConfigError, RemoteError, ResourceError, WireError
from common.names import NodeID
from common.resource import build_resource, parse_resource
from common.status import failure
from edgecore.config import EdgeCoreSettings

NOW: Final = datetime(2026, 11, 24, tzinfo=UTC)
NODE: Final = NodeID("edge-1")
MAX_INFLATED_BYTES: Final = 64 * 1024

Target = Callable[[bytes], None]


@cache
def authorities() -> Authorities:
    """Return what a cloudcore believes: one authority, the same for all targets of this process."""
    return Authorities(issuing.new_authority(NOW))


def wire_codec(data: bytes) -> None:
    """Decode a message; what is one is the same after another turn."""
    with suppress(WireError):
        message = wire.decode(data)
        encoded = wire.encode(message)
        assert wire.encode(wire.decode(encoded)) == encoded
        wire.status_of(message.content)
        wire.loads(message.content)


def frame_codec(data: bytes) -> None:
    """Decode a binary frame, and inflate what is compressed."""
    with suppress(WireError):
        frame = frames.decode(data)
        assert frames.decode(frames.encode(frame)) == frame
        if isinstance(frame, frames.Deflated):
            inflated = frames.inflate(frame.data, max_bytes=MAX_INFLATED_BYTES)
            assert len(inflated) <= MAX_INFLATED_BYTES


def resource(data: bytes) -> None:
    """Parse a resource in both forms; what is one is built again from its parts."""
    text = data.decode(errors="surrogateescape")
    for edge_site in (True, False):
        with suppress(ResourceError):
            parsed = parse_resource(text, edge_site=edge_site)
            built = build_resource(
                parsed.node_id,
                parsed.namespace,
                parsed.resource_type,
                parsed.name,
                edge_site=edge_site,
            )
            assert built == text


def token(data: bytes) -> None:
    """Check a token as it was shown, and one whose parts these are under a signature of ours."""
    header, _, claims = data.partition(b"\n")
    signed = base64.urlsafe_b64encode(header) + b"." + base64.urlsafe_b64encode(claims)
    signed = signed.replace(b"=", b"")
    key = pki.key_to_der(authorities().current.key)
    signature = base64.urlsafe_b64encode(hmac.digest(key, signed, hashlib.sha256)).rstrip(b"=")
    shown = data.decode(errors="surrogateescape")
    for presented in (shown, f"{signed.decode()}.{signature.decode()}"):
        with suppress(tokens.TokenError):
            grant = tokens.check_token(authorities().current, presented, NOW)
            assert presented != shown
            assert grant.name is None or grant.name


def renewal_proof(data: bytes) -> None:
    """Read the headers of a renewal, two lines, for the request that comes after them."""
    certificate, _, rest = data.partition(b"\n")
    signed, _, csr = rest.partition(b"\n")
    headers = {
        proof.CERTIFICATE_HEADER: certificate.decode(errors="surrogateescape"),
        proof.PROOF_HEADER: signed.decode(errors="surrogateescape"),
    }
    with suppress(CertificateError):
        presented = proof.read_headers(headers)
        assert presented is not None
        old = renewal.shown_by_proof(presented, csr, authorities(), NOW)
        assert renewal.judge_shown(NODE, old) is not None, "no authority has signed that"


def certificate_request(data: bytes) -> None:
    """Sign what is asked for, if it is for the node."""
    with suppress(CertificateError):
        issued = issuing.issue_node(authorities().current, data, NODE, NOW)
        assert subjects.node_of_certificate(issued.der) == NODE


def configuration(data: bytes) -> None:
    """Load a file of either daemon, of our own or of KubeEdge's."""
    path = Path(tempfile.gettempdir()) / f"cloudedge-fuzz-{os.getpid()}.yaml"
    path.write_bytes(data)
    try:
        for model, prefix in ((CloudCoreSettings, "CLOUDCORE_"), (EdgeCoreSettings, "EDGECORE_")):
            with suppress(ConfigError):
                config.load(model, config.Sources(prefix, path, {}, {}))
    finally:
        path.unlink()


def http(data: bytes) -> None:
    """Send the bytes to the endpoint of enrolment; what comes back is an answer, and no fault."""
    _endpoint().take(data)


TARGETS: Final[Mapping[str, Target]] = {
    "wire": wire_codec,
    "frames": frame_codec,
    "resource": resource,
    "token": token,
    "proof": renewal_proof,
    "csr": certificate_request,
    "configuration": configuration,
    "http": http,
}


class _NoCluster:
    """An API server that knows nobody and takes nothing."""

    async def find(self, path: str) -> bytes | None:
        del path
        return None

    async def create(self, path: str, body: bytes) -> bytes:
        raise RemoteError(failure(500, f"{path} is not to be had, nor {len(body)} bytes"))


class _Transport(asyncio.Transport):
    """Takes what is answered."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 1)})
        self.written, self.is_closed = bytearray(), False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_closed = True

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class _Faults(logging.Handler):
    """Keeps what the library tells of our faults."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(self.format(record))


class _Endpoint:
    """The endpoint without sockets: one event loop, a connection for each input."""

    def __init__(self) -> None:
        self._runner, self._metrics = asyncio.Runner(), CloudMetrics(CollectorRegistry())
        client = cast("KubeClient", _NoCluster())
        enrollment = Enrollment(client, authorities, self._metrics, lambda: NOW)
        self._app = web.AppRunner(enrollment.application())
        self._runner.run(self._app.setup())
        self._faults = _Faults()
        logging.getLogger("aiohttp.server").addHandler(self._faults)
        logging.getLogger("cloudcore").addHandler(logging.NullHandler())  # refusals are many

    def take(self, data: bytes) -> None:
        self._faults.seen.clear()
        self._runner.run(self._exchange(data))
        assert not self._faults.seen, self._faults.seen

    async def _exchange(self, data: bytes) -> None:
        server = self._app.server
        assert server is not None
        connection, transport = Handler(server, self._metrics), _Transport()
        connection.connection_made(transport)
        try:
            connection.data_received(data)
            for _ in range(_TURNS):
                await asyncio.sleep(0)
        finally:
            connection.connection_lost(None)
            for _ in range(_TURNS):
                await asyncio.sleep(0)
        assert not transport.written or transport.written.startswith(b"HTTP/")
        assert b" 500 " not in transport.written.partition(b"\r\n")[0]


_TURNS: Final = 12
"""Of the event loop; a request that asks nobody is answered in less."""


@cache
def _endpoint() -> _Endpoint:
    return _Endpoint()
