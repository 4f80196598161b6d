"""What a pod needs: a real bus; the world answers as metamanager does."""

from typing import Any

from common.beehive.message import Message, raw, reply
from common.names import ResourceType
from common.status import failure
from common.wire import loads
from edgecore.edged.dependencies import Dependencies, pull_secrets_of, refs_of, token_request
from edgecore.edged.objects import Ref, TokenRef
from tests import transcript
from tests.edgecore.edged.bus import bus
from tests.edgecore.edged.world import config_object, container, pod_object

MAP, SECRET = Ref(ResourceType.CONFIGMAP, "web"), Ref(ResourceType.SECRET, "db")
TOKEN = TokenRef("default", "", 3600)
TOKEN_RESOURCE = "default/serviceaccounttoken/default"


def a_pod(*, token: bool = False) -> dict[str, Any]:
    sources = [{"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}}]
    volumes: list[Any] = [{"name": "conf", "configMap": {"name": "web"}}]
    if token:
        volumes.append({"name": "t", "projected": {"sources": sources}})
    env_from = [{"secretRef": {"name": "db"}}]
    return pod_object(
        "web",
        imagePullSecrets=[{"name": "registry"}],
        containers=[container("c", envFrom=env_from)],
        volumes=volumes,
    )


def test_secrets_for_images_are_not_waited_for() -> None:
    assert refs_of(a_pod()) == {MAP, SECRET}


async def test_each_object_is_asked_for_once_and_missing_is_told_from_unknown() -> None:
    async with bus() as b:
        b.world.objects["default/secret/db"] = config_object("Secret", "db", a="aGk=")
        objects = await Dependencies(b.requests, b.clock).fetch(a_pod())
        assert objects.found[MAP] is None
        assert objects.data(SECRET, optional=False) == {"a": b"hi"}
        assert sorted(r.resource for r in b.world.requests) == [
            "default/configmap/web",
            "default/secret/db",
            "null/service",
        ]
        b.world.refuse = lambda _: failure(503, "not connected")
        objects = await Dependencies(b.requests, b.clock).fetch(a_pod())
        assert objects.found == {}


async def test_the_services_of_the_store_come_along() -> None:
    service = config_object("Service", "db")
    async with bus() as b:
        b.world.objects["default/service/db"] = service
        objects = await Dependencies(b.requests, b.clock).fetch(a_pod())
        assert objects.services == (service,)


def test_secrets_for_images_are_tried_in_the_pods_order() -> None:
    pod = pod_object("web", imagePullSecrets=[{"name": "b"}, {"name": "a"}, {}])
    assert [ref.name for ref in pull_secrets_of(pod)] == ["b", "a"]


def test_a_token_is_asked_for_as_the_recorded_edge_does() -> None:
    recorded = next(
        line.message["content"]
        for line in transcript.lines()
        if line.direction == "up" and "serviceaccounttoken" in line.message["route"]["resource"]
    )
    uid = recorded["spec"]["boundObjectRef"]["uid"]
    assert token_request(pod_object("web", uid), TOKEN) == recorded


async def test_a_token_is_asked_for_again_at_four_fifths_of_its_life() -> None:
    async with bus() as b:
        dependencies = Dependencies(b.requests, b.clock)
        assert dependencies.refresh_in_s() is None
        objects = await dependencies.fetch(a_pod(token=True))
        assert objects.token(TOKEN) == "t0ken"
        assert dependencies.refresh_in_s() == 0.8 * 3600
        b.clock.seconds += 2879
        await dependencies.fetch(a_pod(token=True))
        assert len(b.world.asked("query", TOKEN_RESOURCE)) == 1
        b.clock.seconds += 1
        assert dependencies.refresh_in_s() == 0
        await dependencies.fetch(a_pod(token=True))
        assert len(b.world.asked("query", TOKEN_RESOURCE)) == 2


async def test_an_old_token_is_kept_while_nobody_can_be_asked() -> None:
    async with bus() as b:
        dependencies = Dependencies(b.requests, b.clock)
        await dependencies.fetch(a_pod(token=True))
        b.clock.seconds += 10_000
        b.world.refuse = lambda _: failure(503, "not connected")
        objects = await dependencies.fetch(a_pod(token=True))
        assert objects.token(TOKEN) == "t0ken"
        assert dependencies.refresh_in_s() == 60


async def test_an_expiry_that_a_wrong_clock_makes_absurd_is_bounded() -> None:
    async with bus() as b:
        dependencies = Dependencies(b.requests, b.clock)

        def answer(expires: str) -> Any:
            return lambda request, _kind: _token_reply(request, expires)

        b.world._query = answer("1970-01-01T00:00:00Z")  # type: ignore[method-assign]
        await dependencies.fetch(a_pod(token=True))
        assert dependencies.refresh_in_s() == 0.8 * 60
        b.clock.seconds += 60
        b.world._query = answer("2099-01-01T00:00:00Z")  # type: ignore[method-assign]
        await dependencies.fetch(a_pod(token=True))
        assert dependencies.refresh_in_s() == 0.8 * 86400


def _token_reply(request: Message, expires: str) -> Message:
    content = loads(request.content) if bytes(request.content) != b"null" else {}
    return reply(
        request, raw({**content, "status": {"token": "t", "expirationTimestamp": expires}})
    )
