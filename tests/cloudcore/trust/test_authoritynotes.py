"""Who has got the newest authority. Real: the ledger at the API server, and cryptography.

One ledger is a test double, whose first writes fail.
"""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from cloudcore.kube.client import KubeClient
from cloudcore.trust import authoritystore
from cloudcore.trust.authorities import Authorities
from cloudcore.trust.authoritynotes import AuthorityNotes, Note
from cloudcore.trust.ledger import Change, Ledger
from cloudcore.trust.ledgerentry import Entry, serial_text
from common import issuing, pki, subjects
from common.errors import RemoteError
from common.names import NodeID
from common.status import failure
from tests.cloudcore.cluster import eventually, unique

NOW = datetime.now(UTC).replace(microsecond=0)
OLD, NEW = issuing.new_authority(NOW), issuing.next_authority(NOW)
BOTH = Authorities(NEW, OLD, issuing.cross_sign(OLD, NEW, NOW).public_bytes(Encoding.DER))
OLD_HASH, NEW_HASH = pki.fingerprint(OLD.der), pki.fingerprint(NEW.der)


def issued(node: str, signer: issuing.Authority) -> issuing.Issued:
    name = NodeID(node)
    return issuing.issue_node(signer, subjects.new_csr(pki.new_key(), name), name, NOW)


CERTIFICATE = pki.load_certificate(issued("n1", NEW).der)


def note(authority: str) -> Note:
    return Note(authority, NEW_HASH, CERTIFICATE)


def entry(authority: str) -> Entry:
    return Entry("abc", NOW, "7", issuer=OLD_HASH, authority=authority)


@pytest.mark.parametrize("known", ["", OLD_HASH])
def test_a_node_that_has_it_is_noted(known: str) -> None:
    noted = note(NEW_HASH).apply(entry(known))
    assert noted == entry(NEW_HASH), "and nothing else has changed"


def test_a_node_that_has_gone_back_is_noted() -> None:
    assert note(OLD_HASH).apply(entry(NEW_HASH)) == entry(OLD_HASH)


def test_what_is_known_is_not_written_again() -> None:
    assert note(NEW_HASH).apply(entry(NEW_HASH)) is None
    assert note(OLD_HASH).apply(entry(OLD_HASH)) is None
    assert note(OLD_HASH).apply(entry("")) is None
    assert note(OLD_HASH).apply(None) is None


def test_a_node_that_kubeedge_has_enrolled_gets_an_entry() -> None:
    noted = note(NEW_HASH).apply(None)
    assert noted is not None
    assert noted.serial == serial_text(CERTIFICATE.serial_number)
    assert noted.not_after == CERTIFICATE.not_valid_after_utc
    assert noted.authority == noted.issuer == NEW_HASH


@pytest.fixture
async def ledger(client: KubeClient) -> Ledger:
    await authoritystore.load_authorities(client, NOW)  # makes the namespace
    return Ledger(client)


async def authority_of(ledger: Ledger, node: NodeID) -> str:
    found = await ledger.find(node)
    return "" if found is None else found.authority


@pytest.mark.e2e
async def test_who_trusts_it_and_has_a_certificate_by_it_has_got_it(ledger: Ledger) -> None:
    notes = AuthorityNotes(ledger, lambda: BOTH)
    done, half, deaf = (NodeID(unique("n")) for _ in range(3))
    for node in (done, half, deaf):
        await ledger.record(node, issued(node, OLD), None, issuer=OLD_HASH)
    notes.hear(half, [NEW_HASH], lambda: issued(half, OLD).der)
    notes.hear(deaf, [OLD_HASH], lambda: issued(deaf, NEW).der)
    notes.hear(done, [NEW_HASH], lambda: issued(done, NEW).der)
    async with asyncio.TaskGroup() as group:
        writing = group.create_task(notes.run())
        await eventually(lambda: is_noted(ledger, done, NEW_HASH))
        writing.cancel()
    assert await authority_of(ledger, half) == ""
    assert await authority_of(ledger, deaf) == ""


async def is_noted(ledger: Ledger, node: NodeID, authority: str) -> bool:
    return await authority_of(ledger, node) == authority


class Counting(Ledger):
    """A ledger that keeps who was written to, and fails at first."""

    def __init__(self, failures: int = 0) -> None:
        self.asked: list[NodeID] = []
        self.failures = failures

    async def change(self, node: NodeID, change: Change) -> Any:
        self.asked.append(node)
        if self.failures:
            self.failures -= 1
            raise RemoteError(failure(503, "away for the moment"))
        return change(None)


async def test_who_says_the_same_again_costs_nothing() -> None:
    ledger = Counting()
    notes, der = AuthorityNotes(ledger, lambda: BOTH), issued("n1", NEW).der
    async with asyncio.TaskGroup() as group:
        writing = group.create_task(notes.run())
        for _ in range(3):
            notes.hear(NodeID("n1"), [NEW_HASH], lambda: der)
            notes.hear(NodeID("n2"), [NEW_HASH], lambda: der)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        writing.cancel()
    assert ledger.asked == ["n1", "n2"]


async def test_while_nothing_is_replaced_nothing_is_looked_at() -> None:
    authorities = [Authorities(NEW)]
    ledger = Counting()
    notes = AuthorityNotes(ledger, lambda: authorities[0])

    def unasked() -> bytes:
        raise AssertionError("nobody asks for it")

    notes.hear(NodeID("n1"), [NEW_HASH], unasked)
    authorities[0] = BOTH
    notes.hear(NodeID("n1"), [NEW_HASH], lambda: issued("n1", NEW).der)
    authorities[0] = Authorities(NEW)
    notes.hear(NodeID("n1"), [NEW_HASH], unasked)
    async with asyncio.TaskGroup() as group:
        writing = group.create_task(notes.run())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        writing.cancel()
    assert ledger.asked == [], "what waited is of no use any more"


async def test_what_cannot_be_written_is_written_later() -> None:
    ledger = Counting(failures=2)
    notes = AuthorityNotes(ledger, lambda: BOTH)
    notes.hear(NodeID("n1"), [NEW_HASH], lambda: issued("n1", NEW).der)

    async def is_written() -> bool:
        return len(ledger.asked) == 3

    async with asyncio.TaskGroup() as group:
        writing = group.create_task(notes.run())
        await eventually(is_written)
        writing.cancel()
    assert set(ledger.asked) == {"n1"}


async def test_a_certificate_that_cannot_be_read_is_passed_over() -> None:
    notes = AuthorityNotes(Counting(), lambda: BOTH)
    notes.hear(NodeID("n1"), [NEW_HASH], lambda: b"what TLS bears with")
