"""The images of an engine: on a fake, since a real one needs a registry; the wire is real."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from grpclib.const import Status

from common.errors import RuntimeServiceError
from edgecore.edged.runtime.cri import cri_pb2 as cri
from edgecore.edged.runtime.cri import methods
from edgecore.edged.runtime.cri.client import CriClient
from edgecore.edged.runtime.cri.images import CriImages
from edgecore.edged.runtime.images import FilesystemUsage, Image, ImageAuth
from tests.edgecore.edged.runtime.cri.fakecri import BUSYBOX, FakeCri, fake_cri

BUSYBOX_IMAGE = Image("sha256:0badcafe", (BUSYBOX,), size_bytes=1000)


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[FakeCri]:
    async with fake_cri(tmp_path) as engine:
        yield engine


@pytest.fixture
async def images(engine: FakeCri) -> AsyncIterator[CriImages]:
    client = CriClient(engine.endpoint)
    yield CriImages(client)
    client.close()


async def test_an_image_is_here_or_not(images: CriImages, engine: FakeCri) -> None:
    assert await images.image(BUSYBOX) == BUSYBOX_IMAGE
    assert await images.image("sha256:0badcafe") == BUSYBOX_IMAGE
    assert await images.image("other") is None
    engine.faults.refusals[methods.IMAGE_STATUS] = (Status.NOT_FOUND, "no such image")
    assert await images.image(BUSYBOX) is None


async def test_an_image_is_pulled_with_a_login_and_without(
    images: CriImages, engine: FakeCri
) -> None:
    pulled = await images.pull("registry.example/app:v1", ImageAuth("me", "secret"))
    assert await images.image("registry.example/app:v1") == Image(
        pulled, ("registry.example/app:v1",)
    )
    await images.pull("registry.example/free:v1", None)
    [with_login, without] = engine.pulls
    assert (with_login.auth.username, with_login.auth.password) == ("me", "secret")
    assert not without.HasField("auth")


async def test_all_images_are_listed_and_removed(images: CriImages) -> None:
    assert await images.list_images() == [BUSYBOX_IMAGE]
    await images.remove_image("sha256:0badcafe")
    assert await images.list_images() == []


async def test_an_image_that_is_gone_is_as_good_as_removed(
    images: CriImages, engine: FakeCri
) -> None:
    engine.faults.refusals[methods.REMOVE_IMAGE] = (Status.NOT_FOUND, "no such image")
    await images.remove_image("sha256:0badcafe")
    engine.faults.refusals[methods.REMOVE_IMAGE] = (Status.UNKNOWN, "in use")
    with pytest.raises(RuntimeServiceError, match="in use"):
        await images.remove_image("sha256:0badcafe")


async def test_what_images_take_is_known(images: CriImages) -> None:
    assert await images.filesystem() == FilesystemUsage(Path("/fake"), 1000, 7)


async def test_what_was_not_measured_yet_is_said_to_be(
    images: CriImages, engine: FakeCri, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def call(*_: object) -> cri.ImageFsInfoResponse:
        return cri.ImageFsInfoResponse()

    monkeypatch.setattr(images._client, "call", call)
    with pytest.raises(RuntimeServiceError, match="has not measured"):
        await images.filesystem()
    assert engine.calls == []


@pytest.mark.parametrize(
    ("status", "words", "reason"),
    [
        (Status.UNKNOWN, "RegistryUnavailable: 503", "RegistryUnavailable"),
        (Status.UNAVAILABLE, "dial tcp: connection refused", "ErrImagePull"),
        (Status.INVALID_ARGUMENT, "failed to parse image reference", "InvalidImageName"),
    ],
)
async def test_a_pull_fails_in_the_engines_words(
    images: CriImages, engine: FakeCri, status: Status, words: str, reason: str
) -> None:
    engine.faults.refusals[methods.PULL_IMAGE] = (status, words)
    with pytest.raises(RuntimeServiceError, match=words) as caught:
        await images.pull("app", None)
    assert caught.value.reason == reason


async def test_another_fault_of_looking_is_said(images: CriImages, engine: FakeCri) -> None:
    engine.faults.refusals[methods.IMAGE_STATUS] = (Status.UNKNOWN, "database is damaged")
    with pytest.raises(RuntimeServiceError, match="damaged") as caught:
        await images.image(BUSYBOX)
    assert caught.value.reason == "ImageInspectError"
