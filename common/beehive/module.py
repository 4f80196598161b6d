"""The life of modules: they start together, stop in order, and none may end by itself."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

from common.beehive.context import DEFAULT_CAPACITY, MessageContext
from common.errors import ComponentExitedError
from common.names import GroupName, ModuleName

logger = logging.getLogger(__name__)


class Module(Protocol):
    """A part of a daemon that owns its state and talks to the others in messages."""

    name: ModuleName
    group: GroupName

    async def run(self) -> None:
        """Serve the mailbox until it is closed and empty, clean up, and return.

        Whatever the module opens (sockets, files, tasks) it opens and closes in here.
        """


async def run_modules(
    context: MessageContext,
    modules: Sequence[Module],
    stop: asyncio.Event,
    *,
    grace_s: float,
    capacity: int = DEFAULT_CAPACITY,
) -> None:
    """Run ``modules`` until ``stop`` is set, then end them one after the other, in the order given.

    That order is from those that take work in to those that carry it out, so that what was accepted
    is still done. All of it has ``grace_s`` seconds; what then still runs is cancelled and named in
    the log.

    Raises:
        ComponentExitedError: a module returned though nobody had asked it to.
        BaseExceptionGroup: modules failed; the others were cancelled.
    """
    for module in modules:
        context.add_module(module.name, module.group, capacity=capacity)
    async with asyncio.TaskGroup() as supervisor:
        tasks = [
            supervisor.create_task(_guard(context, module, stop), name=f"module {module.name}")
            for module in modules
        ]
        await stop.wait()
        try:
            async with asyncio.timeout(grace_s):
                for module, task in zip(modules, tasks, strict=True):
                    context.close(module.name)
                    await asyncio.wait([task])
        except TimeoutError:
            for module, task in zip(modules, tasks, strict=True):
                if not task.done():
                    logger.warning(
                        "module did not stop in time and is cancelled",
                        extra={"component": module.name},
                    )
                    task.cancel()


async def _guard(context: MessageContext, module: Module, stop: asyncio.Event) -> None:
    """Run ``module``; that it ends is a fault unless it was asked to."""
    logger.debug("module starts", extra={"component": module.name})
    try:
        await module.run()
    finally:
        # Nobody empties its mailbox any more: whoever waits for room there would wait for ever.
        context.close(module.name)
    if not stop.is_set():
        raise ComponentExitedError(f"module {module.name} ended by itself")
    logger.debug("module ended", extra={"component": module.name})
