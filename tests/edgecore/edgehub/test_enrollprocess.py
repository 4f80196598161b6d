"""Real processes that enrol at a real HTTPS server on loopback."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from common.errors import CertificateError, LinkError
from edgecore.edgehub import enrollprocess as under_test
from edgecore.edgehub.enrollconfig import EnrollConfig, Job, RefusedError, Task
from edgecore.edgehub.enrollprocess import in_process_of_its_own
from tests.edgecore.cloud import HOST, Peer, TestCloud


async def nobody(_: Peer) -> None:
    return None


@pytest.fixture
async def config(cloud: TestCloud, tmp_path: Path) -> AsyncIterator[EnrollConfig]:
    async with cloud.listening(nobody):
        yield EnrollConfig("n1", HOST, cloud.https_port, str(tmp_path / "pki"))


@pytest.mark.both_loops
async def test_what_comes_of_it_crosses_from_the_other_process(
    cloud: TestCloud, config: EnrollConfig
) -> None:
    assert await in_process_of_its_own(Task(Job.ENROLL, config, cloud.token)) == ""
    assert await in_process_of_its_own(Task(Job.EXAMINE, config)) == ""
    words = await in_process_of_its_own(Task(Job.EXAMINE, config, f"{'0' * 64}.a.b.c"))
    assert "another authority" in words
    cloud.enrolment_status = 500
    with pytest.raises(RefusedError, match="500 not today"):
        await in_process_of_its_own(Task(Job.ENROLL, config, cloud.token))
    with pytest.raises(CertificateError, match="not enrolled yet"):
        await in_process_of_its_own(Task(Job.ENROLL, config))
    away = EnrollConfig("n1", HOST, 1, config.folder)
    with pytest.raises(LinkError, match="refused"):
        await in_process_of_its_own(Task(Job.ENROLL, away, cloud.token))


async def test_nothing_is_run_from_the_current_folder(
    config: EnrollConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "msgspec.py").write_text("import sys; sys.exit('of somebody else')")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CertificateError, match="not enrolled yet"):
        await in_process_of_its_own(Task(Job.ENROLL, config))


async def test_it_is_ended_when_it_takes_too_long(
    config: EnrollConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "PATIENCE_S", 0.0)
    with pytest.raises(LinkError, match="too long"):
        await in_process_of_its_own(Task(Job.EXAMINE, config))
