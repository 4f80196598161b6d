"""The command line of edgecore."""

import asyncio
import logging
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Final

import typer

from common.commandline import add_version, as_command
from common.daemon import fail, raise_descriptor_limit, run_daemon
from common.errors import EdgeError
from edgecore import app
from edgecore.commands.store import store_commands
from edgecore.config import ENV_PREFIX, EdgeCoreSettings, HollowSettings
from edgecore.kubeedge.command import import_kubeedge
from edgecore.tokensource import SettingsT, clear_traces, take_token

logger = logging.getLogger(__name__)

NAME: Final = "edgecore"


def main() -> None:
    """Run the command line; exit with 2 for a faulty configuration and 1 for a failure."""
    try:
        _commands()()
    except EdgeError as error:
        fail(NAME, [error])


def _commands() -> typer.Typer:
    # Without rich: it would cost an edge some MiB for as long as it runs.
    commands = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
        help="Run the pods of an edge machine, with or without its cloud.",
    )
    add_version(commands, NAME)
    commands.command("run")(as_command(EdgeCoreSettings, run, env_prefix=ENV_PREFIX))
    commands.command("import")(import_kubeedge)
    commands.add_typer(store_commands(), name="store")
    commands.command("hollow")(as_command(HollowSettings, hollow, env_prefix=ENV_PREFIX))
    return commands


def run(settings: EdgeCoreSettings) -> None:
    """Run this edge until SIGTERM or SIGINT; a second signal stops it at once."""
    _start(app.run, settings)


def hollow(settings: HollowSettings) -> None:
    """Run many edges without containers in one process, for tests of the cloud's scale."""
    raise_descriptor_limit()  # each edge holds seven files
    _start(app.run_hollow, settings)


def _start(
    daemon: Callable[[SettingsT, asyncio.Event], Awaitable[None]], settings: SettingsT
) -> None:
    notes = clear_traces(os.environ, sys.argv)

    async def say_and_run(settings: SettingsT, stop: asyncio.Event) -> None:
        for note in notes:
            logger.warning("%s", note)
        await daemon(settings, stop)

    run_daemon(NAME, say_and_run, take_token(settings, sys.stdin.buffer))
