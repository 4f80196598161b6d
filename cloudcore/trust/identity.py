"""What both servers of cloudcore show: a certificate of the hub's authority, renewed in time.

And which cluster it is that they serve.
"""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from cloudcore.kube.client import KubeClient
from cloudcore.kube.cluster import read_cluster_uid
from cloudcore.trust import authoritystore, credentials
from cloudcore.trust.authorities import Authorities
from common import pki, tls
from common.delivery.backoff import Backoff, BackoffPolicy
from common.errors import CertificateError, ConfigError, RemoteError
from common.names import UID

logger = logging.getLogger(__name__)

_PERIOD_S: Final = 12 * 3600.0
"""How often it is looked whether token and certificate have to be renewed."""

LOOK_S: Final = 5.0
"""How often it is looked whether the authority was rotated. Meanwhile the other cloudcores may have
given out certificates that this one does not accept."""

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


def _nobody(authorities: Authorities) -> None:
    del authorities


class ServerIdentity:
    """The authorities, and the certificate that both servers show; renewed while they run."""

    def __init__(self, cluster: UID, hosts: Sequence[str], folder: Path) -> None:
        """Show a certificate for ``hosts``, whose files lie in ``folder``."""
        self.cluster = cluster
        self._hosts, self._folder = tuple(hosts), folder
        self._dropped: frozenset[str] = frozenset()
        self._authorities: Authorities | None = None
        self._shown = b""
        self.expiries: dict[str, float] = {}
        """Until when the certificates are good, in seconds since the epoch."""
        self._contexts: dict[ssl.VerifyMode, ssl.SSLContext] = {}
        self._changed = asyncio.Event()
        self._lost: Callable[[Authorities], None] = _nobody

    @property
    def authorities(self) -> Authorities:
        """The authorities as they are now: another one after a rotation."""
        assert self._authorities is not None, "used before it is loaded"
        return self._authorities

    def context(self, verify: ssl.VerifyMode) -> Callable[[], ssl.SSLContext]:
        """Return what returns a server's TLS context, as it has to be for the next connection."""
        return lambda: self._contexts[verify]

    def rename(self, hosts: Sequence[str]) -> None:
        """Show a certificate for ``hosts`` soon; what was asked for before and is not now, goes."""
        self._dropped = (self._dropped | set(self._hosts)) - set(hosts)
        self._hosts = tuple(hosts)
        self._changed.set()

    def report(self, lost: Callable[[Authorities], None]) -> None:
        """Call ``lost`` with those that are left each time that an authority is given up."""
        self._lost = lost

    async def load(self, client: KubeClient) -> None:
        """Read or make the authority and the server's certificate, and show that.

        Raises:
            RemoteError, CertificateError: see ``credentials.load_server``.
            OSError: the files cannot be written.
        """
        now = datetime.now(UTC)
        authorities = await authoritystore.load_authorities(client, now)
        dropped = self._dropped
        certificate, key = await credentials.load_server(
            client, authorities, self._hosts, now, dropped
        )
        self._dropped -= dropped  # there may be others by now
        shown = certificate.public_bytes(Encoding.DER) + authorities.pem.encode()
        if shown != self._shown:
            self._show(authorities, certificate, key)
            self._shown = shown
            self._take(authorities)

    async def keep(self, client: KubeClient, *, plain_tokens: bool = True) -> None:
        """See to it that everything is good for long enough, until cancelled.

        A plain token is kept on the API server only where ``plain_tokens`` are taken.

        An authority that is rotated is taken over within ``LOOK_S``, hosts that are exchanged at
        once. What fails is tried again, however often: a token that is not renewed locks new nodes
        out. The same fault is logged once.
        """
        backoff, due_s, told = Backoff(_API_BACKOFF), 0.0, ""
        clock = asyncio.get_running_loop().time
        while True:
            try:
                if await self._is_rotated(client) or self._changed.is_set() or clock() >= due_s:
                    self._changed.clear()
                    await self.load(client)
                    if plain_tokens:
                        await self._publish(client)
                    due_s = clock() + _PERIOD_S
            except (RemoteError, CertificateError, OSError) as error:
                due_s = 0.0
                if str(error) != told:  # it is tried some thousand times a day
                    logger.warning("credentials are not renewed", extra={"error": str(error)})
                told = str(error)
                await asyncio.sleep(backoff.next_s())
            else:
                told = ""
                backoff.reset()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S):
                        await self._changed.wait()

    async def _is_rotated(self, client: KubeClient) -> bool:
        """Whether the API server keeps other authorities than are known.

        Raises:
            CertificateError: it keeps none: a new one is made at the next start, not before, since
                whoever deletes the Secret may have done so by mistake.
        """
        found = await authoritystore.find_authorities(client)
        if found is None:
            raise CertificateError(authoritystore.GONE)
        return found.pem != self.authorities.pem

    async def _publish(self, client: KubeClient) -> None:
        await credentials.publish_token(client, self.authorities.current, datetime.now(UTC))

    def _show(self, authorities: Authorities, certificate: x509.Certificate, key: pki.Key) -> None:
        files = credentials.write_server_files(
            self._folder, certificate, key, authorities.chain_pem
        )
        for verify in (ssl.CERT_OPTIONAL, ssl.CERT_REQUIRED):
            context = tls.server_context(*files, client_ca_pem=authorities.pem)
            context.verify_mode = verify
            self._contexts[verify] = context
        self.expiries = {
            "server": certificate.not_valid_after_utc.timestamp(),
            "authority": authorities.current.certificate.not_valid_after_utc.timestamp(),
        }

    def _take(self, authorities: Authorities) -> None:
        """Sign by ``authorities`` from now on; what is shown is by them already."""
        before, self._authorities = self._authorities, authorities
        if before is None or before.pem == authorities.pem:
            return
        trusted = [pki.fingerprint(one.der) for one in authorities.trusted]
        logger.warning("the authorities have changed", extra={"trusted": ",".join(trusted)})
        if any(authorities.find(pki.fingerprint(one.der)) is None for one in before.trusted):
            self._lost(authorities)


async def load_identity(
    client: KubeClient, hosts: Sequence[str], folder: Path, stop: asyncio.Event
) -> ServerIdentity | None:
    """Return the identity as soon as the API server has it; None if ``stop`` comes first.

    Raises:
        ConfigError: the folder, a host, or what the API server keeps cannot be used.
        RemoteError: the API server refuses.
    """
    backoff = Backoff(_API_BACKOFF)
    while not stop.is_set():
        try:
            cluster = await read_cluster_uid(client)
            identity = ServerIdentity(cluster, hosts, folder)
            await identity.load(client)
        except RemoteError as error:
            if error.status.code not in _WORTH_A_RETRY:
                raise
            logger.warning("the API server is away", extra={"error": str(error)})
        except CertificateError as error:
            raise ConfigError([str(error)]) from error
        except OSError as error:
            raise ConfigError([f"--data-dir: {folder}: {error.strerror}"]) from error
        else:
            return identity
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(backoff.next_s()):
                await stop.wait()
    return None
