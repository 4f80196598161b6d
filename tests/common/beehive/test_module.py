"""Modules start together, stop in order, none ends by itself. The modules are made for this."""

import asyncio
import contextlib

import pytest

from common.beehive.context import MessageContext
from common.beehive.message import new
from common.beehive.module import run_modules
from common.errors import ComponentExitedError, MailboxClosedError
from common.names import GroupName, ModuleName, Operation


class Recorder:
    """A module that serves its mailbox and notes when it ends."""

    def __init__(self, bus: MessageContext, name: ModuleName, ended: list[str]) -> None:
        self.name, self.group = name, GroupName.META
        self._bus, self._ended = bus, ended
        self.received: list[str] = []

    async def run(self) -> None:
        with contextlib.suppress(MailboxClosedError):
            while True:
                self.received.append((await self._bus.receive(self.name)).resource)
        self._ended.append(self.name)


class Quitter(Recorder):
    """A module that ends though nobody asked it to."""

    async def run(self) -> None:
        return


class Failer(Recorder):
    """A module that fails."""

    async def run(self) -> None:
        raise LookupError("broken")


class Hanger(Recorder):
    """A module that does not stop when it is asked to."""

    async def run(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self._ended.append(f"{self.name} cancelled")


@pytest.fixture
def bus() -> MessageContext:
    return MessageContext()


async def test_modules_stop_in_order_and_finish_what_they_accepted(bus: MessageContext) -> None:
    ended: list[str] = []
    first = Recorder(bus, ModuleName.META_MANAGER, ended)
    second = Recorder(bus, ModuleName.EDGED, ended)
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(run_modules(bus, [first, second], stop, grace_s=5))
        await asyncio.sleep(0)
        await bus.send(ModuleName.EDGED, new("a", "b", Operation.QUERY, "last"))
        stop.set()
    assert ended == ["metamanager", "edged"]
    assert second.received == ["last"]


async def test_a_module_that_ends_by_itself_takes_the_daemon_down(bus: MessageContext) -> None:
    modules = [Quitter(bus, ModuleName.EDGED, []), Recorder(bus, ModuleName.META_MANAGER, [])]
    with pytest.raises(BaseExceptionGroup) as caught:
        await run_modules(bus, modules, asyncio.Event(), grace_s=5)
    assert caught.group_contains(ComponentExitedError, match="edged ended by itself")


async def test_a_module_that_fails_takes_the_daemon_down(bus: MessageContext) -> None:
    modules = [Recorder(bus, ModuleName.META_MANAGER, []), Failer(bus, ModuleName.EDGED, [])]
    with pytest.raises(BaseExceptionGroup) as caught:
        await run_modules(bus, modules, asyncio.Event(), grace_s=5)
    assert caught.group_contains(LookupError, match="broken")


async def test_a_module_that_hangs_is_cancelled_after_the_grace_period(
    bus: MessageContext, caplog: pytest.LogCaptureFixture
) -> None:
    ended: list[str] = []
    stop = asyncio.Event()
    stop.set()
    await run_modules(bus, [Hanger(bus, ModuleName.EDGED, ended)], stop, grace_s=0.01)
    assert ended == ["edged cancelled"]
    assert "did not stop in time" in caplog.text


class Sender(Recorder):
    """A module that waits for room in the mailbox of another, even while it is cancelled."""

    async def run(self) -> None:
        message = new(self.name, self.group, Operation.UPDATE, "a/b/c")
        try:
            while True:
                await self._bus.send(ModuleName.EDGED, message)
        finally:
            with contextlib.suppress(MailboxClosedError):
                await self._bus.send(ModuleName.EDGED, message)
            self._ended.append(self.name)


async def test_whoever_waits_for_room_at_a_module_that_failed_is_told(bus: MessageContext) -> None:
    ended: list[str] = []

    class LateFailer(Recorder):
        async def run(self) -> None:
            while not bus.pending()[self.name]:  # noqa: ASYNC110 - it never empties its mailbox
                await asyncio.sleep(0)
            raise LookupError("broken")

    modules = (
        LateFailer(bus, ModuleName.EDGED, ended),
        Sender(bus, ModuleName.META_MANAGER, ended),
    )
    with pytest.raises(ExceptionGroup) as failed:
        await run_modules(bus, modules, asyncio.Event(), grace_s=5, capacity=1)
    assert failed.group_contains(LookupError)
    assert ended == [ModuleName.META_MANAGER]
