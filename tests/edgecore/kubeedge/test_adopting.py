"""The certificate of KubeEdge's edge is taken over. Real: files, and the program of its own."""

import logging
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace

from common import issuing
from edgecore.edgehub.enroll import examine
from edgecore.edgehub.enrollconfig import EnrollConfig
from edgecore.kubeedge.adopting import Adoption, adopt
from tests.edgecore.kubeedge.kubeedge import NODE, make_certificate, state_of

NOW = datetime.now(UTC)


@pytest.fixture
def adoption(tmp_path: Path) -> Adoption:
    files = make_certificate(tmp_path / "certs", NOW)
    (tmp_path / "edge").mkdir(mode=0o700)
    return Adoption(NODE, tmp_path / "edge", files.certificate, files.key, files.authority)


def kept(adoption: Adoption) -> EnrollConfig:
    return EnrollConfig(adoption.node_name, "", 0, str(adoption.data_dir / "pki"))


async def test_a_node_without_a_certificate_begins_with_that_of_kubeedge(
    adoption: Adoption, caplog: pytest.LogCaptureFixture
) -> None:
    before = state_of(adoption.key.parent)
    with caplog.at_level(logging.INFO):
        await adopt(adoption)
    assert examine(kept(adoption), "", NOW) == ""
    assert kept(adoption).node_file.stat().st_mode & 0o777 == 0o600
    assert state_of(adoption.key.parent) == before
    assert "`edgecore import`" in caplog.text
    assert "PRIVATE" not in caplog.text


async def test_nothing_is_run_from_the_current_folder(
    adoption: Adoption, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "asyncio.py").write_text("import sys; sys.exit('of somebody else')")
    monkeypatch.chdir(tmp_path)
    await adopt(adoption)
    assert examine(kept(adoption), "", NOW) == ""


async def test_a_certificate_that_is_there_stays(adoption: Adoption) -> None:
    await adopt(adoption)
    before = kept(adoption).node_file.read_bytes()
    make_certificate(adoption.key.parent, NOW)
    await adopt(adoption)
    assert kept(adoption).node_file.read_bytes() == before


async def test_where_there_is_nothing_nothing_is_said(
    adoption: Adoption, caplog: pytest.LogCaptureFixture
) -> None:
    for file in (adoption.certificate, adoption.key, adoption.authority):
        file.unlink()
    await adopt(adoption)
    assert not kept(adoption).node_file.exists()
    assert caplog.text == ""


@pytest.mark.parametrize("fault", ["of another node", "key is gone", "of another authority"])
async def test_what_is_of_no_use_is_said_and_not_taken(
    adoption: Adoption, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    match fault:
        case "of another node":
            adoption = replace(adoption, node_name="edge-2")
        case "key is gone":
            adoption.key.unlink()
        case _:
            adoption.authority.write_text(issuing.new_authority(NOW).pem)
    await adopt(adoption)
    assert not kept(adoption).node_file.exists()
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "is not taken over: /" in record.getMessage()


async def test_a_program_that_dies_is_said(
    adoption: Adoption, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    await adopt(adoption)
    assert "is not taken over: code 1" in caplog.text
