"""One HTTP GET, for probes and lifecycle hooks: no proxy, no cookies, no kept connection.

Certificates are not verified, as with kubelet: a probe asks whether somebody is there, and what is
asked for lies in the pod. Errors carry the words that kubelet's users know from its events. It is
imported when the first pod needs it: h11 is a third of a MiB.

Source: Kubernetes pkg/probe/http/http.go.
"""

import asyncio
import os
import ssl
from typing import Final

import h11
from msgspec import Struct
from msgspec.structs import replace

from edgecore.edged.probes.dialing import DialError, dial
from edgecore.edged.probes.httprequest import RedirectError, Request, Url, redirected

MAX_BODY_BYTES: Final = 10 * 1024
_MAX_HEAD_BYTES: Final = 64 * 1024
_CHUNK_BYTES: Final = 4096
_MAX_REDIRECTS: Final = 10
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


class HttpGetError(Exception):
    """There was no answer; the text says why."""


class PlainTextError(HttpGetError):
    """What was asked by TLS answered without."""


class Response(Struct, frozen=True):
    """What came back."""

    status: int
    location: str
    body: bytes
    """The beginning of it."""


async def get(request: Request) -> Response:
    """Send ``request`` and return what came of it.

    Redirects are followed as long as they stay on the host; one that leads away is returned.
    Takes as long as the other side lets it: callers have a timeout.

    Raises:
        HttpGetError: nobody answered, or not in HTTP.
    """
    host, at = request.url.host, request
    for _ in range(_MAX_REDIRECTS):
        try:
            response = await _exchange(at)
        except (DialError, EOFError, OSError, h11.ProtocolError) as error:
            raise _translated(error, at.url) from error
        if response.status not in _REDIRECTS or not response.location:
            return response
        try:
            following = redirected(at, response.location)
        except RedirectError as error:
            raise HttpGetError(str(error)) from error
        if following.url.host.lower() != host.lower():
            return response
        at = following
    raise HttpGetError(f'Get "{at.url}": stopped after {_MAX_REDIRECTS} redirects')


async def _exchange(request: Request) -> Response:
    url = request.url
    context = _context() if url.scheme == "https" else None
    reader, writer = await dial(url.host, url.port, context)
    try:
        connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEAD_BYTES)
        writer.write(_head(connection, request))
        return await _receive(connection, reader)
    finally:
        # Without the ceremonies of a close, so that no socket lingers and nobody is waited for.
        writer.transport.abort()


def _head(connection: h11.Connection, request: Request) -> bytes:
    headers = [(name.encode(), value.encode()) for name, value in request.headers]
    if not any(name.lower() == b"host" for name, _ in headers):
        headers.insert(0, (b"Host", request.url.address.encode()))
    headers.append((b"Connection", b"close"))
    head = h11.Request(method="GET", target=request.url.path, headers=headers)
    return (connection.send(head) or b"") + (connection.send(h11.EndOfMessage()) or b"")


async def _receive(connection: h11.Connection, reader: asyncio.StreamReader) -> Response:
    response, body = Response(0, "", b""), b""
    while True:
        event = connection.next_event()
        match event:
            case h11.NEED_DATA:
                data = await reader.read(_CHUNK_BYTES)
                if not data and not response.status:
                    raise EOFError("EOF")
                connection.receive_data(data)
            case h11.Response():
                location = next((v for name, v in event.headers if name == b"location"), b"")
                response = Response(event.status_code, location.decode("latin-1"), b"")
            case h11.Data():
                body += event.data
            case h11.EndOfMessage() | h11.ConnectionClosed():
                return replace(response, body=body)
        if len(body) >= MAX_BODY_BYTES:
            return replace(response, body=body[:MAX_BODY_BYTES])


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _translated(error: Exception, url: Url) -> HttpGetError:
    if isinstance(error, h11.RemoteProtocolError):
        return HttpGetError(f'Get "{url}": malformed HTTP response: {error}')
    if isinstance(error, h11.ProtocolError):
        return HttpGetError(f'Get "{url}": invalid request: {error}')
    if isinstance(error, ssl.SSLError):
        if error.reason in {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"}:
            return PlainTextError(f'Get "{url}": http: server gave HTTP response to HTTPS client')
        return HttpGetError(f'Get "{url}": tls: {error.reason or error}')
    if isinstance(error, OSError) and error.errno:
        return HttpGetError(f'Get "{url}": read tcp: {os.strerror(error.errno).lower()}')
    return HttpGetError(f'Get "{url}": {error}')
