"""Looking at an edge's disk: a real edge-store, real certificates and tokens of a real form."""

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from common import issuing, pki, subjects
from common.names import NodeID
from edgecore.config import EdgeCoreSettings
from edgecore.doctor.lookkept import authorities_of, look
from edgecore.edgestore.database import Database
from edgecore.edgestore.records import Put, SetState
from tests.edgecore.edgestore.objects import stored

NODE = NodeID("edge-1")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
AUTHORITY = issuing.new_authority(NOW)


def token(hashed: str, **claims: object) -> str:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"{hashed}.e30.{payload}.c2ln"


def settings(folder: Path, **told: object) -> EdgeCoreSettings:
    return EdgeCoreSettings(cloud="c", data_dir=folder, node_name=NODE, **told)  # type: ignore[arg-type] # options by name


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "edge"
    database = Database(folder / "edge-store.db")
    database.open()
    secret = stored("default/secret/s", value=b"{}")
    database.commit(
        [Put(secret), SetState("complete", "yes"), SetState("time", "2090-01-01T00:00:00Z")]
    )
    issued = issuing.issue_node(AUTHORITY, subjects.new_csr(pki.new_key(), NODE), NODE, NOW)
    (folder / "pki").mkdir()
    (folder / "pki" / f"{NODE}.pem").write_text(pki.cert_to_pem(issued.der))
    (folder / "pki" / "ca.crt").write_text(AUTHORITY.pem)
    yield folder
    database.close()


def test_an_edge_in_order_is_seen_as_one(folder: Path) -> None:
    kept = look(folder, NODE, settings(folder))
    assert (kept.folder.mode, kept.folder.is_ours, kept.folder.error) == (0o700, True, "")
    assert kept.folder.free_bytes > 0
    assert (kept.store.error, kept.store.fault, kept.store.is_opened) == ("", "", True)
    assert kept.store.is_complete
    assert kept.certificate.node == NODE
    assert kept.certificate.is_of_authority
    assert kept.certificate.until is not None
    assert kept.token.where == ""


def test_the_time_that_the_cloud_told_counts_where_it_is_later(folder: Path) -> None:
    assert look(folder, NODE, None).now == datetime(2090, 1, 1, tzinfo=UTC)


def test_looking_writes_nothing(folder: Path) -> None:
    before = sorted(one.name for one in folder.iterdir())
    look(folder, NODE, settings(folder))
    assert sorted(one.name for one in folder.iterdir()) == before
    assert "lock" not in before


def test_a_machine_that_never_joined_has_nothing(tmp_path: Path) -> None:
    kept = look(tmp_path / "none", NODE, None)
    assert kept.folder.mode is None
    assert not kept.store.is_there
    assert not kept.certificate.is_there
    assert authorities_of(tmp_path) == []


def test_a_store_that_cannot_be_read_is_told(folder: Path) -> None:
    (folder / "other").mkdir()
    (folder / "other" / "edge-store.db").write_bytes(b"no database" * 1000)
    assert "damaged" in look(folder / "other", NODE, None).store.error


def test_a_certificate_of_another_authority_is_seen(folder: Path) -> None:
    (folder / "pki" / "ca.crt").write_text(issuing.new_authority(NOW).pem)
    assert not look(folder, NODE, None).certificate.is_of_authority


def test_what_is_no_certificate_is_told(folder: Path) -> None:
    file = folder / "pki" / f"{NODE}.pem"
    file.write_text("nothing")
    assert "not a certificate" in look(folder, NODE, None).certificate.error
    file.unlink()
    file.mkdir()
    assert "directory" in look(folder, NODE, None).certificate.error


def test_a_token_is_read_for_its_end_and_is_never_told(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "token"
    end = NOW + timedelta(days=1)
    file.write_text(token(pki.fingerprint(AUTHORITY.der), exp=end.timestamp(), node=NODE))
    found = look(folder, NODE, settings(folder, token_file=file)).token
    assert (found.where, found.expires, found.node) == (str(file), end, NODE)
    assert found.is_of_authority is True
    assert file.read_text() not in repr(found)


def test_a_token_of_another_authority_is_seen(folder: Path) -> None:
    found = look(folder, NODE, settings(folder, token=token("ab" * 32, exp="odd", node=7))).token
    assert found.where == "--token"
    assert (found.is_of_authority, found.expires, found.node) == (False, None, None)


@pytest.mark.parametrize("text", ["", "a.b", "a.b.!.d", "a.b.W10.d", "a.b.e.d"])
def test_what_is_no_token_is_told(folder: Path, tmp_path: Path, text: str) -> None:
    file = tmp_path / "token"
    file.write_text(text)
    assert "is no token" in look(folder, NODE, settings(folder, token_file=file)).token.error


def test_a_token_file_that_is_missing_is_told(folder: Path, tmp_path: Path) -> None:
    found = look(folder, NODE, settings(folder, token_file=tmp_path / "none")).token
    assert "No such file" in found.error


def test_a_token_from_standard_input_is_gone(folder: Path) -> None:
    assert look(folder, NODE, settings(folder, token_file=Path("-"))).token.where == ""
