"""The event loop of the simulation: a clock that jumps, and daemons that die without a word."""

import asyncio
import gc
from collections.abc import Iterator

import pytest

from tests.simulation.virtualloop import Daemon, StalledError, VirtualLoop


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    gc.disable()  # what a dead daemon leaves is not to be cleared away before the test is over
    made = VirtualLoop()
    yield made
    made.close()
    gc.enable()


def test_hours_pass_at_once_and_in_order(loop: VirtualLoop) -> None:
    seen: list[tuple[str, float]] = []

    async def wait(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        seen.append((name, loop.time()))

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(wait("late", 7200))
            group.create_task(wait("early", 0.5))

    loop.run_until_complete(main())
    assert seen == [("early", 0.5), ("late", 7200)]


def test_a_killed_daemon_does_nothing_more_not_even_to_clean_up(loop: VirtualLoop) -> None:
    daemon, seen = Daemon("d"), list[str]()

    async def live() -> None:
        try:
            while True:
                await asyncio.sleep(1)
                seen.append("alive")
        finally:
            seen.append("cleaned up")

    async def main() -> None:
        loop.start(daemon, live())
        await asyncio.sleep(2.5)
        loop.kill(daemon)
        await asyncio.sleep(10)

    loop.run_until_complete(main())
    assert seen == ["alive", "alive"]


def test_what_others_give_a_dead_daemon_does_not_wake_it(loop: VirtualLoop) -> None:
    daemon, seen = Daemon("d"), list[str]()

    async def main() -> None:
        given: asyncio.Future[None] = loop.create_future()

        async def live() -> None:
            await given
            seen.append("woken")

        loop.start(daemon, live())
        await asyncio.sleep(1)
        loop.kill(daemon)
        given.set_result(None)
        await asyncio.sleep(1)

    loop.run_until_complete(main())
    assert seen == []


def test_the_children_of_a_daemon_die_with_it(loop: VirtualLoop) -> None:
    daemon, seen = Daemon("d"), list[str]()

    async def child() -> None:
        await asyncio.sleep(2)
        seen.append("child")

    async def live() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(child())

    async def main() -> None:
        loop.start(daemon, live())
        await asyncio.sleep(1)
        loop.kill(daemon)
        await asyncio.sleep(5)

    loop.run_until_complete(main())
    assert seen == []


def test_how_a_daemon_fails_is_noted(loop: VirtualLoop) -> None:
    daemon = Daemon("d")

    async def live() -> None:
        raise OSError("no")

    async def main() -> None:
        loop.start(daemon, live())
        await asyncio.sleep(1)

    loop.run_until_complete(main())
    assert daemon.is_over
    assert [type(failure) for failure in daemon.failures] == [OSError]


def test_a_wait_that_rounding_would_swallow_passes(loop: VirtualLoop) -> None:
    async def main() -> None:
        await asyncio.sleep(1e6)
        before = loop.time()
        await asyncio.sleep(1e-15)
        assert loop.time() > before

    loop.run_until_complete(main())


def test_it_says_so_when_nothing_can_happen_any_more(loop: VirtualLoop) -> None:
    async def main() -> None:
        await loop.create_future()

    with pytest.raises(StalledError):
        loop.run_until_complete(main())
