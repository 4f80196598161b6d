"""One HTTP session with the API server, and the credentials that it shows there.

Credentials, TLS and the connection pool are those of ``kubernetes.aio``. A 401 makes the
credentials be read again, so that rotated token files and exec plugins are followed; the request
is then made once more. The failures of the libraries leave here as ``RemoteError``.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Final
from urllib.request import getproxies

import aiohttp
import yaml
import yarl
from kubernetes.aio import config as kube_config
from kubernetes.aio.client import Configuration
from kubernetes.aio.client.rest import RESTClientObject
from msgspec import Struct, field

from common.errors import ConfigError, RemoteError
from common.status import failure

CONNECT_TIMEOUT_S: Final = 10.0
MAX_CONNECTIONS: Final = 320
"""More than all who ask at a time, so that nobody waits here behind what is less urgent."""

_JSON: Final = "application/json"

# These functions of the library carry no types.
_load_kubeconfig: Any = kube_config.load_kube_config
_load_in_cluster: Any = kube_config.load_incluster_config

# What the library lets out for a file that is not there, no YAML, or another thing altogether.
_UNREADABLE: Final = (
    kube_config.ConfigException,
    yaml.YAMLError,
    AttributeError,
    KeyError,
    OSError,
    TypeError,
    ValueError,
)


class Request(Struct, frozen=True):
    """A request as it is to be sent."""

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class _Sessions(RESTClientObject):
    """The library's TLS and connection settings, and a session that sends what it is given."""

    def open(self) -> aiohttp.ClientSession:
        return self._create_pool_manager()

    def _create_connector(self) -> aiohttp.TCPConnector:
        return aiohttp.TCPConnector(
            limit=self.maxsize,
            ssl=self.ssl_context,
            # Older Pythons keep a TLS connection for ever whose peer does not say goodbye.
            enable_cleanup_closed=aiohttp.connector.NEEDS_CLEANUP_CLOSED,
        )


class Transport:
    """The connections to one API server."""

    def __init__(self, kubeconfig: Path | None) -> None:
        """Make a transport that is not open; ``kubeconfig`` is None inside a pod."""
        self._kubeconfig = kubeconfig
        self._configuration = Configuration(
            connection_pool_maxsize=MAX_CONNECTIONS,
            client_session_kwargs={
                # With trust_env each request looks for proxies and for a .netrc file.
                "trust_env": bool(getproxies()),
                "cookie_jar": aiohttp.DummyCookieJar(),
            },
        )
        self._sessions: _Sessions | None = None
        self._session: aiohttp.ClientSession | None = None
        self._generation = 0  # of the credentials
        self._renewing = asyncio.Lock()

    async def open(self) -> None:
        """Read the credentials; nothing is sent yet.

        Raises:
            ConfigError: the kubeconfig, or what a pod should have in its place, cannot be used.
        """
        try:
            await self._load_credentials()
            self._sessions = _Sessions(self._configuration)
        except OSError as error:
            raise ConfigError([f"--kubeconfig: {error.filename}: {error.strerror}"]) from error
        except _UNREADABLE as error:
            if self._kubeconfig is None:
                fault = f"must be given outside a pod (in-cluster configuration: {error})"
            else:
                fault = f"{self._kubeconfig}: does not say how to reach an API server: {error}"
            raise ConfigError([f"--kubeconfig: {fault}"]) from error
        self._session = self._sessions.open()

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            await asyncio.sleep(0)  # sockets are closed by callbacks

    @property
    def server(self) -> str:
        """The address of the API server."""
        return str(self._configuration.host)

    @property
    def ca_file(self) -> Path | None:
        """The certificate authority that proves the API server, in PEM."""
        file = self._configuration.ssl_ca_cert
        return Path(file) if file else None

    @asynccontextmanager
    async def send(
        self, request: Request, *, silence_s: float | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send ``request`` and yield the response, whatever its status, to be read.

        Args:
            request: what to send.
            silence_s: seconds without a byte after which the response counts as broken.

        Raises:
            RemoteError: 503, no connection or a broken one; 504, silent for too long.
        """
        with _Translated():
            generation = self._generation
            response = await self._attempt(request, silence_s)
            if response.status == HTTPStatus.UNAUTHORIZED:
                response.release()
                await self._renew_credentials(generation)
                response = await self._attempt(request, silence_s)
            async with response:
                try:
                    yield response
                except BaseException:
                    _abort(response)
                    raise

    async def _attempt(self, request: Request, silence_s: float | None) -> aiohttp.ClientResponse:
        assert self._session is not None, "used before it is open"
        return await self._session.request(
            request.method,
            yarl.URL(f"{self.server}{request.path}", encoded=True).update_query(request.params),
            data=request.body or None,
            headers={"Accept": _JSON, **request.headers, **await self._authorization()},
            timeout=aiohttp.ClientTimeout(
                total=None, connect=CONNECT_TIMEOUT_S, sock_read=silence_s
            ),
            allow_redirects=False,
            proxy=self._configuration.proxy or None,
            server_hostname=self._configuration.tls_server_name or None,
        )

    async def _authorization(self) -> dict[str, str]:
        settings: dict[str, Any] = {**await self._configuration.auth_settings()}
        return {one["key"]: one["value"] for one in settings.values()}

    async def _load_credentials(self) -> None:
        if self._kubeconfig is None:
            _load_in_cluster(client_configuration=self._configuration)
        else:
            self._kubeconfig.open("rb").close()  # the library would take a missing file for empty
            await _load_kubeconfig(
                config_file=str(self._kubeconfig),
                client_configuration=self._configuration,
                persist_config=False,
            )

    async def _renew_credentials(self, generation: int) -> None:
        """Read the credentials again, unless somebody has since they were of ``generation``."""
        async with self._renewing:
            if self._generation != generation:
                return
            self._generation += 1
            try:
                await self._load_credentials()
            except _UNREADABLE as error:
                status = failure(401, f"credentials are refused, and there are no others: {error}")
                raise RemoteError(status) from error
            if self._configuration.cert_file and self._sessions is not None:
                context: ssl.SSLContext = self._sessions.ssl_context
                context.load_cert_chain(self._configuration.cert_file, self._configuration.key_file)


def _abort(response: aiohttp.ClientResponse) -> None:
    """Cut a response that is left before its end: nobody would wait for the farewells of TLS."""
    connection = response.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()


class _Translated:
    """A context in which the failures of the libraries become ``RemoteError``."""

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        match error:
            case TimeoutError():
                status = failure(504, "the API server did not answer in time")
            case aiohttp.ClientError() | OSError():
                status = failure(503, f"the API server cannot be reached: {error}")
            case _:
                return
        raise RemoteError(status) from error
