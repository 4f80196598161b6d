"""What the ledger says of one node: how it changes, and how it is written. Pure."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudcore.trust import ledgerentry
from cloudcore.trust.ledgerentry import MAX_SINCE, DamagedRecord, Entry
from common.issuing import Issued
from common.names import NodeID

NODE = NodeID("shop-17.example")
NOW = datetime(2026, 11, 24, 9, 31, 4, tzinfo=UTC)
UNTIL = NOW + timedelta(days=365)

moments = st.integers(0, 200 * 365 * 86400).map(lambda s: datetime.fromtimestamp(s, UTC))
entries = st.builds(
    Entry,
    serial=st.text("0123456789abcdef", max_size=40),
    not_after=moments,
    version=st.just("7"),
    key_hash=st.text(max_size=4),
    issuer=st.text(max_size=4),
    revoked_at=st.none() | moments,
    since=st.lists(st.text(max_size=3), max_size=3).map(tuple),
    authority=st.text(max_size=4),
)


def issued(serial: int) -> Issued:
    return Issued(b"", serial, UNTIL, f"key-of-{serial}")


def read(body: bytes) -> dict[str, Any]:
    """Return a record as the API server has it."""
    configmap: dict[str, Any] = msgspec.json.decode(body)
    return configmap


@given(entries)
def test_what_is_written_is_read_again(entry: Entry) -> None:
    configmap = read(ledgerentry.to_configmap(NODE, entry))
    assert ledgerentry.entry_of(configmap) == entry
    assert ledgerentry.node_of(configmap) == NODE
    is_marked = configmap["metadata"]["labels"] == {"cloudedge.io/revoked": "true"}
    assert is_marked == (entry.revoked_at is not None)


def test_what_does_not_apply_is_not_written() -> None:
    entry = ledgerentry.with_issued(None, Issued(b"", 0xABC, UNTIL), "")
    text = read(ledgerentry.to_configmap(NODE, entry))["data"]["certificate"]
    assert text == '{"serial":"abc","notAfter":"2027-11-24T09:31:04Z"}'


def test_what_an_earlier_version_wrote_is_taken_as_it_is() -> None:
    text = '{"serial":"abc","notAfter":"2027-11-24T09:31:04Z"}'
    configmap = read(ledgerentry.taken_over(NODE, text))
    assert ledgerentry.entry_of(configmap) == Entry("abc", UNTIL)


def test_a_certificate_takes_the_place_of_another_and_the_rest_stays() -> None:
    seen = Entry("1", NOW, "7", "key", "old-one", authority="newest")
    assert ledgerentry.with_issued(seen, issued(0xB), "new-one", 1) == Entry(
        "b", UNTIL, "7", "key-of-11", "new-one", authority="newest"
    )


def test_of_a_node_that_was_never_revoked_every_certificate_counts() -> None:
    entry = ledgerentry.with_issued(None, issued(2), "")
    assert all(entry.accepts(serial) for serial in (0, 1, 2, 1 << 159))
    assert not entry.is_shut_out


def test_after_a_revocation_only_newer_certificates_count() -> None:
    entry = ledgerentry.with_issued(None, issued(1), "")
    entry = ledgerentry.with_revoked(entry, NOW)
    assert entry.is_shut_out
    assert not any(entry.accepts(serial) for serial in (0, 1, 2))
    entry = ledgerentry.with_issued(entry, issued(2), "")
    entry = ledgerentry.with_issued(entry, issued(3), "", presented=2)
    assert [entry.accepts(serial) for serial in (0, 1, 2, 3)] == [False, False, True, True]
    assert not entry.is_shut_out
    entry = ledgerentry.with_revoked(entry, UNTIL)
    assert entry.revoked_at == UNTIL
    assert not any(entry.accepts(serial) for serial in (0, 1, 2, 3))


def test_a_node_that_never_got_a_certificate_here_can_be_revoked() -> None:
    entry = ledgerentry.with_revoked(None, NOW)
    assert (entry.serial, entry.version, entry.revoked_at) == ("", "", NOW)
    assert ledgerentry.entry_of(
        read(ledgerentry.to_configmap(NODE, entry))
    ) == ledgerentry.with_revoked(None, NOW)


def test_a_node_whose_answers_get_lost_keeps_the_certificate_that_it_has() -> None:
    entry = ledgerentry.with_revoked(None, NOW)
    entry = ledgerentry.with_issued(entry, issued(1), "")
    for serial in range(2, 5 * MAX_SINCE):
        entry = ledgerentry.with_issued(entry, issued(serial), "", presented=1)
        assert entry.accepts(1)
        assert entry.accepts(serial)
        assert len(entry.since) <= MAX_SINCE
        assert len(set(entry.since)) == len(entry.since)


def test_a_label_alone_revokes() -> None:
    configmap = read(ledgerentry.to_configmap(NODE, Entry("1", NOW)))
    configmap["metadata"]["labels"] = {ledgerentry.REVOKED_LABEL: "true"}
    entry = ledgerentry.entry_of(configmap)
    assert entry.is_shut_out
    assert ledgerentry.SHUT_OUT.is_shut_out
    entry = ledgerentry.with_issued(entry, issued(2), "")
    assert (entry.accepts(1), entry.accepts(2)) == (False, True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        '{"serial":"1","notAfter":"soon"}',
        '{"serial":"1","notAfter":"2027-11-24T09:31:04Z","revokedAt":"once"}',
    ],
)
def test_a_damaged_record_is_named(text: str) -> None:
    configmap = read(ledgerentry.taken_over(NODE, text))
    with pytest.raises(DamagedRecord, match=f"edgecertificate.{NODE}: damaged, delete it"):
        ledgerentry.entry_of(configmap)
    assert ledgerentry.node_of(configmap) == NODE


def test_a_record_tells_whose_it_is_by_its_name_or_not_at_all() -> None:
    assert ledgerentry.node_of({"metadata": {"name": "edgecertificate.n1"}}) == "n1"
    for data in ({}, {"node": "n2"}):
        name = "edgecertificate.n1" if data else "edgecertificate-of.0"
        with pytest.raises(DamagedRecord, match="whose"):
            ledgerentry.node_of({"metadata": {"name": name}, "data": data})


def test_every_node_has_a_record_of_its_own_name() -> None:
    assert ledgerentry.record_name(NODE) == "edgecertificate.shop-17.example"
    nodes = [NodeID(node) for node in ("a..b", "a.-b", "a" * 253, "a" * 252)]
    names = {ledgerentry.record_name(node) for node in nodes}
    assert len(names) == 4
    assert all(len(name) <= 253 and ledgerentry.is_record(name) for name in names)
    assert not ledgerentry.is_record("edgecertificates")
