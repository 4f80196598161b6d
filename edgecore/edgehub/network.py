"""What EdgeHub needs of a network, so that a made-up one can stand in for the real one."""

import random
import ssl
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from msgspec import Struct

from common.capabilities import Capabilities
from common.names import PeerProtocol
from edgecore.edgehub import link


class OpenLink(Protocol):
    """A connection to the cloud; ``edgecore.edgehub.link.Link`` says what each part promises.

    What fails raises ``LinkLostError``.
    """

    @property
    def protocol(self) -> PeerProtocol:
        """What the cloud agreed to speak."""

    @property
    def capabilities(self) -> Capabilities:
        """What both ends can do."""

    @property
    def cluster(self) -> str:
        """UID of the cloud's cluster; "" where the cloud does not say."""

    @property
    def authority(self) -> str:
        """Fingerprint of the authority that the cloud signs by; "" where it does not say."""

    @property
    def version(self) -> str:
        """Version of the cloud; "" where it does not say."""

    @property
    def certificate(self) -> bytes:
        """The cloud's certificate, DER."""

    def idle_s(self) -> float:
        """Return for how many seconds no byte has come."""

    async def send_text(self, text: bytes) -> None:
        """Write one text frame."""

    async def send_binary(self, payload: bytes) -> None:
        """Write one binary frame."""

    async def receive(self) -> str | bytes:
        """Return the next frame: text, or the bytes of a binary one."""

    async def ping(self, patience_s: float) -> None:
        """Ask for a sign of life, which shows in ``idle_s``."""

    async def close(self, code: int, reason: str) -> None:
        """End the connection and say why."""


class Dial(Protocol):
    """Opens a connection for as long as the context lasts, as ``edgecore.edgehub.link.dial``."""

    def __call__(
        self, uri: str, headers: Mapping[str, str], tls: ssl.SSLContext, *, handshake_s: float
    ) -> AbstractAsyncContextManager[OpenLink]:
        """Return the connection's context."""


class Credentials(Protocol):
    """Who this node is, to the cloud; see ``edgecore.edgehub.identity.Identity``."""

    async def tls(self) -> ssl.SSLContext:
        """Return a context that shows the node's certificate."""

    async def doubt(self) -> None:
        """Look whether the certificate is at fault: TLS has failed over one."""

    async def keep(self) -> None:
        """See to it that the certificate is renewed in time, until cancelled."""


class Network(Struct, frozen=True):
    """The world outside, as far as EdgeHub sees it."""

    dial: Dial = link.dial
    random_unit: Callable[[], float] = random.random
    """Numbers in [0, 1): for pauses, and for the phase of the beats."""
