"""Run a daemon from its command line: event loop, signals, exit codes, and words for failures."""

import asyncio
import gc
import logging
import resource
import signal
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import uvloop

from common.errors import EdgeError
from common.failing import fail
from common.logs import set_up
from common.settings import DaemonSettings

logger = logging.getLogger(__name__)

_GARBAGE_OBJECTS: Final = 10_000
"""New objects after which cycles are looked for. Messages make none, and many objects; 700, which
is Python's own number, is a twentieth of the time that delivering takes."""

SettingsT = TypeVar("SettingsT", bound=DaemonSettings)


def run_daemon(
    name: str, daemon: Callable[[SettingsT, asyncio.Event], Awaitable[None]], settings: SettingsT
) -> None:
    """Run ``daemon`` until SIGTERM or SIGINT; a second signal stops it at once.

    What is foreseen to fail (``EdgeError``) ends the process with a line for each fault, and 2 for
    a faulty configuration or 1 for anything else. What is not foreseen keeps its traceback.

    Args:
        name: of the program, in front of each line.
        daemon: runs until the event is set.
        settings: what it is told.
    """
    set_up(settings.log_level, settings.log_format)
    for note in settings.notes:
        logger.warning("%s", note)
    # What reading the configuration left behind goes now; what stays, stays until the end, and
    # needs not be looked at by every collection to come.
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE_OBJECTS)
    gc.enable()
    faults: list[BaseException] = []
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_until_signal(daemon, settings))
    except* (EdgeError, asyncio.CancelledError) as errors:
        faults = _leaves(errors)
    if faults:
        fail(name, faults)


def raise_descriptor_limit() -> None:
    """Allow this process as many open files as it may allow itself.

    Most systems begin with 1024, for the sake of programs that use ``select``; what a program
    starts inherits it, so this is for those that start nothing.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _until_signal(
    daemon: Callable[[SettingsT, asyncio.Event], Awaitable[None]], settings: SettingsT
) -> None:
    stop = asyncio.Event()
    loop, this = asyncio.get_running_loop(), asyncio.current_task()
    assert this is not None

    def on_signal() -> None:
        if stop.is_set():
            this.cancel()
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    await daemon(settings, stop)


def _leaves(errors: BaseException) -> list[BaseException]:
    if isinstance(errors, BaseExceptionGroup):
        return [leaf for error in errors.exceptions for leaf in _leaves(error)]
    return [errors]
