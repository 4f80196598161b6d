"""Enrolment over HTTPS: the authority's certificate, and certificates for nodes.

=====================  =============================================================================
``GET /ca.crt``        200: the certificate of the authority that signs, DER. With
                       ``?fingerprint=<SHA-256, hex>`` that of the trusted one with this hash, 404
                       where there is none
``GET /ca.pem``        200: the certificates of all trusted authorities, the newest first, PEM
``GET /edge.crt``      body: PKCS#10 request, DER; headers ``NodeName`` and, without a client
                       certificate, ``Authorization: Bearer <JWT>`` or those of ``common.proof``.
                       200: the certificate, DER
``GET /node/{name}``   200 ``Node found``, 404 ``Node not found``
=====================  =============================================================================

A token enrols only a name that has no Node and no certificate that is still good, or the very key
that got this certificate, since answers get lost; a token that is bound to a node by its name
enrols that node in any case, and the node's own certificate as ``renewal`` tells. Unlike
KubeEdge's, the request's subject must be the node's, and every refusal says what to do.

Source: KubeEdge cloud/pkg/cloudhub/servers/httpserver/server.go.
"""

import asyncio
import logging
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web
from msgspec import Struct
from msgspec.structs import replace

from cloudcore.cloudhub.handshake import Refusal, revoked_text
from cloudcore.kube import kinds
from cloudcore.kube.client import KubeClient
from cloudcore.metrics import CloudMetrics
from cloudcore.trust import renewal
from cloudcore.trust.authorities import Authorities
from cloudcore.trust.httpserver import serving
from cloudcore.trust.ledger import Ledger
from cloudcore.trust.ledgerentry import Entry
from cloudcore.trust.nameless import Nameless
from cloudcore.trust.renewal import OldCertificate, Standing
from cloudcore.trust.tokendoor import Shown, Ticket, TokenDoor
from cloudcore.trust.tokenrecord import Asker
from cloudcore.trust.tokenrecords import TokenRecords
from cloudcore.trust.tokens import TokenError
from common import issuing, proof
from common.errors import CertificateError, RemoteError
from common.names import REFUSAL_HEADER, REVOKED, NodeID

logger = logging.getLogger(__name__)

MAX_CSR_BYTES: Final = 64 * 1024
AT_A_TIME: Final = 16
"""Requests that are served; the rest waits. However many ask, leases and states of nodes wait for
no more than these at the API server."""

RENEWAL_GRACE: Final = timedelta(days=365)
"""``EnrollTerms.renewal_grace``, where nobody has said."""

_NODE_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_MAX_NODE_NAME_CHARS: Final = 253


class EnrollTerms(Struct, frozen=True):
    """On what terms certificates are given out."""

    plain_tokens: bool = True
    """Plain tokens are taken too, as KubeEdge has them."""

    renewal_grace: timedelta = RENEWAL_GRACE
    """For how long a certificate that has expired can still be renewed."""

    lifetime: timedelta = issuing.NODE_LIFETIME
    """For how long a certificate is good."""

    nameless: Nameless | None = None
    """Says for which nodes certificates are renewed that name none; None for no node."""


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
        terms: EnrollTerms | None = None,
    ) -> None:
        """Serve certificates of the newest of ``authorities``; ``client`` tells which nodes are."""
        self._client, self._authorities = client, authorities
        self._terms = terms = terms or EnrollTerms()
        self._ledger, self._metrics, self._now = Ledger(client), metrics, now
        self._places = asyncio.Semaphore(AT_A_TIME)
        self._tokens = TokenDoor(
            TokenRecords(client),
            lambda: authorities().trusted,
            metrics,
            now,
            plain_tokens=terms.plain_tokens,
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
        async with serving(self.application(), sockets, context, self._metrics):
            yield

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
        if isinstance(shown, proof.Presented):
            shown = self._proven(shown, csr, authorities)
        if isinstance(shown, OldCertificate):
            _require(renewal.judge_shown(node, shown))  # before it costs anything
        issued = self._sign(authorities.current, csr, node)
        seen = await self._ledger.find(node)
        presented = None
        if isinstance(shown, OldCertificate):
            await self._require_renewable(node, shown, seen)
            presented = shown.serial
        else:
            await self._use_token(shown, Asker(node, issued.key_hash), seen)
        await self._ledger.record(
            node, issued, seen, issuer=authorities.fingerprint, presented=presented
        )
        if self._terms.nameless is not None:
            self._terms.nameless.learn(node)
        self._note_issued(node, issued, shown)
        return web.Response(body=issued.der)

    def _authenticate(
        self, request: web.Request, node: NodeID
    ) -> OldCertificate | proof.Presented | Shown:
        """Return by what the requester wants to be believed.

        Raises:
            Refused, TokenError: by nothing that could be good for ``node``.
        """
        transport = request.transport
        certificate = transport.get_extra_info("peercert") if transport is not None else None
        if transport is not None and certificate:
            der = transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
            is_ours = self._authorities().name_signer_of(der) is not None
            return self._shown_in_tls(certificate, node, is_ours=is_ours)
        try:
            by_proof = proof.read_headers(request.headers)
        except CertificateError as error:
            raise _bad_proof(error) from error
        if by_proof is not None:
            return by_proof
        scheme, _, presented = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not presented:
            raise Refused(
                HTTPStatus.UNAUTHORIZED,
                "no_token",
                "a join token is needed: make one with `cloudcore token create`",
            )
        return self._tokens.look_at(presented.strip(), node)

    def _shown_in_tls(
        self, certificate: Mapping[str, Any], node: NodeID, *, is_ours: bool
    ) -> OldCertificate:
        shown = renewal.shown_in_tls(certificate, is_ours=is_ours)
        nameless = self._terms.nameless
        if shown.node is not None or nameless is None:
            return shown
        return replace(shown, node=nameless.node_of(certificate, [node]), is_nameless=True)

    def _proven(
        self, presented: proof.Presented, csr: bytes, authorities: Authorities
    ) -> OldCertificate:
        try:
            return renewal.shown_by_proof(presented, csr, authorities, self._now())
        except CertificateError as error:
            raise _bad_proof(error) from error

    async def _require_renewable(
        self, node: NodeID, old: OldCertificate, seen: Entry | None
    ) -> None:
        """Refuse a certificate that brings ``node`` no new one.

        Raises:
            Refused: as ``renewal.judge`` says.
        """
        if old.is_nameless and (seen is not None or not await self._has_node(node)):
            old = replace(old, node=None)  # not for nodes that are new, or have one of their own
        standing = Standing(
            is_revoked=seen is not None and not seen.accepts(old.serial),
            is_known=seen is not None or await self._has_node(node),
        )
        _require(renewal.judge(node, old, standing, self._terms.renewal_grace))

    async def _use_token(self, shown: Shown, asker: Asker, seen: Entry | None) -> None:
        """Use the token, of which nothing is used up where the name is refused.

        Raises:
            Refused, TokenError: the token is not good for that name.
        """
        ticket = await self._tokens.find(shown, asker)
        _require_newer(ticket, seen)
        if not ticket.is_bound:
            await self._require_free_name(asker, seen)
        await self._tokens.use(ticket)

    def _sign(self, authority: issuing.Authority, csr: bytes, node: NodeID) -> issuing.Issued:
        try:
            return issuing.issue_node(authority, csr, node, self._now(), self._terms.lifetime)
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
            async with self._places:
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

    def _note_issued(
        self, node: NodeID, issued: issuing.Issued, shown: OldCertificate | Shown
    ) -> None:
        token = ""
        if isinstance(shown, OldCertificate):
            by = "proof" if shown.is_proof else "certificate"
        else:
            by, token = "token", shown.grant.name or "plain"
        self._metrics.certificates_issued.inc(by)
        logger.info(
            "certificate issued",
            extra={
                "node": node,
                "serial": f"{issued.serial:x}",
                "until": issued.not_after,
                "by": by,
                "token": token,
            },
        )

    def _refuse(self, request: web.Request, refused: Refused) -> web.Response:
        self._metrics.refused.inc(f"enroll_{refused.reason}")
        logger.warning(
            "enrolment refused",
            extra={
                "address": request.remote,
                "node": request.headers.get("NodeName", "")[:_MAX_NODE_NAME_CHARS],
                "reason": refused.reason,
                "detail": refused.text,
            },
        )
        return web.Response(
            status=refused.status,
            text=f"{refused.text}\n",
            headers={REFUSAL_HEADER: refused.reason},
        )


def _require(refusal: Refusal | None) -> None:
    """Go on, unless something was refused.

    Raises:
        Refused: it was.
    """
    if refusal is not None:
        raise Refused(refusal.status, refusal.reason, refusal.text)


def _bad_proof(error: CertificateError) -> Refused:
    return Refused(HTTPStatus.UNAUTHORIZED, "proof", str(error))


def _require_newer(ticket: Ticket, seen: Entry | None) -> None:
    """Refuse a token that may lie on the very machine whose certificate was revoked.

    Tokens that are bound to a node by its name are revoked with its certificate, so one with a
    record that is still good was made later. Of others nobody knows.

    Raises:
        Refused: the node was revoked, and the token is not one that was made for it since.
    """
    if seen is None or seen.revoked_at is None:
        return
    is_lost_answer = seen.key_hash == ticket.asker.key_hash and not seen.is_shut_out
    if not (is_lost_answer or (ticket.is_bound and ticket.kept is not None)):
        text = revoked_text(ticket.asker.node)
        raise Refused(HTTPStatus.FORBIDDEN, REVOKED, text)


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
