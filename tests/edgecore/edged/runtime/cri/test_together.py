"""Calls at the same time. Everything is real; the calls are made up."""

import asyncio

import pytest

from common.errors import RuntimeServiceError
from edgecore.edged.runtime.cri.together import both, each


async def value(number: int) -> int:
    return number


async def failing(reason: str) -> int:
    raise RuntimeServiceError(reason, reason)


async def test_results_come_in_the_order_of_the_calls() -> None:
    gate = asyncio.Event()

    async def first() -> int:
        await gate.wait()
        return 1

    async def second() -> int:
        gate.set()
        return 2

    assert await each([first(), second()]) == [1, 2]
    assert await each([]) == []


async def test_two_results_may_be_of_two_kinds() -> None:
    async def text() -> str:
        return "x"

    assert await both(value(1), text()) == (1, "x")


async def test_one_error_comes_out_alone_after_all_have_ended() -> None:
    ended: list[int] = []

    async def slow() -> int:
        await asyncio.sleep(0)
        ended.append(1)
        return 1

    with pytest.raises(RuntimeServiceError) as caught:
        await each([failing("first"), slow(), failing("second")])
    assert (caught.value.reason, ended) == ("first", [1])


async def test_a_fault_of_ours_is_no_answer() -> None:
    async def broken() -> int:
        raise AssertionError

    with pytest.raises(ExceptionGroup) as caught:
        await each([broken()])
    assert caught.group_contains(AssertionError)
