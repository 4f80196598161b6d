"""Enrolment over HTTPS: the authority's certificate, and certificates for nodes.

=====================  =============================================================================
``GET /ca.crt``        200: the certificate of the authority that signs, DER. With
                       ``?fingerprint=<SHA-256, hex>`` that of the trusted one with this hash, 404
                       where there is none
``GET /ca.pem``        200: the certificates of all trusted authorities, the newest first, PEM
``GET /edge.crt``      body: PKCS#10 request, DER; headers ``NodeName`` and, without a client
                       certificate, ``Authorization: Bearer <JWT>``. 200: the certificate, DER
``GET /node/{name}``   200 ``Node found``, 404 ``Node not found``
=====================  =============================================================================

A token enrols only a name that has no Node and no certificate that is still good, or the very key
that got this certificate, since answers get lost; a token that is bound to a node by its name, or
the node's own certificate, enrols that node in any case. Unlike KubeEdge's, the request's subject
must be the node's, and every refusal says what to do.

Source: KubeEdge cloud/pkg/cloudhub/servers/httpserver/server.go.
"""

import asyncio
import logging
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from http import HTTPStatus
from typing import Final

from aiohttp import web

from cloudcore.cloudhub.acceptor import AcceptLimits, Acceptor, Listener
from cloudcore.cloudhub.authorities import Authorities
from cloudcore.cloudhub.ledger import Ledger
from cloudcore.cloudhub.ledgerentry import Entry
from cloudcore.cloudhub.tokendoor import Shown, TokenDoor
from cloudcore.cloudhub.tokenrecord import Asker
from cloudcore.cloudhub.tokenrecords import TokenRecords
from cloudcore.cloudhub.tokens import TokenError
from cloudcore.kube import kinds
from cloudcore.kube.client import KubeClient
from cloudcore.metrics import CloudMetrics
from common import pki
from common.errors import CertificateError, RemoteError
from common.names import NodeID

logger = logging.getLogger(__name__)

MAX_CSR_BYTES: Final = 64 * 1024
MAX_HEADER_BYTES: Final = 8 * 1024
KEEPALIVE_TIMEOUT_S: Final = 5.0
LIMITS: Final = AcceptLimits(handshakes=16, connections=128, lifetime_s=60.0)

_NODE_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_MAX_NODE_NAME_CHARS: Final = 253


class Refused(Exception):
    """The request is answered with ``status`` and ``text``, which says what to do."""

    def __init__(self, status: HTTPStatus, reason: str, text: str) -> None:
        super().__init__(text)
        self.status, self.reason, self.text = status, reason, text


class Enrollment:
    """The handlers, and what they need."""

    def __init__(
        self,
        client: KubeClient,
        authorities: Callable[[], Authorities],
        metrics: CloudMetrics,
        now: Callable[[], datetime],
        *,
        plain_tokens: bool = True,
    ) -> None:
        """Serve certificates of the newest of ``authorities``; ``client`` tells which nodes are."""
        self._client, self._authorities = client, authorities
        self._ledger, self._metrics, self._now = Ledger(client), metrics, now
        self._tokens = TokenDoor(
            TokenRecords(client),
            lambda: authorities().trusted,
            metrics,
            now,
            plain_tokens=plain_tokens,
        )

    def application(self) -> web.Application:
        """Return the application for an HTTPS server."""
        application = web.Application(
            client_max_size=MAX_CSR_BYTES, middlewares=[self._answer_refusals]
        )
        application.router.add_get("/ca.crt", self._ca)
        application.router.add_get("/ca.pem", self._bundle)
        application.router.add_get("/edge.crt", self._certificate)
        application.router.add_get("/node/{name}", self._node)
        return application

    @asynccontextmanager
    async def served(
        self, sockets: Sequence[socket.socket], context: Callable[[], ssl.SSLContext]
    ) -> AsyncIterator[None]:
        """Serve on ``sockets``, which are listening and non-blocking, while the context lasts.

        Args:
            sockets: closed at the end.
            context: returns TLS for the next connection; a client's certificate is optional.
        """
        runner = web.AppRunner(
            self.application(),
            access_log=None,
            keepalive_timeout=KEEPALIVE_TIMEOUT_S,
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
        )
        await runner.setup()
        server = runner.server
        assert server is not None
        listener = Listener("https", context, server, lambda: len(server.connections))
        acceptor = Acceptor(sockets, listener, LIMITS, self._metrics)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(acceptor.run(), name="https server")
                try:
                    yield
                finally:
                    acceptor.close()
        finally:
            await runner.cleanup()

    async def _ca(self, request: web.Request) -> web.Response:
        authorities, fingerprint = self._authorities(), request.query.get("fingerprint")
        authority = authorities.current if fingerprint is None else authorities.find(fingerprint)
        if authority is None:
            text = "no authority with this fingerprint is trusted here: is the token an old one?\n"
            return web.Response(status=HTTPStatus.NOT_FOUND, text=text)
        return web.Response(body=authority.der)

    async def _bundle(self, _: web.Request) -> web.Response:
        return web.Response(text=self._authorities().pem, content_type="application/x-pem-file")

    async def _node(self, request: web.Request) -> web.Response:
        if await self._has_node(_node_name(request.match_info["name"])):
            return web.Response(text="Node found")
        return web.Response(status=HTTPStatus.NOT_FOUND, text="Node not found")

    async def _certificate(self, request: web.Request) -> web.Response:
        node = _node_name(request.headers.get("NodeName", ""))
        shown = self._authenticate(request, node)
        csr = await _body(request)
        authorities = self._authorities()
        issued = self._sign(authorities.current, csr, node)
        seen = await self._ledger.find(node)
        if shown is not None:
            await self._use_token(shown, Asker(node, issued.key_hash), seen)
        await self._ledger.record(node, issued, seen, issuer=authorities.fingerprint)
        logger.info(
            "certificate issued",
            extra={
                "node": node,
                "serial": f"{issued.serial:x}",
                "until": issued.not_after,
                "token": "" if shown is None else shown.grant.name or "plain",
            },
        )
        return web.Response(body=issued.der)

    def _authenticate(self, request: web.Request, node: NodeID) -> Shown | None:
        """Return the token of the requester; None where it is known to be ``node``.

        Raises:
            Refused, TokenError: it is not, and has no token that could be good for it.
        """
        transport = request.transport
        certificate = transport.get_extra_info("peercert") if transport is not None else None
        if certificate:
            if pki.node_of_certificate(certificate) == node:
                return None
            raise Refused(
                HTTPStatus.UNAUTHORIZED, "wrong_certificate", f"the certificate is not {node}'s"
            )
        scheme, _, presented = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not presented:
            raise Refused(
                HTTPStatus.UNAUTHORIZED,
                "no_token",
                "a join token is needed: make one with `cloudcore token create`",
            )
        return self._tokens.look_at(presented.strip(), node)

    async def _use_token(self, shown: Shown, asker: Asker, seen: Entry | None) -> None:
        """Use the token, of which nothing is used up where the name is refused.

        Raises:
            Refused, TokenError: the token is not good for that name.
        """
        ticket = await self._tokens.find(shown, asker)
        if not ticket.is_bound:
            await self._require_free_name(asker, seen)
        await self._tokens.use(ticket)

    def _sign(self, authority: pki.Authority, csr: bytes, node: NodeID) -> pki.Issued:
        try:
            return pki.issue_node(authority, csr, node, self._now())
        except CertificateError as error:
            raise Refused(HTTPStatus.BAD_REQUEST, "csr", str(error)) from error

    async def _require_free_name(self, asker: Asker, seen: Entry | None) -> None:
        """Refuse a token that is not bound for a name that somebody else has.

        Raises:
            Refused: the Node exists, or a certificate of that name is still good.
        """
        node = asker.node
        if seen is not None and seen.key_hash == asker.key_hash and not seen.is_shut_out:
            return  # an answer got lost: whoever has that key has the name
        if seen is not None and seen.not_after > self._now():
            why = f"{node} is already enrolled (its certificate is good until {seen.not_after})"
        elif await self._has_node(node):
            why = f"the Node {node} exists"
        else:
            return
        raise Refused(
            HTTPStatus.FORBIDDEN,
            "name_taken",
            f"{why}: if this machine takes its place, use a token that is bound to it:"
            f" `cloudcore token create --node-name {node}`",
        )

    async def _has_node(self, node: NodeID) -> bool:
        return await self._client.find(kinds.NODES.path(name=node)) is not None

    @web.middleware
    async def _answer_refusals(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        try:
            return await handler(request)
        except Refused as refused:
            return self._refuse(request, refused)
        except TokenError as error:
            refusal = Refused(HTTPStatus.UNAUTHORIZED, "token", str(error))
            return self._refuse(request, refusal)
        except RemoteError as error:
            code = (
                HTTPStatus.CONFLICT if error.status.is_conflict else HTTPStatus.SERVICE_UNAVAILABLE
            )
            text = f"the API server says: {error.status.message}"
            return self._refuse(request, Refused(code, "api_server", text))

    def _refuse(self, request: web.Request, refused: Refused) -> web.Response:
        self._metrics.refused.labels(f"enroll_{refused.reason}").inc()
        logger.warning(
            "enrolment refused",
            extra={
                "address": request.remote,
                "node": request.headers.get("NodeName", "")[:_MAX_NODE_NAME_CHARS],
                "reason": refused.reason,
                "detail": refused.text,
            },
        )
        return web.Response(status=refused.status, text=f"{refused.text}\n")


async def _body(request: web.Request) -> bytes:
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise Refused(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "csr_too_large",
            f"a certificate request has at most {MAX_CSR_BYTES} bytes",
        ) from error


def _node_name(text: str) -> NodeID:
    """Return ``text`` as the name of a Node.

    Raises:
        Refused: no Node can have that name.
    """
    if len(text) > _MAX_NODE_NAME_CHARS or _NODE_NAME.fullmatch(text) is None:
        raise Refused(
            HTTPStatus.BAD_REQUEST,
            "node_name",
            "the header NodeName must be a Node's name: small letters, digits, '-' and '.'",
        )
    return NodeID(text)
