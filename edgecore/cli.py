"""The command line of edgecore."""

import asyncio
import resource
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import typer
import uvloop

from common.config import as_command
from common.errors import ConfigError, EdgeError
from common.logs import set_up
from edgecore import app
from edgecore.config import ENV_PREFIX, EdgeCoreSettings, EdgeSettings, HollowSettings

EXIT_FAILURE: Final = 1
EXIT_CONFIG: Final = 2

_STOPPED: Final = "stopped at once, as asked for by a second signal"

SettingsT = TypeVar("SettingsT", bound=EdgeSettings)


def main() -> None:
    """Run the command line; exit with 2 for a faulty configuration and 1 for a failure."""
    try:
        _commands()()
    except ConfigError as error:
        _fail(error.faults, EXIT_CONFIG)


def _commands() -> typer.Typer:
    # Without rich: it would cost an edge some MiB for as long as it runs.
    commands = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
        help="Run the pods of an edge machine, with or without its cloud.",
    )
    commands.command("run")(as_command(EdgeCoreSettings, run, env_prefix=ENV_PREFIX))
    commands.command("hollow")(as_command(HollowSettings, hollow, env_prefix=ENV_PREFIX))
    return commands


def run(settings: EdgeCoreSettings) -> None:
    """Run this edge until SIGTERM or SIGINT; a second signal stops it at once."""
    _run(app.run, settings)


def hollow(settings: HollowSettings) -> None:
    """Run many edges without containers in one process, for tests of the cloud's scale."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # each edge holds seven files
    _run(app.run_hollow, settings)


def _run(
    daemon: Callable[[SettingsT, asyncio.Event], Awaitable[None]], settings: SettingsT
) -> None:
    set_up(settings.log_level, settings.log_format)
    faults: list[BaseException] = []
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_until_signal(daemon, settings))
    except* (EdgeError, asyncio.CancelledError) as errors:
        faults = _flat(errors)
    if not faults:
        return
    is_config = any(isinstance(fault, ConfigError) for fault in faults)
    _fail([str(fault) or _STOPPED for fault in faults], EXIT_CONFIG if is_config else EXIT_FAILURE)


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


def _flat(errors: BaseException) -> list[BaseException]:
    if isinstance(errors, BaseExceptionGroup):
        return [leaf for error in errors.exceptions for leaf in _flat(error)]
    return [errors]


def _fail(lines: list[str], code: int) -> None:
    for line in lines:
        print(f"edgecore: {line}", file=sys.stderr)  # noqa: T201 - the command line's own words
    sys.exit(code)
