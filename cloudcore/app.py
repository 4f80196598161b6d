"""The cloud daemon: the only place that builds the modules and knows them all."""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.metadata import version
from typing import Final

from msgspec import Struct

from cloudcore.cloudhub.acceptor import bind
from cloudcore.cloudhub.handshake import Terms
from cloudcore.cloudhub.hub import CloudHub, Gate, HubConfig
from cloudcore.cloudhub.registry import SessionRegistry
from cloudcore.cloudhub.server import node_named
from cloudcore.config import CloudCoreSettings
from cloudcore.edgecontroller.context import ControllerContext
from cloudcore.edgecontroller.controller import EdgeController
from cloudcore.edgecontroller.location import LocationCache
from cloudcore.kube.client import KubeClient
from cloudcore.kube.figures import RequestFigures
from cloudcore.metrics import CloudMetrics
from cloudcore.reloading import Reloading
from cloudcore.trust.authoritynotes import AuthorityNotes
from cloudcore.trust.enroll import Enrollment, EnrollTerms
from cloudcore.trust.identity import ServerIdentity, load_identity
from cloudcore.trust.ledger import Ledger
from cloudcore.trust.nameless import Nameless
from cloudcore.trust.revocations import Revocations
from cloudcore.trust.tokenrecords import TokenRecords
from common import pki
from common.beehive.context import MessageContext
from common.beehive.module import run_modules
from common.errors import ConfigError
from common.health import Health
from common.metrics import Figures, show_process
from common.monitor import monitor
from common.names import ModuleName
from common.systemd import keep_alive, notify

logger = logging.getLogger(__name__)

_BEAT_S: Final = 1.0
_AWAITED: Final = {
    "api-server": "has not answered yet",
    "authority": "is not loaded yet",
    "revocations": "are not listed yet",
}
"""What cloudcore is not ready without, and what it is until then."""


async def run(
    settings: CloudCoreSettings,
    stop: asyncio.Event,
    *,
    reread: Callable[[], CloudCoreSettings] | None = None,
) -> None:
    """Run cloudcore until ``stop`` is set.

    Args:
        settings: the configuration.
        stop: ends it.
        reread: reads the configuration again, which SIGHUP asks for; None where nothing does.

    Raises:
        ConfigError: an option, the kubeconfig or an address cannot be used.
        RemoteError: the API server refuses what cloudcore cannot do without.
        BaseExceptionGroup: a module failed.
    """
    registry, health = Figures(), Health()
    metrics, asked = CloudMetrics(registry), RequestFigures(registry)
    show_process(registry, "cloudcore")
    for name, problem in _AWAITED.items():
        health.set_condition(name, problem)
    reloading = None if reread is None else Reloading(settings, reread)
    async with AsyncExitStack() as opened:
        opened.enter_context(monitor(settings.monitor_endpoint(), health, registry))
        sockets = _bind(settings)
        for one in (*sockets.hub, *sockets.https):
            opened.callback(one.close)
        background = await opened.enter_async_context(asyncio.TaskGroup())
        opened.callback(background.create_task(_beat(health), name="health").cancel)
        client = await opened.enter_async_context(
            KubeClient(
                settings.kubeconfig,
                is_constrained=settings.constrained_impersonation,
                figures=asked,
            )
        )
        identity = await load_identity(client, settings.advertise_address, settings.data_dir, stop)
        if identity is None:
            return
        _tell_identity(health, metrics, identity)
        health.remark("api-server", partial(_answered, asked, asyncio.get_running_loop().time))
        keeping = background.create_task(
            identity.keep(client, plain_tokens=settings.plain_tokens), name="credentials"
        )
        opened.callback(keeping.cancel)
        if reloading is not None:
            renaming = background.create_task(reloading.run(identity.rename), name="reloading")
            opened.callback(renaming.cancel)
        records = TokenRecords(client)
        clearing = background.create_task(records.keep_clear(_now), name="token records")
        opened.callback(clearing.cancel)
        nameless = Nameless() if settings.nameless_certificates else None
        if nameless is not None:
            await nameless.load(Ledger(client))
            learning = background.create_task(nameless.keep(Ledger(client)), name="nameless")
            opened.callback(learning.cancel)
        enrollment = Enrollment(
            client,
            lambda: identity.authorities,
            metrics,
            _now,
            EnrollTerms(
                settings.plain_tokens,
                timedelta(days=settings.renewal_grace_days),
                timedelta(days=settings.certificate_days),
                nameless,
            ),
        )
        await opened.enter_async_context(
            enrollment.served(sockets.https, identity.context(ssl.CERT_OPTIONAL))
        )
        notes = AuthorityNotes(Ledger(client), lambda: identity.authorities)
        noting = background.create_task(notes.run(), name="authority notes")
        opened.callback(noting.cancel)
        context, locations = MessageContext(), LocationCache()
        sessions = SessionRegistry(settings.node_limit, registry)
        controller = EdgeController(
            context,
            client,
            locations,
            metrics=metrics,
            health=health,
            context=ControllerContext(
                backlog=sessions.backlog, default_toleration_s=settings.default_toleration_s
            ),
        )
        revocations = Revocations(client, metrics)
        health.judge("revocations", revocations.missing)
        metrics.mailboxes.read = context.pending
        hub = CloudHub(
            context,
            ModuleName.EDGE_CONTROLLER,
            locations,
            sessions,
            Gate(
                controller.may_be_edge,
                lambda: _both_known(controller.synced, revocations),
                revocations.is_revoked,
                signer_of=lambda der: identity.authorities.name_signer_of(der()),
                hear=notes.hear,
                node_of=node_named if nameless is None else nameless.node_of,
            ),
            metrics=metrics,
            config=HubConfig(
                settings.max_message_bytes,
                settings.keepalive_s,
                Terms(
                    settings.capabilities,
                    identity.cluster,
                    lambda: identity.authorities.fingerprint,
                    version("cloudedge"),
                ),
                settings.connections_per_address,
            ),
            door=(sockets.hub, identity.context(ssl.CERT_REQUIRED)),
        )
        identity.report(
            lambda now: hub.end_untrusted([pki.fingerprint(one.der) for one in now.trusted])
        )
        following = background.create_task(revocations.run(hub.end_revoked), name="revocations")
        opened.callback(following.cancel)
        telling = background.create_task(_tell_systemd(controller.synced, stop), name="sd_notify")
        opened.callback(telling.cancel)
        living = background.create_task(
            keep_alive(partial(context.turns, ModuleName.CLOUD_HUB)), name="watchdog"
        )
        opened.callback(living.cancel)
        await run_modules(context, (controller, hub), stop, grace_s=settings.grace_s)


class Sockets(Struct, frozen=True):
    """What cloudcore listens on."""

    hub: list[socket.socket]
    https: list[socket.socket]


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


def _tell_identity(health: Health, metrics: CloudMetrics, identity: ServerIdentity) -> None:
    health.set_condition("api-server")
    health.set_condition("authority")
    metrics.certificate_expiry.read = lambda: identity.expiries


def _answered(asked: RequestFigures, clock: Callable[[], float]) -> str:
    last_s = asked.answered_s
    return "has not answered yet" if last_s is None else f"answered {clock() - last_s:.0f} s ago"


def _now() -> datetime:
    return datetime.now(UTC)


async def _both_known(synced: asyncio.Event, revocations: Revocations) -> None:
    await revocations.ready()
    await synced.wait()


async def _beat(health: Health) -> None:
    while True:
        health.beat()
        await asyncio.sleep(_BEAT_S)


async def _tell_systemd(synced: asyncio.Event, stop: asyncio.Event) -> None:
    """Say READY once the caches are in step, and STOPPING when it stops."""
    await synced.wait()
    logger.info("cloudcore is ready")
    notify("READY=1")
    await stop.wait()
    logger.info("cloudcore stops")
    notify("STOPPING=1")
