"""Work on demand: a real event loop; timers are looked at, not waited for."""

import asyncio

import pytest

from edgecore.edged.ondemand import OnDemand


class Step:
    """Counts its runs; each ends when it is let."""

    def __init__(self, again_s: float | None = None) -> None:
        self.runs = 0
        self.again_s = again_s
        self.gate = asyncio.Event()
        self.begun = asyncio.Event()
        self.fault: Exception | None = None

    async def __call__(self) -> float | None:
        self.runs += 1
        self.begun.set()
        await self.gate.wait()
        if self.fault:
            raise self.fault
        return self.again_s


async def test_any_number_of_calls_while_it_runs_give_one_more_run() -> None:
    step = Step()
    async with asyncio.TaskGroup() as tasks:
        work = OnDemand(tasks, "w", step)
        work.wake()
        await step.begun.wait()
        for _ in range(5):
            work.wake()
        step.gate.set()
    assert step.runs == 2


async def test_it_asks_to_run_again_by_a_timer_that_a_call_replaces() -> None:
    step = Step(again_s=1000)
    step.gate.set()
    async with asyncio.TaskGroup() as tasks:
        work = OnDemand(tasks, "w", step)
        work.wake()
    timer = work._timer
    assert timer is not None
    assert timer.when() > asyncio.get_running_loop().time() + 900
    async with asyncio.TaskGroup() as tasks:
        work._tasks = tasks
        work.wake()
        assert timer.cancelled()
    assert step.runs == 2
    work.close()
    assert work._timer is None


async def test_a_fault_is_logged_and_tried_again_later(caplog: pytest.LogCaptureFixture) -> None:
    step = Step()
    step.fault = ZeroDivisionError("oops")
    step.gate.set()
    async with asyncio.TaskGroup() as tasks:
        work = OnDemand(tasks, "w", step)
        work.wake()
    assert "step failed" in caplog.text
    assert work._timer is not None
    work.close()


async def test_a_closed_one_is_cancelled_and_never_runs_again() -> None:
    step = Step()
    async with asyncio.TaskGroup() as tasks:
        work = OnDemand(tasks, "w", step)
        work.wake()
        await step.begun.wait()
        work.close()
        work.wake()
    assert step.runs == 1


async def test_a_step_may_close_itself() -> None:
    async with asyncio.TaskGroup() as tasks:

        async def step() -> float | None:
            work.close()
            await asyncio.sleep(0)
            done.append(1)
            return 1.0

        done: list[int] = []
        work = OnDemand(tasks, "w", step)
        work.wake()
    assert done == [1]
    assert work._timer is None
