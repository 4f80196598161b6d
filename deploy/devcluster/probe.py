"""Ask a server on this machine whether it is ready."""

import asyncio
import ssl
from pathlib import Path
from typing import Final

from deploy.devcluster.ports import LOOPBACK

_ANSWER_S: Final = 5.0
_STATUS_OK: Final = b"200"


class Probe:
    """GET ``path`` on a port, of loopback unless said otherwise, over TLS where there is a CA.

    Plain streams instead of an HTTP client: the answer is one status line, and a probe may be
    cancelled at any point.
    """

    def __init__(
        self,
        port: int,
        path: str,
        *,
        host: str = LOOPBACK,
        ca_file: Path | None = None,
        token: str = "",
    ) -> None:
        """``token`` is shown as a bearer token where it is not empty."""
        self._host, self._port = host, port
        authorization = f"Authorization: Bearer {token}\r\n" if token else ""
        self._request = f"GET {path} HTTP/1.0\r\nHost: {host}\r\n{authorization}\r\n".encode()
        self._tls = ssl.create_default_context(cafile=str(ca_file)) if ca_file else None

    async def __call__(self) -> bool:
        """Whether the answer is 200; anything else, no answer among it, is a no."""
        try:
            async with asyncio.timeout(_ANSWER_S):
                return await self._ask()
        except (OSError, TimeoutError):
            return False

    async def _ask(self) -> bool:
        reader, writer = await asyncio.open_connection(self._host, self._port, ssl=self._tls)
        try:
            writer.write(self._request)
            status_line = await reader.readline()
            return status_line.split(maxsplit=2)[1:2] == [_STATUS_OK]
        finally:
            writer.transport.abort()
