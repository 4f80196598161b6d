"""Requests to the API server: raw bodies in, raw bodies out, every failure a ``RemoteError``."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Final, Self

import msgspec

from cloudcore.kube.figures import RequestFigures
from cloudcore.kube.lines import LineSplitter
from cloudcore.kube.throttle import Throttle
from cloudcore.kube.transport import MAX_CONNECTIONS, Request, Transport
from common.errors import RemoteError
from common.metrics import Figures
from common.names import NODES_GROUP, NodeID, node_user
from common.status import MAX_MESSAGE_CHARS, Status, failure

logger = logging.getLogger(__name__)

JSON: Final = "application/json"
STRATEGIC_MERGE_PATCH: Final = "application/strategic-merge-patch+json"
MERGE_PATCH: Final = "application/merge-patch+json"
APPLY_PATCH: Final = "application/apply-patch+yaml"

REQUEST_TIMEOUT_S: Final = 30.0
"""For one request with its answer, whatever is tried within."""

WATCH_SILENCE_S: Final = 150.0
"""Where anything happens in a cluster, the API server sends a bookmark about every minute: a watch
that is silent for longer is taken to be half open."""

MAX_LINE_BYTES: Final = 32 * 1024 * 1024
"""A watch event holds one object; etcd takes 1.5 MiB, in a form denser than JSON."""

_PAGE_ITEMS: Final = 500
_MAX_RETRY_AFTER_S: Final = 5.0
_NO_PARAMS: Final[Mapping[str, str]] = MappingProxyType({})


class _ErrorBody(msgspec.Struct):
    kind: str = ""
    message: str = ""
    reason: str = ""
    details: dict[str, Any] | None = None


class KubeClient:
    """A client of one API server. An async context manager; used within one event loop."""

    def __init__(
        self,
        kubeconfig: Path | None,
        *,
        request_timeout_s: float = REQUEST_TIMEOUT_S,
        is_constrained: bool = False,
        figures: RequestFigures | None = None,
    ) -> None:
        """Make a client that is not connected yet.

        Args:
            kubeconfig: where the API server is and who we are; None inside a pod of the cluster.
            request_timeout_s: seconds that a request may take; watches are not requests.
            is_constrained: act in the names of nodes by constrained impersonation, which takes a
                right for nodes only and knows their group by itself (Kubernetes 1.36 and newer).
            figures: where it counts; nowhere that is shown if None.
        """
        self._figures = figures or RequestFigures(Figures())
        self._is_constrained = is_constrained
        self._lost_s: float | None = None  # since when it has not been reached
        self._transport = Transport(kubeconfig)
        self._request_timeout_s = request_timeout_s
        # The API server counts these two apart (--max-requests-inflight and its like).
        self._reads, self._writes = Throttle(MAX_CONNECTIONS), Throttle(MAX_CONNECTIONS)
        self._figures.show_places(lambda: self._reads.limit, lambda: self._writes.limit)

    async def __aenter__(self) -> Self:
        """Read the credentials; no request is made.

        Raises:
            ConfigError: the kubeconfig, or what a pod should have in its place, cannot be used.
        """
        await self._transport.open()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close all connections."""
        await self._transport.close()

    @property
    def server(self) -> str:
        """The address of the API server."""
        return self._transport.server

    def ca_pem(self) -> bytes:
        """Return the certificate authority that proves the API server, in PEM.

        Raises:
            RemoteError: 404, the credentials name none.
        """
        if self._transport.ca_file is None:
            raise RemoteError(failure(404, "the credentials name no certificate authority"))
        return self._transport.ca_file.read_bytes()

    async def server_time(self) -> datetime:
        """Return the time of day by the API server's clock, to the second.

        Raises:
            RemoteError: it cannot be reached, or does not tell the time.
        """
        request = Request("GET", "/version")
        async with self._transport.send(request) as response:
            await response.read()
            told = response.headers.get("Date", "")
        try:
            return parsedate_to_datetime(told)
        except ValueError as error:
            raise RemoteError(
                failure(500, f"the API server's time is no time: {told!r}")
            ) from error

    async def get(
        self,
        path: str,
        *,
        params: Mapping[str, str] = _NO_PARAMS,
        as_node: NodeID | None = None,
    ) -> bytes:
        """Return the object or list at ``path`` (see ``ResourceKind.path``).

        Args:
            path: the path without the address.
            params: the query, such as ``limit``.
            as_node: make the request in the name of this node, so that the API server's own rules
                for nodes apply.

        Raises:
            RemoteError: the API server refused; 503 where it cannot be reached, 504 where it did
                not answer in time.
        """
        return await self._request("GET", path, params=params, as_node=as_node)

    async def find(self, path: str) -> bytes | None:
        """Return the object at ``path``; None where the API server says that there is none.

        Raises:
            RemoteError: as ``get``, but for 404.
        """
        try:
            return await self.get(path)
        except RemoteError as error:
            if error.status.is_not_found:
                return None
            raise

    async def items(
        self, path: str, params: Mapping[str, str] = _NO_PARAMS
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the objects of the collection at ``path``, page after page.

        What is to be followed, or has to be consistent, is listed by ``ListWatch``.

        Raises:
            RemoteError: as ``get``; 410 where it took so long that the rest has expired.
        """
        asked = {**params, "limit": str(_PAGE_ITEMS)}
        while True:
            page: dict[str, Any] = msgspec.json.decode(await self.get(path, params=asked))
            for item in page.get("items") or ():
                yield item
            following = page["metadata"].get("continue", "")
            if not following:
                return
            asked["continue"] = following

    async def create(self, path: str, body: bytes, *, as_node: NodeID | None = None) -> bytes:
        """Create ``body`` in the collection at ``path`` and return it as it is now.

        Raises:
            RemoteError: as ``get``; 409 with reason ``AlreadyExists`` where the name is taken.
        """
        return await self._request("POST", path, body=body, as_node=as_node)

    async def update(self, path: str, body: bytes, *, as_node: NodeID | None = None) -> bytes:
        """Replace the object at ``path`` and return it as it is now.

        Raises:
            RemoteError: as ``get``; 409 where ``body`` names an older resource version.
        """
        return await self._request("PUT", path, body=body, as_node=as_node)

    async def patch(
        self, path: str, body: bytes, *, content_type: str, as_node: NodeID | None = None
    ) -> bytes:
        """Change the object at ``path`` by ``body`` and return it as it is now.

        Args:
            path: of the object or its subresource.
            body: the patch; a ``metadata.uid`` in it is a precondition.
            content_type: ``STRATEGIC_MERGE_PATCH`` or ``MERGE_PATCH``.
            as_node: as in ``get``.

        Raises:
            RemoteError: as ``get``; 409 where the UID is another one.
        """
        return await self._request(
            "PATCH", path, body=body, content_type=content_type, as_node=as_node
        )

    async def apply(self, path: str, body: bytes, *, manager: str, force: bool = False) -> bytes:
        """Have the object at ``path`` be what ``body`` says, created where it is not there.

        What ``body`` does not say stays, but for what ``manager`` has said before.

        Args:
            path: of the object.
            body: the object, with its apiVersion and kind; of fields that are unknown, an error.
            manager: in whose name fields are set.
            force: take over fields that others have set to something else.

        Raises:
            RemoteError: as ``get``; 409 where others have set a field to something else.

        Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/
        """
        params = {"fieldManager": manager, "fieldValidation": "Strict"}
        if force:
            params["force"] = "true"
        return await self._request(
            "PATCH", path, params=params, body=body, content_type=APPLY_PATCH
        )

    async def delete(self, path: str, body: bytes = b"", *, as_node: NodeID | None = None) -> bytes:
        """Delete the object at ``path``; ``body`` are its DeleteOptions.

        Raises:
            RemoteError: as ``get``; 409 where a precondition does not hold.
        """
        return await self._request("DELETE", path, body=body, as_node=as_node)

    async def watch(self, path: str, params: Mapping[str, str]) -> AsyncGenerator[bytes, None]:
        """Yield the lines of the watch at ``path`` until the API server ends it.

        Close it (``contextlib.aclosing``) where it is left before its end.

        Raises:
            RemoteError: refused, not reachable, broken, silent for ``WATCH_SILENCE_S``, or a line
                is longer than ``MAX_LINE_BYTES``.
        """
        self._figures.watches.inc(path.rpartition("/")[2])
        request = Request("GET", path, params={**params, "watch": "1"})
        lines = LineSplitter(MAX_LINE_BYTES)
        async with self._transport.send(request, silence_s=WATCH_SILENCE_S) as response:
            if response.status >= HTTPStatus.MULTIPLE_CHOICES:
                raise RemoteError(_status(response.status, await response.read()))
            async for chunk in response.content.iter_any():
                for line in lines.feed(chunk):
                    yield line

    async def _request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] = _NO_PARAMS,
        body: bytes = b"",
        content_type: str = JSON,
        as_node: NodeID | None = None,
    ) -> bytes:
        headers = {"Content-Type": content_type} if body else {}
        if as_node is not None:
            headers["Impersonate-User"] = node_user(as_node)
            if not self._is_constrained:
                headers["Impersonate-Group"] = NODES_GROUP
        return await self._counted(Request(method, path, params, body, headers))

    async def _counted(self, request: Request) -> bytes:
        clock = asyncio.get_running_loop().time
        began_s = clock()
        try:
            answer = await self._made(request)
        except RemoteError as error:
            self._note(request.method, error.status.code, began_s, clock())
            raise
        self._note(request.method, HTTPStatus.OK, began_s, clock())
        return answer

    def _note(self, method: str, code: int, began_s: float, now_s: float) -> None:
        """Count what came of a request, and say once that the API server is away, or is back."""
        self._figures.made(method, code, began_s, now_s)
        if code != HTTPStatus.SERVICE_UNAVAILABLE and self._lost_s is not None:
            logger.info("the API server is back", extra={"away_s": round(now_s - self._lost_s, 1)})
            self._lost_s = None
        elif code == HTTPStatus.SERVICE_UNAVAILABLE and self._lost_s is None:
            # Not louder: of a command, its one line about that is enough; a watch warns by itself.
            logger.info("the API server cannot be reached", extra={"server": self.server})
            self._lost_s = began_s

    async def _made(self, request: Request) -> bytes:
        throttle = self._reads if request.method == "GET" else self._writes
        try:
            async with asyncio.timeout(self._request_timeout_s):
                while True:
                    async with throttle, self._transport.send(request) as response:
                        answer = await response.read()
                        is_refused = response.status == HTTPStatus.TOO_MANY_REQUESTS
                        throttle.refused() if is_refused else throttle.taken()
                        self._figures.throttled.inc(int(is_refused))
                    if response.status < HTTPStatus.MULTIPLE_CHOICES:
                        return answer
                    if not is_refused:
                        raise RemoteError(_status(response.status, answer))
                    # Refused before it was looked at, so that it may be made again.
                    await asyncio.sleep(_retry_after_s(response.headers.get("Retry-After", "")))
        except TimeoutError:
            raise RemoteError(failure(504, "the API server did not answer in time")) from None


def _status(code: int, body: bytes) -> Status:
    """Return the Status of an answer: its own words only if it is a Status."""
    try:
        said = msgspec.json.decode(body, type=_ErrorBody)
    except (msgspec.DecodeError, UnicodeDecodeError):
        said = _ErrorBody()
    if said.kind != "Status":
        return failure(code, body[:MAX_MESSAGE_CHARS].decode(errors="replace"))
    return Status(
        status="Failure",
        message=said.message[:MAX_MESSAGE_CHARS],
        reason=said.reason,
        details=said.details,
        code=code,
    )


def _retry_after_s(header: str) -> float:
    return min(float(header) if header.isdecimal() else 1.0, _MAX_RETRY_AFTER_S)
