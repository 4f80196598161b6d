"""The node's identity: real processes that enrol at a real HTTPS server on loopback."""

import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from common.clock import Clock
from common.errors import CertificateError, LinkError
from edgecore.edgehub import identity as under_test
from edgecore.edgehub.enrollconfig import EnrollConfig, Task
from edgecore.edgehub.identity import Identity, in_process_of_its_own
from tests.edgecore.cloud import HOST, Peer, TestCloud


async def nobody(_: Peer) -> None:
    return None


@pytest.fixture
async def config(cloud: TestCloud, tmp_path: Path) -> AsyncIterator[EnrollConfig]:
    async with cloud.listening(nobody):
        yield EnrollConfig("n1", HOST, cloud.https_port, str(tmp_path / "pki"))


def identity(config: EnrollConfig, token: str, clock: Clock | None = None) -> Identity:
    return Identity(config, lambda: token, clock or Clock(), in_process_of_its_own)


@pytest.mark.both_loops
async def test_a_token_is_needed_once(cloud: TestCloud, config: EnrollConfig) -> None:
    assert isinstance(await identity(config, cloud.token).tls(), ssl.SSLContext)
    assert isinstance(await identity(config, "").tls(), ssl.SSLContext)
    assert cloud.enrolments == ["n1"]


async def test_another_node_name_is_another_identity(
    cloud: TestCloud, config: EnrollConfig
) -> None:
    await identity(config, cloud.token).tls()
    renamed = EnrollConfig("n2", config.cloud, config.https_port, config.folder)
    with pytest.raises(CertificateError, match="not enrolled yet: give --token"):
        await identity(renamed, "").tls()
    await identity(renamed, cloud.token).tls()
    assert cloud.enrolments == ["n1", "n2"]


async def test_a_refusal_crosses_from_the_other_process(
    cloud: TestCloud, config: EnrollConfig
) -> None:
    cloud.enrolment_status = 500
    with pytest.raises(LinkError, match="500 not today"):
        await identity(config, cloud.token).tls()


async def test_the_other_process_is_ended_when_it_takes_too_long(
    config: EnrollConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "PATIENCE_S", 0.0)
    task = Task("examine", config, "", datetime.now(UTC))
    with pytest.raises(LinkError, match="too long"):
        await in_process_of_its_own(task)


async def test_a_sound_certificate_is_kept_though_it_is_doubted(
    cloud: TestCloud, config: EnrollConfig
) -> None:
    mine = identity(config, cloud.token)
    await mine.doubt()
    await mine.tls()
    await mine.doubt()
    assert config.node_file.exists()


async def test_an_expired_certificate_is_replaced_where_there_is_a_token(
    cloud: TestCloud, config: EnrollConfig, caplog: pytest.LogCaptureFixture
) -> None:
    await identity(config, cloud.token).tls()
    later = Clock()
    later.offset_s = timedelta(days=400).total_seconds()
    without = identity(config, "", later)
    await without.doubt()
    await without.doubt()
    assert config.node_file.exists()
    assert caplog.text.count("give a new token") == 1
    await identity(config, cloud.token, later).doubt()
    assert not config.node_file.exists()
