"""The node's identity: real processes that enrol at a real HTTPS server on loopback."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from common import pki
from common.clock import Clock
from common.errors import CertificateError, ConfigError
from common.names import AUTHORITY_HEADER, PeerProtocol
from edgecore.edgehub import enroll
from edgecore.edgehub import identity as under_test
from edgecore.edgehub.enrollconfig import EnrollConfig, Job, Task
from edgecore.edgehub.enrollprocess import in_process_of_its_own
from edgecore.edgehub.identity import (
    BELIEVED_DOUBTS,
    FOLLOW_EVERY_S,
    Identity,
)
from edgecore.edgehub.link import LinkLostError
from edgecore.edgehub.network import OpenLink
from edgecore.edgehub.pauses import RETRY
from edgecore.edgehub.timekeeper import Timekeeper
from tests.edgecore.cloud import HOST, Peer, TestCloud, until
from tests.edgecore.edgehub.links import MadeUpMemory

YEAR = timedelta(days=365)


async def nobody(_: Peer) -> None:
    return None


@pytest.fixture
async def config(cloud: TestCloud, tmp_path: Path) -> AsyncIterator[EnrollConfig]:
    async with cloud.listening(nobody):
        yield EnrollConfig("n1", HOST, cloud.https_port, str(tmp_path / "pki"))


def identity(config: EnrollConfig, token: str, clock: Clock | None = None) -> Identity:
    keeper = Timekeeper(MadeUpMemory(), clock or Clock())
    return Identity(config, lambda: token, keeper, in_process_of_its_own)


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


@dataclass
class Hand(Clock):
    """A clock whose durations the test makes."""

    seconds: float = 1000.0

    def __post_init__(self) -> None:
        super().__init__()

    def monotonic(self) -> float:
        return self.seconds


@dataclass
class Scene:
    """An enrolled node, whose clock and token the test has in its hands."""

    cloud: TestCloud
    config: EnrollConfig
    identity: Identity
    clock: Hand
    token: str = ""
    jobs: list[Job] = field(default_factory=list)

    @property
    def serial(self) -> int:
        return pki.load_certificate(self.config.node_file.read_bytes()).serial_number

    async def connect(self) -> OpenLink:
        """Connect once; return the connection, which is closed again."""
        tls = await self.identity.tls()
        uri = f"wss://{HOST}:{self.cloud.websocket_port}/x/n1/events"
        async with self.identity.dial(uri, {"node_id": "n1"}, tls, handshake_s=50) as link:
            return link

    async def doubt(self, times: int = BELIEVED_DOUBTS) -> None:
        for _ in range(times):
            await self.identity.doubt()

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Have the identity kept, with a look every few milliseconds."""
        async with asyncio.TaskGroup() as tasks:
            keeping = tasks.create_task(self.identity.keep())
            yield
            keeping.cancel()


@asynccontextmanager
async def scene(
    cloud: TestCloud, folder: Path, made: datetime | None = None
) -> AsyncIterator[Scene]:
    """Enrol a node, whose certificate was ``made`` then, or now."""
    cloud.protocol = PeerProtocol.CLOUDEDGE_V1
    jobs: list[Job] = []

    async def in_thread(task: Task) -> str:
        jobs.append(task.job)
        return await asyncio.to_thread(enroll.carry_out, task)

    async with cloud.listening(nobody):
        config = EnrollConfig("n1", HOST, cloud.https_port, str(folder / "pki"))
        cloud.clock_ahead = (made or datetime.now(UTC)) - datetime.now(UTC)
        enroll.enroll(Task(Job.ENROLL, config, cloud.token))
        cloud.clock_ahead = timedelta()
        clock = Hand()
        made_up: list[Scene] = []
        mine = Identity(
            config, lambda: made_up[0].token, Timekeeper(MadeUpMemory(), clock), in_thread
        )
        made_up.append(Scene(cloud, config, mine, clock, jobs=jobs))
        yield made_up[0]


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "LOOK_EVERY_S", 0.005)


@pytest.mark.both_loops
@pytest.mark.parametrize("off", [-2 * YEAR, 2 * YEAR])
async def test_a_machine_whose_clock_is_off_by_years_connects(
    cloud: TestCloud, tmp_path: Path, off: timedelta
) -> None:
    """As seen from this machine, whose clock cannot be set here, the cloud's clock is off."""
    made = datetime.now(UTC) + off
    cloud.show(made)
    async with scene(cloud, tmp_path) as it:
        await it.connect()
        it.clock.remember(made + timedelta(days=1))
        await it.connect()
        it.clock.remember(made + 2 * YEAR)
        with pytest.raises(LinkLostError, match="by the time that the cloud itself told") as caught:
            await it.connect()
    assert caught.value.reason == "expired"
    assert not caught.value.is_certificate


async def test_the_cloud_is_told_which_authority_is_the_newest_here(
    cloud: TestCloud, tmp_path: Path
) -> None:
    async with scene(cloud, tmp_path) as it:
        await it.connect()
    said = cloud.requests[-1].headers[AUTHORITY_HEADER]
    assert said == pki.fingerprint(cloud.authority.der)


async def test_a_certificate_is_renewed_after_two_thirds_of_its_life(
    cloud: TestCloud, tmp_path: Path
) -> None:
    made = datetime.now(UTC)
    async with scene(cloud, tmp_path, made) as it:
        before = it.serial
        async with it.kept():
            await it.connect()
            it.clock.remember(made + 0.66 * YEAR)
            await asyncio.sleep(0)
            assert it.jobs == []
            it.clock.remember(made + 0.76 * YEAR)
            await until(lambda: it.serial != before)
            assert it.jobs == [Job.RENEW]


async def test_a_cloud_that_does_not_renew_is_asked_again_and_the_link_is_left_alone(
    cloud: TestCloud, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cloud.renewal_refusal = (503, b"the API server is away")
    async with scene(cloud, tmp_path, datetime.now(UTC) - 0.9 * YEAR) as it:
        before = it.serial
        it.clock.remember(datetime.now(UTC))
        async with it.kept():
            await it.connect()
            await until(lambda: "the old one is used" in caplog.text)
            assert "503 the API server is away" in vars(caplog.records[-1])["error"]
            await it.connect()
            assert it.jobs == [Job.RENEW]
            cloud.renewal_refusal = None
            it.clock.seconds += RETRY.first_s
            await until(lambda: it.serial != before)


async def test_another_authority_is_followed_as_soon_as_the_cloud_signs_by_it(
    cloud: TestCloud, tmp_path: Path
) -> None:
    async with scene(cloud, tmp_path) as it:
        before, new = it.serial, cloud.rotate()
        async with it.kept():
            await it.connect()
            await until(lambda: it.serial != before)
            await it.connect()
        assert it.jobs == [Job.FOLLOW]
        assert cloud.requests[-1].headers[AUTHORITY_HEADER] == pki.fingerprint(new.der)
        signed = pki.load_certificate(it.config.node_file.read_bytes())
        signed.verify_directly_issued_by(new.certificate)


async def test_an_open_link_is_made_again_to_show_what_a_new_authority_has_signed(
    cloud: TestCloud, tmp_path: Path
) -> None:
    async with scene(cloud, tmp_path) as it:
        tls = await it.identity.tls()
        uri = f"wss://{HOST}:{cloud.websocket_port}/x/n1/events"

        async def wait(peer: Peer) -> None:
            await peer.connection.wait_closed()

        async with cloud.listening(wait):
            uri = f"wss://{HOST}:{cloud.websocket_port}/x/n1/events"
            it.identity._config = EnrollConfig("n1", HOST, cloud.https_port, it.config.folder)
            cloud.says_authority = True
            async with it.identity.dial(uri, {}, tls, handshake_s=50) as link:
                cloud.rotate()  # while it is connected
                it.clock.seconds += FOLLOW_EVERY_S
                async with it.kept():
                    with pytest.raises(LinkLostError, match="what the new authority has signed"):
                        await link.receive()


async def test_doubts_about_a_sound_certificate_renew_it_now_and_then_only(
    cloud: TestCloud, tmp_path: Path
) -> None:
    async with scene(cloud, tmp_path) as it:
        await it.doubt(1)
        assert it.jobs == []  # a cloud that stops may just go
        await it.doubt(9)
        assert it.jobs == [Job.RENEW]
        it.clock.seconds += RETRY.first_s
        await it.doubt(9)
        assert it.jobs == [Job.RENEW] * 2
        await it.connect()
        await it.doubt(1)
        assert it.jobs == [Job.RENEW] * 2


async def test_an_expired_certificate_finds_its_way_back_without_a_token(
    cloud: TestCloud, tmp_path: Path
) -> None:
    async with scene(cloud, tmp_path, datetime.now(UTC) - 1.9 * YEAR) as it:
        with pytest.raises(LinkLostError) as caught:
            await it.connect()
        assert caught.value.is_certificate
        await it.doubt()
        await it.connect()
    assert [how for how, _ in cloud.renewals] == ["proof"]


async def test_what_the_cloud_does_not_renew_needs_a_token_and_takes_it_at_once(
    cloud: TestCloud, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cloud.renewal_refusal = (403, b"the certificate is revoked")
    async with scene(cloud, tmp_path) as it:
        before = it.serial
        await it.doubt()
        it.clock.seconds += 3600
        await it.doubt()
        assert caplog.text.count("give a new token") == 1
        assert caplog.text.count("403 the certificate is revoked") == 1
        assert it.serial == before
        it.token = "no.good.at.all"
        await it.doubt(1)
        assert it.serial == before
        it.token = cloud.token
        await it.doubt(1)
        assert it.serial != before
        assert cloud.token not in caplog.text


async def test_a_cloud_that_is_away_leaves_a_sound_certificate_and_the_token_alone(
    cloud: TestCloud, tmp_path: Path
) -> None:
    async with scene(cloud, tmp_path) as it:
        before, it.token = it.serial, cloud.token
    await it.doubt()
    assert it.jobs == [Job.RENEW, Job.EXAMINE]
    assert it.serial == before


async def test_a_certificate_of_a_cloud_that_is_gone_is_replaced_by_another_clouds_token(
    cloud: TestCloud, tmp_path: Path
) -> None:
    async with scene(cloud, tmp_path) as it:
        pass
    folder = tmp_path / "another"
    folder.mkdir()
    another = TestCloud(folder)
    async with another.listening(nobody):
        it.identity._config = EnrollConfig("n1", HOST, another.https_port, it.config.folder)
        it.token = another.token
        await it.doubt()
        assert another.enrolments == ["n1"]


async def test_a_file_that_cannot_be_read_ends_nothing(
    cloud: TestCloud, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with scene(cloud, tmp_path) as it, it.kept():
        it.config.node_file.write_text("nothing")
        it.identity._named = it.identity._newest()
        await until(lambda: "the certificate cannot be read" in caplog.text)


async def test_a_token_file_that_is_gone_is_no_token(cloud: TestCloud, tmp_path: Path) -> None:
    def gone() -> str:
        raise ConfigError(["--token-file: gone"])

    async with scene(cloud, tmp_path) as it:
        it.identity._token = gone
        await it.doubt()
        assert it.jobs == [Job.RENEW]
