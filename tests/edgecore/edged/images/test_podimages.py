"""The images of one pod: a real bus with the world's Secrets, and images in memory."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from edgecore.edged.dependencies import Dependencies
from edgecore.edged.images.imagepuller import ImagePuller
from edgecore.edged.images.imagewants import Failed, Present, Pulling
from edgecore.edged.images.podimages import PodImages
from tests.edgecore.edged.bus import Bus, bus
from tests.edgecore.edged.fakeimages import FakeImages
from tests.edgecore.edged.world import config_object, container, pod_object

IMAGE = "registry.example/app:1"
CONTAINER = container("c") | {"image": IMAGE}


class Site:
    """One pod's images."""

    def __init__(self, b: Bus) -> None:
        self.bus, self.images = b, FakeImages()
        self.events: list[tuple[str, str]] = []
        self.woken = 0
        puller = ImagePuller(b.tasks, self.images, b.clock)
        dependencies = Dependencies(b.requests, b.clock)
        self.pod_images = PodImages(puller, dependencies, self._wake, self._event)

    def _wake(self) -> None:
        self.woken += 1

    def _event(self, _kind: str, reason: str, message: str, _container: str) -> None:
        self.events.append((reason, message))


@asynccontextmanager
async def site() -> AsyncIterator[Site]:
    async with bus() as b:
        yield Site(b)


def pull_secret(name: str, content: Any) -> dict[str, Any]:
    data = base64.b64encode(json.dumps(content).encode()).decode()
    secret = config_object("Secret", name, **{".dockerconfigjson": data})
    return secret | {"type": "kubernetes.io/dockerconfigjson"}


def pod(*secrets: str) -> dict[str, Any]:
    return pod_object("web", imagePullSecrets=[{"name": name} for name in secrets])


async def test_an_image_that_is_here_is_used() -> None:
    async with site() as s:
        image = s.images.add(IMAGE)
        assert await s.pod_images.look(pod(), CONTAINER) == Present(image)
        assert s.bus.world.requests == []


async def test_the_credentials_that_the_pod_names_are_tried() -> None:
    config = {"auths": {"registry.example": {"username": "me", "password": "it is me"}}}
    async with site() as s:
        s.bus.world.objects["default/secret/reg"] = pull_secret("reg", config)
        assert isinstance(await s.pod_images.look(pod("reg"), CONTAINER), Pulling)
        await s.images.until_pulls(1)
        [(reference, auth)] = s.images.pulls
        assert auth is not None
        assert (reference, auth.username, auth.password) == (IMAGE, "me", "it is me")
    assert s.woken == 1


async def test_a_secret_that_is_missing_or_broken_is_told_and_keeps_nobody_from_trying() -> None:
    async with site() as s:
        s.bus.world.objects["default/secret/bad"] = pull_secret("bad", "no map")
        assert isinstance(await s.pod_images.look(pod("gone", "bad"), CONTAINER), Pulling)
        await s.images.until_pulls(1)
        assert s.images.pulls == [(IMAGE, None)]
    told = [message for reason, message in s.events if reason == "FailedToRetrieveImagePullSecret"]
    assert len(told) == 2
    assert "gone" in told[0]
    assert '"bad"' in told[1]


async def test_a_name_that_no_image_can_have_is_refused_without_looking_for_secrets() -> None:
    async with site() as s:
        outcome = await s.pod_images.look(pod("reg"), container("c") | {"image": "A B"})
        assert isinstance(outcome, Failed)
        assert outcome.reason == "InvalidImageName"
        assert s.bus.world.requests == []


async def test_a_pull_that_nobody_wants_any_more_is_ended() -> None:
    async with site() as s:
        s.images.gate.clear()
        await s.pod_images.look(pod(), CONTAINER)
        await s.images.until_pulls(1)
        s.pod_images.leave()
    assert s.images.going_on == 0
    assert s.woken == 0
