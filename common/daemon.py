"""Run a daemon from its command line: event loop, signals, exit codes, and words for failures."""

import asyncio
import gc
import logging
import resource
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NoReturn, TypeVar

import uvloop

from common.errors import ConfigError, EdgeError
from common.logs import set_up
from common.settings import DaemonSettings

logger = logging.getLogger(__name__)

_GARBAGE_OBJECTS: Final = 10_000
"""New objects after which cycles are looked for. Messages make none, and many objects; 700, which
is Python's own number, is a twentieth of the time that delivering takes."""

EXIT_FAILURE: Final = 1
EXIT_CONFIG: Final = 2

_STOPPED: Final = "stopped at once, as asked for by a second signal"

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


def fail(name: str, faults: Sequence[BaseException]) -> NoReturn:
    """End the process and tell why: 2 if the configuration is at fault, else 1."""
    for fault in faults:
        for line in str(fault).splitlines() or [_STOPPED]:
            print(f"{name}: {line}", file=sys.stderr)  # noqa: T201 - the command line's own words
    is_config = any(isinstance(fault, ConfigError) for fault in faults)
    sys.exit(EXIT_CONFIG if is_config else EXIT_FAILURE)


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
