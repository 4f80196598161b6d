"""A client of the API server for the demo, the tests and the benchmarks.

It shares nothing with cloudcore's own client, so that one cannot hide a fault of the other.
"""

import asyncio
import json
import ssl
import time
from collections.abc import AsyncGenerator, Callable
from types import TracebackType
from typing import Any, Final, Self

import aiohttp

from deploy.devcluster.controlplane import ControlPlane

Object = dict[str, Any]
"""A Kubernetes object, or a list of them, as decoded JSON."""

MERGE_PATCH: Final = "application/merge-patch+json"
DEFAULT_WAIT_S: Final = 40.0
"""How long most things may take on a busy machine."""

_POLL_S: Final = 0.05
_NOT_FOUND: Final = 404
_FIRST_FAILURE: Final = 400


class ApiError(Exception):
    """The API server refused; ``code`` is the HTTP status."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class WaitError(Exception):
    """What was waited for did not come; the message tells what was seen last."""


class Api:
    """The administrator's way to the API server of a ``ControlPlane``. An async context manager.

    Paths are those of the API: ``/api/v1/namespaces/default/pods/web``.
    """

    def __init__(self, control_plane: ControlPlane) -> None:
        """Prepare the client; the connection is made with the first call."""
        self._server = control_plane.server
        self._token = control_plane.token
        self._tls = ssl.create_default_context(cafile=str(control_plane.ca_file))
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        """Open the connection pool."""
        self._session = aiohttp.ClientSession(
            base_url=self._server,
            headers={"Authorization": f"Bearer {self._token}"},
            connector=aiohttp.TCPConnector(
                ssl=self._tls,
                limit=64,
                # A request that is cancelled closes its connection, and a TLS connection that is
                # closed waits for its peer: the end of the session does not, with this.
                enable_cleanup_closed=aiohttp.connector.NEEDS_CLEANUP_CLOSED,
            ),
        )
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connection pool."""
        await self._session.close()
        await asyncio.sleep(0)  # sockets are closed by callbacks

    async def get(self, path: str) -> Object | None:
        """Return the object or list at ``path``, None where there is none."""
        try:
            return await self._call("GET", path)
        except ApiError as error:
            if error.code == _NOT_FOUND:
                return None
            raise

    async def items(self, path: str) -> list[Object]:
        """Return the items of the list at ``path``."""
        found: list[Object] = (await self._call("GET", path))["items"]
        return found

    async def version(self, path: str) -> str:
        """Return the version of the list at ``path`` as it is now, for ``follow``."""
        return str((await self._call("GET", path))["metadata"]["resourceVersion"])

    async def follow(self, path: str, version: str) -> AsyncGenerator[Object, None]:
        """Yield what was written to or deleted from the list at ``path`` since ``version``."""
        target = f"{path}?watch=true&resourceVersion={version}"
        async with self._session.get(target, timeout=aiohttp.ClientTimeout()) as response:
            connection = response.connection
            try:
                async for line in response.content:
                    event: Object = json.loads(line)
                    yield event["object"]
            finally:
                # The server would go on sending; a TLS connection that is closed waits for it.
                if connection is not None and connection.transport is not None:
                    connection.transport.abort()
                    await asyncio.sleep(0)

    async def metrics(self) -> str:
        """Return the API server's own metrics, in Prometheus' text format."""
        async with self._session.get("/metrics") as response:
            return await response.text()

    async def create(self, path: str, body: Object) -> Object:
        """Create ``body`` in the collection at ``path``."""
        return await self._call("POST", path, body)

    async def patch(self, path: str, body: Object) -> Object:
        """Apply the merge patch ``body`` to the object at ``path``."""
        return await self._call("PATCH", path, body, MERGE_PATCH)

    async def replace(self, path: str, body: Object) -> Object:
        """Replace the object at ``path``."""
        return await self._call("PUT", path, body)

    async def delete(self, path: str, *, grace_s: int | None = None) -> None:
        """Delete the object at ``path``, if it is there.

        Args:
            path: of the object.
            grace_s: how long a pod may take to end; 0 forgets it at once; None is what it asks for.
        """
        body = {} if grace_s is None else {"gracePeriodSeconds": grace_s}
        try:
            await self._call("DELETE", path, body)
        except ApiError as error:
            if error.code != _NOT_FOUND:
                raise

    async def wait(
        self,
        path: str,
        holds: Callable[[Object | None], object],
        what: str,
        *,
        timeout_s: float = DEFAULT_WAIT_S,
    ) -> Object | None:
        """Return what is at ``path`` (None for nothing) as soon as ``holds`` is true of it.

        Args:
            path: what to look at again and again.
            holds: the condition.
            what: the condition in words, for the error.
            timeout_s: seconds to wait.

        Raises:
            WaitError: the condition did not come true; it tells what was there at the end.
        """
        deadline = time.monotonic() + timeout_s
        while not holds(found := await self.get(path)):
            if time.monotonic() > deadline:
                message = f"not within {timeout_s:g} s: {what}; {path} is {_shown(found)}"
                raise WaitError(message)
            await asyncio.sleep(_POLL_S)
        return found

    async def _call(
        self, method: str, path: str, body: Object | None = None, kind: str = "application/json"
    ) -> Object:
        data = None if body is None else json.dumps(body)
        async with self._session.request(
            method, path, data=data, headers={"Content-Type": kind}
        ) as response:
            text = await response.text()
            if response.status >= _FIRST_FAILURE:
                raise ApiError(response.status, text)
            answer: Object = json.loads(text)
            return answer


def _shown(found: Object | None) -> str:
    """Return the part of an object that tells why a condition does not hold."""
    if found is None:
        return "not there"
    if "items" in found:
        return ", ".join(_shown(item) for item in found["items"]) or "an empty list"
    return json.dumps(
        {"name": found["metadata"]["name"], "status": found.get("status")}, indent=None
    )
