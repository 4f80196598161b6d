"""An edge's numbers, from a folder of the test; only what would tell them is made up."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from common import issuing
from edgecore.figures import Facts


class Edge:
    """What an edge would tell of itself."""

    def __init__(self, folder: Path) -> None:
        self.fault = ""
        self.registry = CollectorRegistry()
        self.store, self.certificate = folder / "edge-store.db", folder / "node.pem"
        Facts(
            pods=lambda: {"Running": 2, "Pending": 1},
            offline_s=lambda: 7.5,
            waiting=lambda: 3,
            objects=lambda: 4,
            runtime_fault=lambda: self.fault,
            clock_offset_s=lambda: -0.25,
            pending=lambda: {"edged": 5},
            store=self.store,
            certificate=self.certificate,
        ).show(self.registry)

    def number(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"edgecore_{name}", labels)


@pytest.fixture
def edge(tmp_path: Path) -> Edge:
    return Edge(tmp_path)


def test_what_the_modules_tell_is_shown(edge: Edge) -> None:
    assert edge.number("pods", phase="Running") == 2
    assert edge.number("offline_seconds") == 7.5
    assert edge.number("outbox_messages") == 3
    assert edge.number("store_objects") == 4
    assert edge.number("clock_offset_seconds") == -0.25
    assert edge.number("mailbox_messages", module="edged") == 5


def test_the_runtime_is_up_unless_something_is_wrong_with_it(edge: Edge) -> None:
    assert edge.number("runtime_up") == 1
    edge.fault = "connection refused"
    assert edge.number("runtime_up") == 0


def test_the_store_is_as_large_as_its_files(edge: Edge) -> None:
    assert edge.number("store_bytes") == 0
    edge.store.write_bytes(b"x" * 100)
    edge.store.with_name("edge-store.db-wal").write_bytes(b"x" * 10)
    assert edge.number("store_bytes") == 110


def test_the_end_of_the_certificate_is_shown_where_there_is_one(edge: Edge) -> None:
    assert edge.number("certificate_expiry_timestamp_seconds") is None
    edge.certificate.write_text("not a certificate")
    assert edge.number("certificate_expiry_timestamp_seconds") is None
    now = datetime.now(UTC).replace(microsecond=0)
    authority = issuing.new_authority(now)
    edge.certificate.write_text(authority.pem)
    until = edge.number("certificate_expiry_timestamp_seconds")
    assert until is not None
    assert until > (now + timedelta(days=1)).timestamp()
    assert until == authority.certificate.not_valid_after_utc.timestamp()
