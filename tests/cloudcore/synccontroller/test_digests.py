"""Digests of beats. Real: the caches and the bus. The API server is in memory."""

import pytest

from cloudcore.synccontroller.digests import Digests
from cloudcore.synccontroller.doubts import Doubts
from common.inventory import Row, content_hash, digest, to_hex
from common.names import Operation
from tests.cloudcore.synccontroller.stage import NODE, Stage

WRONG = to_hex(0)


class Scene:
    def __init__(self) -> None:
        self.stage, self.doubts = Stage(), Doubts()
        stage = self.stage
        stage.add_node()
        stage.add_pod("web", configmaps=("conf",))
        self.conf = stage.add_configmap("conf")
        self.digests = Digests(stage.state, stage.reader, stage.sender, self.doubts, stage.metrics)

    async def check(self, said: str, *, connection: str = "c1", is_quiet: bool = True) -> bool:
        """Return whether another digest was asked for."""
        await self.digests.check(NODE, connection, said, is_quiet=is_quiet)
        sent = await self.stage.sent()
        assert all(one.operation is Operation.KEEPALIVE for one in sent)
        return bool(sent)

    def count(self) -> float:
        return float(self.stage.metrics.divergence.value)


async def test_the_expected_digest_is_that_of_the_rows_as_an_edge_makes_them() -> None:
    scene = Scene()
    state = scene.stage.state
    rows = []
    for followed, namespace, name in (
        (state.nodes, "null", "n1"),
        (state.pods, "ns", "web"),
        (state.configmaps, "ns", "conf"),
    ):
        (one,) = followed.cache.kept()
        assert followed.resource_type is not None
        uid = one.view.metadata.uid
        row = Row(followed.resource_type, namespace, name, uid, "10", content_hash(one.raw))
        rows.append(row)
    assert await scene.digests.expected(NODE) == digest(rows)


async def test_what_is_not_kept_is_fetched_and_what_is_gone_meanwhile_does_not_count() -> None:
    scene = Scene()
    before = await scene.digests.expected(NODE)
    cache = scene.stage.state.configmaps.cache
    cache.drop(scene.conf)
    assert await scene.digests.expected(NODE) == before
    cache.drop(scene.conf)
    scene.stage.client.objects.pop("/api/v1/namespaces/ns/configmaps/conf")
    assert await scene.digests.expected(NODE) != before


async def test_who_is_in_step_is_left_alone() -> None:
    scene = Scene()
    assert not await scene.check(to_hex(await scene.digests.expected(NODE)))
    assert scene.count() == 0


async def test_who_differs_twice_with_nothing_under_way_is_counted_and_compared() -> None:
    scene = Scene()
    assert await scene.check(WRONG)
    assert scene.count() == 0
    assert not await scene.check(WRONG)
    assert scene.count() == 1
    assert scene.doubts.take() == [NODE]


async def test_no_race_is_taken_for_a_divergence() -> None:
    scene = Scene()
    assert await scene.check(WRONG)
    assert await scene.check(to_hex(1))  # the edge has moved
    scene.stage.add_configmap("conf", version="11")
    assert await scene.check(to_hex(1))  # the cloud has moved
    assert await scene.check(to_hex(1), is_quiet=False)  # something is under way
    assert await scene.check(to_hex(1), connection="c2")  # another connection
    scene.digests.forget(NODE)
    assert await scene.check(to_hex(1), connection="c2")  # compared meanwhile
    assert not await scene.check(to_hex(await scene.digests.expected(NODE)), connection="c2")
    assert scene.count() == 0
    assert scene.doubts.take() == []


async def test_who_takes_in_what_was_under_way_when_it_was_compared_is_compared_once_more() -> None:
    scene = Scene()
    await scene.digests.confirm(NODE)
    assert [one.operation for one in await scene.stage.sent()] == [Operation.KEEPALIVE]
    assert await scene.check(WRONG)
    assert not await scene.check(WRONG)
    assert (scene.count(), scene.doubts.take()) == (0, [NODE])
    await scene.digests.confirm(NODE)
    assert await scene.stage.sent() == []
    assert await scene.check(WRONG)
    assert not await scene.check(WRONG)
    assert (scene.count(), scene.doubts.take()) == (1, [NODE])


async def test_who_is_in_step_after_it_was_compared_is_expected_to_stay_so() -> None:
    scene = Scene()
    await scene.digests.confirm(NODE)
    await scene.stage.sent()
    assert not await scene.check(to_hex(await scene.digests.expected(NODE)))
    assert await scene.check(WRONG)
    assert not await scene.check(WRONG)
    assert scene.count() == 1


async def test_what_cannot_be_compared_is_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    assert not await scene.check("nonsense")
    scene.stage.state.configmaps.cache.drop(scene.conf)
    scene.stage.client.failures = {"*": 503}
    assert not await scene.check(WRONG)
    assert scene.count() == 0
    del caplog
