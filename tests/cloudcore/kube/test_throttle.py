"""How many requests are under way at a time. Real: the event loop; there is no API server."""

import asyncio

from cloudcore.kube.throttle import Throttle

MOST = 8


class Requests:
    """Requests that hold a place until they are told to end."""

    def __init__(self, throttle: Throttle, group: asyncio.TaskGroup) -> None:
        self._throttle, self._group = throttle, group
        self.begun: list[int] = []
        self.tasks: list[asyncio.Task[None]] = []
        self._end = [asyncio.Event() for _ in range(4 * MOST)]

    def begin(self) -> None:
        self.tasks.append(self._group.create_task(self._make(len(self.tasks))))

    def end(self, number: int) -> None:
        self._end[number].set()

    def end_all(self) -> None:
        for event in self._end:
            event.set()

    async def _make(self, number: int) -> None:
        async with self._throttle:
            self.begun.append(number)
            await self._end[number].wait()


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_so_many_are_made_at_a_time_and_the_rest_in_the_order_in_which_they_came() -> None:
    async with asyncio.TaskGroup() as group:
        requests = Requests(Throttle(MOST), group)
        for _ in range(MOST + 2):
            requests.begin()
        await settled()
        assert requests.begun == list(range(MOST))
        requests.end(3)
        await settled()
        assert requests.begun == list(range(MOST + 1))
        requests.end_all()
    assert len(requests.begun) == MOST + 2


async def test_each_refusal_takes_places_away_and_one_is_always_left() -> None:
    throttle = Throttle(MOST)
    async with throttle, throttle, throttle, throttle:
        throttle.refused()
        assert throttle.limit == 2  # of the four that were too many
        throttle.refused()
        throttle.refused()
        throttle.refused()
    assert throttle.limit == 1


async def test_whoever_waits_goes_on_as_soon_as_there_are_fewer_than_are_allowed() -> None:
    throttle = Throttle(MOST)
    async with asyncio.TaskGroup() as group:
        requests = Requests(throttle, group)
        for _ in range(MOST + 1):
            requests.begin()
        await settled()
        throttle.refused()
        assert throttle.limit == 5
        for number in range(3):
            requests.end(number)
        await settled()
        assert len(requests.begun) == MOST
        requests.end(3)
        await settled()
        assert len(requests.begun) == MOST + 1
        requests.end_all()


async def test_places_come_back_slowly_up_to_all() -> None:
    throttle = Throttle(MOST)
    async with throttle:
        throttle.refused()
    limits = []
    for _ in range(5):
        limits.append(throttle.limit)
        throttle.taken()
    assert limits == [1, 2, 2, 2, 3]
    for _ in range(1000):
        throttle.taken()
    assert throttle.limit == MOST


async def test_who_gives_up_waiting_takes_no_place() -> None:
    async with asyncio.TaskGroup() as group:
        requests = Requests(Throttle(1), group)
        for _ in range(3):
            requests.begin()
        await settled()
        requests.tasks[1].cancel()
        requests.end(0)
        await settled()
        assert requests.begun == [0, 2]
        requests.end_all()


async def test_who_gives_up_at_the_moment_at_which_there_is_a_place_leaves_it_to_the_next() -> None:
    throttle = Throttle(1)
    async with asyncio.TaskGroup() as group:
        requests = Requests(throttle, group)
        async with throttle:
            requests.begin()
            requests.begin()
            await settled()
        requests.tasks[0].cancel()  # it has a place, and does not know yet
        await settled()
        assert requests.begun == [1]
        requests.end_all()
