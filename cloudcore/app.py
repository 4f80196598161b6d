"""The cloud daemon: the only place that builds the modules and knows them all."""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Final

import sdnotify
from aiohttp import web
from prometheus_client import CollectorRegistry

from cloudcore.cloudhub import credentials
from cloudcore.cloudhub.acceptor import AcceptLimits, Acceptor, Listener, bind
from cloudcore.cloudhub.enroll import KEEPALIVE_TIMEOUT_S, MAX_HEADER_BYTES, Enrollment
from cloudcore.cloudhub.hub import CloudHub
from cloudcore.cloudhub.registry import SessionRegistry
from cloudcore.cloudhub.session import SessionServices
from cloudcore.config import CloudCoreSettings
from cloudcore.edgecontroller.controller import EdgeController
from cloudcore.edgecontroller.location import LocationCache
from cloudcore.kube.client import KubeClient
from common import pki, tls
from common.beehive.context import MessageContext
from common.beehive.module import run_modules
from common.config import split_address
from common.delivery.backoff import Backoff, BackoffPolicy
from common.errors import CertificateError, ConfigError, RemoteError
from common.health import Health, monitor
from common.metrics import MessageMetrics
from common.names import ModuleName

logger = logging.getLogger(__name__)

_BEAT_S: Final = 1.0
_TOKEN_PERIOD_S: Final = 12 * 3600.0
_ENROLL_LIMITS: Final = AcceptLimits(handshakes=16, connections=128, lifetime_s=60.0)
_WORTH_A_RETRY: Final = frozenset(
    {
        HTTPStatus.CONFLICT,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
_API_BACKOFF: Final = BackoffPolicy(first_s=0.5, cap_s=10.0)


async def run(settings: CloudCoreSettings, stop: asyncio.Event) -> None:
    """Run cloudcore until ``stop`` is set.

    Raises:
        ConfigError: an option, the kubeconfig or an address cannot be used.
        RemoteError: the API server refuses what cloudcore cannot do without.
        BaseExceptionGroup: a module failed.
    """
    registry, health = CollectorRegistry(), Health()
    metrics = MessageMetrics(registry, "cloudcore")
    health.set_condition("api-server", "has not answered yet")
    async with AsyncExitStack() as opened:
        if settings.monitor_address:
            _open_monitor(opened, settings.monitor_address, health, registry)
        sockets = _bind(settings)
        for one in (*sockets.hub, *sockets.https):
            opened.callback(one.close)
        background = await opened.enter_async_context(asyncio.TaskGroup())
        opened.callback(background.create_task(_beat(health), name="health").cancel)
        client = await opened.enter_async_context(KubeClient(settings.kubeconfig))
        identity = await _identity(client, settings, stop)
        if identity is None:
            return
        health.set_condition("api-server")
        keeping = background.create_task(identity.keep(client, settings), name="credentials")
        opened.callback(keeping.cancel)
        await opened.enter_async_context(_enrollment(sockets.https, identity, client, metrics))
        context, locations = MessageContext(), LocationCache()
        controller = EdgeController(context, client, locations, metrics=metrics, health=health)
        hub = CloudHub(
            sockets.hub,
            identity.context(ssl.CERT_REQUIRED),
            SessionServices(
                context,
                ModuleName.EDGE_CONTROLLER,
                locations,
                metrics,
                settings.max_message_bytes,
                settings.keepalive_s,
            ),
            SessionRegistry(settings.node_limit, registry),
            controller.may_be_edge,
        )
        telling = background.create_task(_tell_systemd(controller.synced, stop), name="sd_notify")
        opened.callback(telling.cancel)
        await run_modules(context, (controller, hub), stop, grace_s=settings.grace_s)


@dataclass(frozen=True, slots=True)
class Sockets:
    """What cloudcore listens on."""

    hub: list[socket.socket]
    https: list[socket.socket]


class ServerIdentity:
    """The authority, and the certificate that both servers show; renewed while they run."""

    def __init__(self, authority: pki.Authority, folder: Path) -> None:
        self.authority = authority
        self._folder = folder
        self._contexts: list[ssl.SSLContext] = []
        self._files: tuple[Path, Path] = (folder, folder)

    def context(self, verify: ssl.VerifyMode) -> ssl.SSLContext:
        """Return a TLS context for a server; it shows the newest certificate from now on."""
        context = tls.server_context(*self._files, client_ca_pem=self.authority.pem)
        context.verify_mode = verify
        self._contexts.append(context)
        return context

    async def load(self, client: KubeClient, hosts: Sequence[str]) -> None:
        """Read or make the server's certificate, and show it.

        Raises:
            RemoteError, CertificateError: see ``credentials.load_server``.
        """
        certificate, key = await credentials.load_server(
            client, self.authority, hosts, datetime.now(UTC)
        )
        self._files = credentials.write_server_files(self._folder, certificate, key)
        for context in self._contexts:
            context.load_cert_chain(*self._files)

    async def keep(self, client: KubeClient, settings: CloudCoreSettings) -> None:
        """Renew the join token twice a day and the certificate in time, until cancelled.

        What fails is tried again, however often: a token that is not renewed locks new nodes out.
        """
        backoff = Backoff(_API_BACKOFF)
        while True:
            try:
                await credentials.publish_token(client, self.authority, datetime.now(UTC))
                await self.load(client, settings.advertise_address)
            except (RemoteError, CertificateError) as error:
                logger.warning("credentials are not renewed", extra={"error": str(error)})
                await asyncio.sleep(backoff.next_s())
            else:
                backoff.reset()
                await asyncio.sleep(_TOKEN_PERIOD_S)


async def _identity(
    client: KubeClient, settings: CloudCoreSettings, stop: asyncio.Event
) -> ServerIdentity | None:
    """Return the identity as soon as the API server has it; None if ``stop`` comes first."""
    backoff = Backoff(_API_BACKOFF)
    while not stop.is_set():
        try:
            authority = await credentials.load_authority(client, datetime.now(UTC))
            identity = ServerIdentity(authority, settings.data_dir)
            await identity.load(client, settings.advertise_address)
        except RemoteError as error:
            if error.status.code not in _WORTH_A_RETRY:
                raise
            logger.warning("the API server is away", extra={"error": str(error)})
        except CertificateError as error:
            raise ConfigError([str(error)]) from error
        except OSError as error:
            raise ConfigError([f"--data-dir: {settings.data_dir}: {error.strerror}"]) from error
        else:
            return identity
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(backoff.next_s()):
                await stop.wait()
    return None


def _bind(settings: CloudCoreSettings) -> Sockets:
    try:
        hub = bind([(settings.websocket_address, settings.websocket_port)])
    except OSError as error:
        raise ConfigError([f"--websocket-port: {error.strerror}"]) from error
    try:
        return Sockets(hub, bind([(settings.https_address, settings.https_port)]))
    except OSError as error:
        for one in hub:
            one.close()
        raise ConfigError([f"--https-port: {error.strerror}"]) from error


@asynccontextmanager
async def _enrollment(
    sockets: Sequence[socket.socket],
    identity: ServerIdentity,
    client: KubeClient,
    metrics: MessageMetrics,
) -> AsyncIterator[None]:
    """Serve enrolment while the context lasts."""
    enrollment = Enrollment(client, identity.authority, metrics, lambda: datetime.now(UTC))
    runner = web.AppRunner(
        enrollment.application(),
        access_log=None,
        keepalive_timeout=KEEPALIVE_TIMEOUT_S,
        max_line_size=MAX_HEADER_BYTES,
        max_field_size=MAX_HEADER_BYTES,
    )
    await runner.setup()
    server = runner.server
    assert server is not None
    acceptor = Acceptor(
        sockets,
        Listener(
            "https",
            identity.context(ssl.CERT_OPTIONAL),
            server,
            lambda: len(server.connections),
        ),
        _ENROLL_LIMITS,
        metrics,
    )
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(acceptor.run(), name="https server")
            try:
                yield
            finally:
                acceptor.close()
    finally:
        await runner.cleanup()


def _open_monitor(
    opened: AsyncExitStack, address: str, health: Health, registry: CollectorRegistry
) -> None:
    try:
        opened.enter_context(monitor(split_address(address), health, registry))
    except OSError as error:
        raise ConfigError([f"--monitor-address: {address}: {error.strerror}"]) from error


async def _beat(health: Health) -> None:
    while True:
        health.beat()
        await asyncio.sleep(_BEAT_S)


async def _tell_systemd(synced: asyncio.Event, stop: asyncio.Event) -> None:
    """Say READY once the caches are in step, and STOPPING when it stops."""
    systemd = sdnotify.SystemdNotifier()
    await synced.wait()
    logger.info("cloudcore is ready")
    systemd.notify("READY=1")
    await stop.wait()
    logger.info("cloudcore stops")
    systemd.notify("STOPPING=1")
