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

from cloudcore.cloudhub import credentials
from cloudcore.kube.client import KubeClient
from cloudcore.kube.cluster import read_cluster_uid
from common import pki, tls
from common.delivery.backoff import Backoff, BackoffPolicy
from common.errors import CertificateError, ConfigError, RemoteError
from common.names import UID

logger = logging.getLogger(__name__)

_TOKEN_PERIOD_S: Final = 12 * 3600.0
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


class ServerIdentity:
    """The authority, and the certificate that both servers show; renewed while they run."""

    def __init__(
        self, cluster: UID, authority: pki.Authority, hosts: Sequence[str], folder: Path
    ) -> None:
        """Show a certificate of ``authority`` for ``hosts``, whose files lie in ``folder``."""
        self.cluster, self.authority = cluster, authority
        self._hosts, self._folder = hosts, folder
        self._contexts: list[ssl.SSLContext] = []
        self._files: tuple[Path, Path] = (folder, folder)

    def context(self, verify: ssl.VerifyMode) -> Callable[[], ssl.SSLContext]:
        """Return what returns a server's TLS context, for each of its connections."""
        context = tls.server_context(*self._files, client_ca_pem=self.authority.pem)
        context.verify_mode = verify
        self._contexts.append(context)
        return lambda: context

    async def load(self, client: KubeClient) -> None:
        """Read or make the server's certificate, and show it.

        Raises:
            RemoteError, CertificateError: see ``credentials.load_server``.
        """
        certificate, key = await credentials.load_server(
            client, self.authority, self._hosts, datetime.now(UTC)
        )
        self._files = credentials.write_server_files(self._folder, certificate, key)
        for context in self._contexts:
            context.load_cert_chain(*self._files)

    async def keep(self, client: KubeClient) -> None:
        """See to it that join token and certificate are good for long enough, until cancelled.

        What fails is tried again, however often: a token that is not renewed locks new nodes out.
        """
        backoff = Backoff(_API_BACKOFF)
        while True:
            try:
                await credentials.publish_token(client, self.authority, datetime.now(UTC))
                await self.load(client)
            except (RemoteError, CertificateError, OSError) as error:
                logger.warning("credentials are not renewed", extra={"error": str(error)})
                await asyncio.sleep(backoff.next_s())
            else:
                backoff.reset()
                await asyncio.sleep(_TOKEN_PERIOD_S)


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
            authority = await credentials.load_authority(client, datetime.now(UTC))
            identity = ServerIdentity(cluster, authority, hosts, folder)
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
