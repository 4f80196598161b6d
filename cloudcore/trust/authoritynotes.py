"""Notes in the ledger which nodes have got the newest authority, while it replaces another one.

A node has got it when it connects with a certificate by it, and says that it trusts it. Who has not
would be left behind by ``cloudcore ca finish``. While nothing is replaced nothing is noted, so that
edges which connect cost the API server nothing.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from cryptography import x509
from msgspec import Struct
from msgspec.structs import replace

from cloudcore.trust.authorities import Authorities
from cloudcore.trust.ledger import Ledger
from cloudcore.trust.ledgerentry import Entry, serial_text
from common import pki
from common.delivery.backoff import Backoff, BackoffPolicy
from common.errors import CertificateError, RemoteError
from common.names import NodeID

logger = logging.getLogger(__name__)

_BACKOFF: Final = BackoffPolicy(first_s=0.5, cap_s=30.0)


class Note(Struct, frozen=True):
    """What a node has shown."""

    authority: str
    """Fingerprint of the newest authority that it trusts and has a certificate by."""

    newest: str
    """Fingerprint of the one that it should have."""

    certificate: x509.Certificate

    def apply(self, seen: Entry | None) -> Entry | None:
        """Return what the ledger is to say of the node; None where it says so already.

        A node that has never got anything new is not noted: it is as if it had not connected.
        """
        is_newest = self.authority == self.newest
        known = "" if seen is None else seen.authority
        if known == self.authority or (not is_newest and known != self.newest):
            return None
        if seen is not None:
            return replace(seen, authority=self.authority)
        # It was enrolled by KubeEdge, which keeps no ledger.
        shown = self.certificate
        return Entry(
            serial_text(shown.serial_number),
            shown.not_valid_after_utc,
            issuer=self.authority,
            authority=self.authority,
        )


class AuthorityNotes:
    """Hears what nodes say, and writes down what is new."""

    def __init__(self, ledger: Ledger, authorities: Callable[[], Authorities]) -> None:
        """Write to ``ledger``, as long as one of ``authorities`` is replaced by another."""
        self._ledger, self._authorities = ledger, authorities
        self._told: dict[NodeID, str] = {}
        self._waiting: dict[NodeID, Note] = {}
        self._wake = asyncio.Event()

    def hear(self, node: NodeID, said: Sequence[str], der: Callable[[], bytes]) -> None:
        """Take in that ``node`` has connected; see ``Admission.hear``. It does not wait."""
        authorities = self._authorities()
        if authorities.previous is None:
            self._told.clear()
            self._waiting.clear()
            return
        newest = authorities.fingerprint
        try:
            certificate = pki.load_certificate(der())
        except CertificateError:  # TLS bears with more than we do
            return
        has_newest = newest in said and pki.has_signed(authorities.current.certificate, certificate)
        authority = newest if has_newest else pki.fingerprint(authorities.previous.der)
        if self._told.get(node) != authority:
            self._told[node] = authority
            self._waiting[node] = Note(authority, newest, certificate)
            self._wake.set()

    async def run(self) -> None:
        """Write what was heard, one node after the other, until cancelled.

        What cannot be written is tried again, unless the node has said something else meanwhile.
        """
        backoff = Backoff(_BACKOFF)
        while True:
            await self._wake.wait()
            while self._waiting:
                node, note = next(iter(self._waiting.items()))
                del self._waiting[node]
                try:
                    await self._ledger.change(node, note.apply)
                except RemoteError as error:
                    logger.warning("the ledger is not written", extra={"error": str(error)})
                    self._waiting.setdefault(node, note)
                    await asyncio.sleep(backoff.next_s())
                else:
                    backoff.reset()
            self._wake.clear()
